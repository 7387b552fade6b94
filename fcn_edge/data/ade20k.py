"""ADE20K, scene parsing with 150 classes: DIR/images/training, DIR/annotations/training, and validation.

Label 0 ("other") is ignored; the label k is class k - 1.
Source: Zhou et al., CVPR 2017; github.com/CSAILVision/sceneparsing (README, objectInfo150.txt), and the colours of its
color150.mat.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fcn_edge.data.base import Dataset, Notes, PairOnDisk, paired
from fcn_edge.data.colour_maps import ColourMap, names_and_colours
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

CLASSES_FILE = Path(__file__).with_name("ade20k_classes.csv")
SPLITS = {"train": "training", "val": "validation", "training": "training", "validation": "validation"}
OTHER = 0


@cache
def ade20k_classes() -> ColourMap:
    """Names and colours (RGB) of the 150 classes."""
    return names_and_colours(CLASSES_FILE)


def open_split(folder: Path, split: str) -> Dataset:
    """The split train or val of ADEChallengeData2016."""
    if split not in SPLITS:
        asked = f"no split {split!r}{nearest(split, SPLITS)}" if split else "which split? train or val"
        raise BadInput(f"ade20k:{folder}: {asked}; write ade20k:{folder}#val")
    names, palette, _ignored = ade20k_classes()
    notes, part = Notes(), SPLITS[split]
    pairs = paired(folder / "images" / part, folder / "annotations" / part, notes)
    values = tuple(range(1, len(names) + 1))
    items = [
        PairOnDisk(image.stem, image.stem, image, label, len(names), OTHER, values, notes=notes)
        for image, label in pairs
    ]
    return Dataset(f"ade20k#{split}", names, palette, UNLABELLED, items, notes)
