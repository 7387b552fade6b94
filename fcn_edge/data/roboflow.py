"""Roboflow's "Semantic segmentation masks": `roboflow:DIR#train`.

DIR/SPLIT holds NAME.jpg, NAME_mask.png of one channel, and _classes.csv with the pixel value of each class.
Source: exports of universe.roboflow.com ("Pixel Value, Class"), and Roboflow's notebook that trains SegFormer on them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from fcn_edge.atomic_io import require_file
from fcn_edge.data.base import NO_VALUE, Dataset, Notes, PairOnDisk, images_in, is_hidden, note_hidden, require_labels
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest
from fcn_edge.spec import MAX_CLASSES

LISTING = "_classes.csv"
MASK = "_mask"


def open_split(folder: Path, split: str) -> Dataset:
    """The pairs of DIR/SPLIT, or of DIR where it is one split."""
    root = folder / split if split else folder
    splits = sorted(path.parent for path in folder.glob(f"*/{LISTING}"))
    if not (root / LISTING).is_file():
        known = [path.name for path in splits]
        asked = f"no split {split!r}{nearest(split, known)}" if split else f"which split? Found {', '.join(known)}"
        raise BadInput(f"roboflow:{folder}: {asked}; expected {root / LISTING}")
    classes = _classes(root / LISTING)
    for other in splits:
        if _classes(other / LISTING) != classes:
            raise BadInput(f"{other / LISTING}: other classes than {root / LISTING}; export all splits at once")
    notes = Notes()
    note_hidden(root, notes)
    items = [
        PairOnDisk(image.stem, image.stem, image, mask, len(classes), NO_VALUE, tuple(classes), root / LISTING, notes)
        for image, mask in _pairs(root)
    ]
    names = tuple(classes.values())
    return Dataset(f"roboflow#{split or folder.name}", names, voc_palette(len(names)), UNLABELLED, items, notes)


def _classes(listing: Path) -> dict[int, str]:
    """Class by pixel value, in the order of the values."""
    require_file(listing, "a _classes.csv of Roboflow")
    try:
        text = listing.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{listing}: not text in UTF-8") from error
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    head = [cell.lower() for cell in rows[0]] if rows else []
    if head != ["pixel value", "class"]:
        found = ", ".join(head[:8])
        raise BadInput(f"{listing}: columns {found}; expected Pixel Value, Class, as of Semantic Segmentation Masks")
    classes: dict[int, str] = {}
    for row in rows[1:]:
        if len(row) != 2 or not row[0].isdecimal() or int(row[0]) > UNLABELLED or not row[1]:
            raise BadInput(f"{listing}: the row {', '.join(row)[:60]!r}; expected a value from 0 to 255 and a class")
        if int(row[0]) in classes or row[1] in classes.values():
            raise BadInput(f"{listing}: {', '.join(row)[:60]} stands there twice; each class has a value of its own")
        classes[int(row[0])] = row[1]
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise BadInput(f"{listing}: {len(classes)} classes; 1 to {MAX_CLASSES} are possible")
    return dict(sorted(classes.items()))


def _pairs(root: Path) -> list[tuple[Path, Path]]:
    images = [path for path in images_in(root) if not path.stem.endswith(MASK)]
    pairs = [(image, root / f"{image.stem}{MASK}.png") for image in images]
    require_labels(pairs)
    masks = {mask for _, mask in pairs}
    alone = next((path for path in root.glob(f"*{MASK}.png") if path not in masks and not is_hidden(path)), None)
    if alone:
        raise BadInput(f"{alone}: the image of this mask is missing; expected {alone.stem.removesuffix(MASK)}.jpg")
    if not pairs:
        raise BadInput(f"{root}: no images in this folder")
    return pairs
