"""PASCAL VOC segmentation: 21 classes, palette PNG labels, 255 = void.

Takes the development kit's layout (JPEGImages, SegmentationClass, ImageSets/Segmentation)
or plain `images/` and `labels/` folders.
"""

from __future__ import annotations

from pathlib import Path

from fcn_edge.data.base import Dataset, Notes, PairOnDisk, paired
from fcn_edge.errors import BadInput

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
IGNORE = 255


def voc_palette(count: int = 21) -> tuple[tuple[int, int, int], ...]:
    """The VOC colour map: bits of the index spread over R, G, B from the top. Source: VOC devkit."""
    colours = []
    for index in range(count):
        colour = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                colour[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        colours.append((colour[0], colour[1], colour[2]))
    return tuple(colours)


def open_split(folder: Path, split: str) -> Dataset:
    """The split `split` (train, val, trainval) of a VOC year's folder, or a plain pair of folders."""
    notes = Notes()
    is_devkit = (folder / "JPEGImages").is_dir()
    pairs = _devkit_pairs(folder, split or "val") if is_devkit else _plain_pairs(folder, split, notes)
    items = [
        PairOnDisk(image.stem, image.stem, image, label, len(CLASSES), IGNORE, notes=notes) for image, label in pairs
    ]
    return Dataset(f"voc#{split or 'all'}", CLASSES, voc_palette(), IGNORE, items, notes)


def _plain_pairs(folder: Path, split: str, notes: Notes) -> list[tuple[Path, Path]]:
    root = folder / split if split else folder
    return paired(root / "images", root / "labels", notes)


def _devkit_pairs(folder: Path, split: str) -> list[tuple[Path, Path]]:
    listing = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not listing.is_file():
        raise BadInput(f"{listing}: no such split list")
    names = listing.read_text(encoding="utf-8").split()
    pairs = []
    for name in names:
        image, label = folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClass" / f"{name}.png"
        for path in (image, label):
            if not path.is_file():
                raise BadInput(f"{path}: listed in {listing.name} but missing")
        pairs.append((image, label))
    if not pairs:
        raise BadInput(f"{listing}: the list is empty")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"{listing}: lists {twice} more than once; leave each image there once")
    return pairs
