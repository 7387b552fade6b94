"""Data sets as a source of frames with labels."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fcn_edge.data.base import Dataset, FilePair
from fcn_edge.data.street.scene import FPS
from fcn_edge.data.synthetic import StreetItems
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source, none_readable


class LabelledImages(Source):
    """The items of `dataset` in order; `Frame.source` is the item's name, `labels` its labels.

    An item whose image or labels cannot be read is added to `skipped`. may_be_empty: no error if all are skipped.
    """

    def __init__(self, dataset: Dataset, uri: str, *, may_be_empty: bool = False) -> None:
        super().__init__(uri)
        self.dataset, self._may_be_empty = dataset, may_be_empty
        self.length = len(dataset.items)
        if isinstance(dataset.items, StreetItems):
            options = dataset.items.options
            self.size, self.fps = (options.height, options.width), float(FPS) if options.video else None
        else:
            items = (dataset.items[index] for index in range(self.length))
            pairs = [item for item in items if isinstance(item, FilePair)]
            self.files = tuple(path for pair in pairs for path in (pair.image_path, pair.label_path))

    @property
    def notes(self) -> list[str]:
        return self.dataset.notes.lines + super().notes

    def frames(self) -> Iterator[Frame]:
        self._begin()
        for index in range(len(self.dataset.items)):
            item = self.dataset.items[index]
            try:
                image, labels = item.image(), item.labels()
            except BadInput as error:
                self._skip(str(error))
                continue
            yield Frame(image, index, time.monotonic_ns(), item.name, labels=labels, sequence=item.sequence)
        if self.skipped_count == self.length and not self._may_be_empty:
            raise none_readable(self.uri, self.length, self.skipped[0])


def source_from_dataset(dataset: Dataset, *, may_be_empty: bool = False) -> LabelledImages:
    """The frames of an opened data set."""
    return LabelledImages(dataset, dataset.name, may_be_empty=may_be_empty)
