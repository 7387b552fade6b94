"""Data sets of arrays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from fcn_edge.data.base import Dataset, sha256_of_pixels
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput

Pairs: TypeAlias = "Iterable[tuple[np.ndarray, np.ndarray]]"


@dataclass(frozen=True)
class PairInMemory:
    """An image (H, W, 3) uint8 BGR and its labels (H, W), checked when they are read."""

    name: str
    pair: tuple[np.ndarray, np.ndarray]
    num_classes: int
    ignore_index: int
    sequence: str = ""

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR."""
        image = self.pair[0]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise BadInput(f"{self.name}: the image is {image.dtype}{image.shape}; expected uint8 (H, W, 3) BGR")
        return image

    def labels(self) -> np.ndarray:
        """(H, W) uint8 class indices, or `ignore_index`."""
        labels = self.pair[1]
        if labels.shape != self.image().shape[:2] or not np.issubdtype(labels.dtype, np.integer):
            expected = f"integer class indices {self.image().shape[:2]}, one for each pixel of its image"
            raise BadInput(f"{self.name}: the labels are {labels.dtype}{labels.shape}; expected {expected}")
        is_known = (labels == self.ignore_index) | ((labels >= 0) & (labels < self.num_classes))
        if not is_known.all():
            unknown = int(labels[~is_known][0])
            known = f"the classes are 0..{self.num_classes - 1} and {self.ignore_index} is ignored"
            raise BadInput(f"{self.name}: label value {unknown}; {known}")
        return labels.astype(np.uint8, copy=False)

    def sha256(self) -> str:
        """Identity of the image's content."""
        return sha256_of_pixels(self.image())


class _PairsInMemory:
    """Items of a sequence of pairs; a pair is fetched when it is asked for."""

    def __init__(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_classes: int, ignore_index: int) -> None:
        self._pairs, self._num_classes, self._ignore_index = pairs, num_classes, ignore_index

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, number: int, /) -> PairInMemory:
        pair = self._pairs[number]
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise BadInput(f"item {number} of the data is no pair; expected (image, labels)")
        image, labels = (np.asarray(array) for array in pair)
        return PairInMemory(f"image {number}", (image, labels), self._num_classes, self._ignore_index)


def dataset_from_pairs(
    pairs: Pairs,
    *,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]] = (),
    ignore_index: int = UNLABELLED,
    name: str = "arrays",
) -> Dataset:
    """A data set of (image, labels) pairs: (H, W, 3) uint8 BGR and (H, W) class indices.

    Args:
        pairs: any iterable. A sequence is read item by item when asked for; anything else is read whole.
        classes: their names, in the order of the indices.
        palette: RGB, one colour a class; drawn from a fixed list where empty.
        ignore_index: the label that does not count.
        name: of the set, for reports.

    Raises:
        BadInput: no pair, or no class. An image or labels that are not as described are refused when they are read.
    """
    if not classes:
        raise BadInput("arrays carry no class names; pass `classes`, the names in the order of the label values")
    if not 0 <= ignore_index <= UNLABELLED:
        raise BadInput(f"`ignore_index` is {ignore_index}; expected 0..{UNLABELLED}")
    items = pairs if isinstance(pairs, Sequence) else list(pairs)
    if not items:
        raise BadInput("the data has no (image, labels) pair")
    colours = tuple(tuple(colour) for colour in palette) or voc_palette(len(classes))
    if len(colours) != len(classes):
        raise BadInput(f"`palette` has {len(colours)} colours for {len(classes)} classes")
    held = _PairsInMemory(items, len(classes), ignore_index)
    return Dataset(name, tuple(classes), colours, ignore_index, held)  # type: ignore[arg-type]
