"""Cityscapes fine annotations: leftImg8bit/SPLIT/CITY, gtFine/SPLIT/CITY, 19 train classes.

Labels are read from `*_labelTrainIds.png`, or from `*_labelIds.png` and mapped.
Source: Cordts et al., CVPR 2016, and its published label table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcn_edge.data.base import HIDDEN, Dataset, Notes, PairOnDisk, is_hidden
from fcn_edge.data.labels import UNLABELLED, unknown_value
from fcn_edge.errors import BadInput

CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
PALETTE = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
IGNORE = 255
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # of classes 0..18


@dataclass(frozen=True)
class PairByLabelId(PairOnDisk):
    """Labels stored with the full label ids; those that are not trained on become 255."""

    def _indices(self, values: np.ndarray) -> np.ndarray:
        unknown = unknown_value(values, range(UNLABELLED), IGNORE)
        if unknown is not None:
            raise BadInput(f"{self.label_path}: label value {unknown}; label ids end at {UNLABELLED}")
        table = np.full(UNLABELLED + 1, IGNORE, np.uint8)
        table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
        return table[values]


def open_split(folder: Path, split: str) -> Dataset:
    """The split of a Cityscapes folder; the sequence of an item is its city."""
    split, notes = split or "val", Notes()
    found = sorted((folder / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    images = [path for path in found if not is_hidden(path)]
    if not images:
        raise BadInput(f"{folder / 'leftImg8bit' / split}: no *_leftImg8bit.png files below this folder")
    notes.add(HIDDEN, *(path.name for path in found if is_hidden(path)))
    items = [_item(folder, split, path, notes) for path in images]
    return Dataset(f"cityscapes#{split}", CLASSES, PALETTE, IGNORE, items, notes)


def _item(folder: Path, split: str, image: Path, notes: Notes) -> PairOnDisk:
    city, stem = image.parent.name, image.name.removesuffix("_leftImg8bit.png")
    labels = folder / "gtFine" / split / city
    train_ids, ids = labels / f"{stem}_gtFine_labelTrainIds.png", labels / f"{stem}_gtFine_labelIds.png"
    if train_ids.is_file():
        return PairOnDisk(stem, city, image, train_ids, len(CLASSES), IGNORE, notes=notes)
    if ids.is_file():
        return PairByLabelId(stem, city, image, ids, len(CLASSES), IGNORE, notes=notes)
    raise BadInput(f"{image}: has no labels; expected {train_ids} or {ids.name}")
