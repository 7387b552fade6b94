"""CamVid in the SegNet split: DIR/SPLIT/images, DIR/SPLIT/labels, 11 classes, 11 = unlabelled.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video", PRL 2009;
Badrinarayanan, Kendall, Cipolla, "SegNet", PAMI 2017 (the 11 classes and the split).
"""

from __future__ import annotations

from pathlib import Path

from fcn_edge.data.base import Dataset, Notes, PairOnDisk, paired
from fcn_edge.errors import BadInput

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
IGNORE = 11


def open_split(folder: Path, split: str) -> Dataset:
    """The split of a CamVid folder; a file's sequence is its name before the underscore."""
    if not split or not (folder / split).is_dir():
        known = sorted(path.name for path in folder.iterdir() if (path / "images").is_dir())
        asked = f"no split {split!r}" if split else "which split?"
        raise BadInput(f"camvid:{folder}: {asked}; found {', '.join(known) or 'none'}; write camvid:{folder}#val")
    notes = Notes()
    pairs = paired(folder / split / "images", folder / split / "labels", notes)
    items = [
        PairOnDisk(image.stem, image.stem.split("_")[0], image, label, len(CLASSES), IGNORE, notes=notes)
        for image, label in pairs
    ]
    return Dataset(f"camvid#{split}", CLASSES, PALETTE, IGNORE, items, notes)
