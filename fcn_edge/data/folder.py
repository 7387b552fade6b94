"""Your own data: DIR/images, DIR/labels (PNG class indices) and DIR/classes.json.

classes.json: {"names": [...], "palette_rgb": [[r, g, b], ...], "ignore_index": 255}. A name at the
ignore index is dropped, and so are notes under other keys, unless a key looks like one of these misspelt.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fcn_edge.data.base import Dataset, PairOnDisk, paired
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.files import read_json
from fcn_edge.schema import from_mapping
from fcn_edge.spec import MAX_CLASSES


@dataclass(frozen=True)
class ClassesFile:
    """classes.json. Without palette_rgb the VOC colours are used."""

    names: tuple[str, ...]
    palette_rgb: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255


def open_split(folder: Path, split: str) -> Dataset:
    """The pairs of DIR, or of DIR/SPLIT where a split is named."""
    root = folder / split if split else folder
    listing = root / "classes.json" if (root / "classes.json").is_file() else folder / "classes.json"
    classes = from_mapping(ClassesFile, _without_notes(read_json(listing)), str(listing))
    palette = classes.palette_rgb or voc_palette(len(classes.names))
    if len(palette) != len(classes.names):
        raise BadInput(f"{listing}: {len(palette)} colours for {len(classes.names)} names")
    keep = [i for i in range(len(classes.names)) if i != classes.ignore_index]
    if keep != list(range(len(keep))):
        raise BadInput(f"{listing}: ignore_index {classes.ignore_index} lies between classes; put it last or at 255")
    if not 1 <= len(keep) <= MAX_CLASSES:
        raise BadInput(f"{listing}: {len(keep)} classes; 1 to {MAX_CLASSES} are possible")
    pairs = paired(root / "images", root / "labels")
    items = [PairOnDisk(i.stem, i.stem, i, label, len(keep), classes.ignore_index) for i, label in pairs]
    return Dataset(folder.name, classes.names[: len(keep)], palette[: len(keep)], classes.ignore_index, items)


def _without_notes(entries: dict[str, Any]) -> dict[str, Any]:
    known = [field.name for field in fields(ClassesFile)]
    return {key: value for key, value in entries.items() if get_close_matches(key, known, n=1)}
