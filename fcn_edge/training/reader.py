"""Items of a data set, decoded once and kept."""

from __future__ import annotations

from fcn_edge.data import Dataset
from fcn_edge.training.crops import Labelled


class ImageReader:
    """Items by number, decoded once and kept."""

    def __init__(self, dataset: Dataset) -> None:
        self.items, self.cache = dataset.items, dict[int, Labelled]()

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, number: int) -> Labelled:
        if number not in self.cache:
            item = self.items[number]
            self.cache[number] = (item.image(), item.labels())
        return self.cache[number]
