"""Items of a data set, decoded once and kept."""

from __future__ import annotations

import numpy as np

from fcn_edge.data import Dataset


class Reader:
    """Items by number, decoded once and kept."""

    def __init__(self, dataset: Dataset) -> None:
        self.items, self.cache = dataset.items, dict[int, tuple[np.ndarray, np.ndarray]]()

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if number not in self.cache:
            item = self.items[number]
            self.cache[number] = (item.image(), item.labels())
        return self.cache[number]
