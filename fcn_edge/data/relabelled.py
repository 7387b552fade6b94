"""A data set of which one class does not count: `ignore=NAME`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fcn_edge.data.base import Dataset, FilePair, Item, Items
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest


@dataclass(frozen=True)
class RelabelledPair(FilePair):
    """A pair whose class indices are replaced by those of a table (256,)."""

    pair: FilePair
    table: tuple[int, ...]

    def image_bytes(self) -> bytes:
        return self.pair.image_bytes()

    def image(self) -> np.ndarray:
        return self.pair.image()

    def labels(self) -> np.ndarray:
        return np.array(self.table, np.uint8)[self.pair.labels()]

    def sha256(self) -> str:
        return self.pair.sha256()


class _RelabelledItems:
    def __init__(self, items: Items, table: tuple[int, ...]) -> None:
        self._items, self._table = items, table

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int, /) -> Item:
        pair = self._items[number]
        if not isinstance(pair, FilePair):
            raise BadInput(f"{pair.name}: only classes of data sets on disk can be ignored")
        return RelabelledPair(pair.name, pair.sequence, pair.image_path, pair.label_path, pair, self._table)


def without_class(dataset: Dataset, name: str) -> Dataset:
    """The data set in which the pixels of the class `name` are ignored; classes behind it move up by one.

    Raises:
        BadInput: no such class, or no other.
    """
    if name not in dataset.classes:
        raise BadInput(f"{dataset.name}: no class {name!r} to ignore{nearest(name, dataset.classes)}")
    if len(dataset.classes) == 1:
        raise BadInput(f"{dataset.name}: {name} is its only class; nothing would count")
    gone = dataset.classes.index(name)
    table = [value - (value > gone) for value in range(UNLABELLED + 1)]
    table[gone] = table[dataset.ignore_index] = UNLABELLED
    return replace(
        dataset,
        name=f"{dataset.name},ignore={name}" if "#" in dataset.name else f"{dataset.name}#ignore={name}",
        classes=dataset.classes[:gone] + dataset.classes[gone + 1 :],
        palette=dataset.palette[:gone] + dataset.palette[gone + 1 :],
        ignore_index=UNLABELLED,
        items=_RelabelledItems(dataset.items, tuple(table)),
    )
