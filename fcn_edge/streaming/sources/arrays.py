"""Image arrays of a Python program as a source."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source
from fcn_edge.transforms import require_image


class ArraySource(Source):
    """Images (H, W, 3) uint8 BGR from an iterable.

    A list or an array of images is a recording: it can be read again, and several frames can be in flight. Any other
    iterable may be a camera: each image is copied, since its buffer may be reused, and its result does not wait for
    later images.
    """

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        super().__init__("arrays")
        self._images = images
        self.is_recorded = isinstance(images, (Sequence, np.ndarray))
        self.length = len(images) if isinstance(images, (Sequence, np.ndarray)) else None

    def frames(self) -> Iterator[Frame]:
        for index, image in enumerate(self._images):
            require_image(image, f"`source`: item {index}")
            own = np.ascontiguousarray(image) if self.is_recorded else np.array(image, order="C")
            yield Frame(own, index, time.monotonic_ns(), self.uri)
