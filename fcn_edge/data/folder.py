"""Your own data: DIR/images, DIR/labels (PNG class indices) and DIR/classes.json.

Files of other names are paired by two patterns: `folder:DIR#images=photos/img_*.jpg,labels=masks/seg_*.png`.

classes.json: {"names": [...], "palette_rgb": [[r, g, b], ...], "ignore_index": 255, "label_values": [0, 255]}.
label_values: the label file's value of each class, where they are not 0, 1, 2 …; other values than these and
ignore_index are refused. A name at the ignore index is dropped, and so are notes under other keys, unless a key looks
like one of these misspelt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json
from fcn_edge.data.base import Dataset, Notes, PairOnDisk, paired, written_ignore
from fcn_edge.data.labels import LARGEST, UNLABELLED, samples_from_file
from fcn_edge.data.patterns import OPTIONS, paired_by_patterns
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.schema import from_mapping
from fcn_edge.spec import MAX_CLASSES

__all__ = ["OPTIONS", "PLACE", "ClassesFile", "open_split"]
PLACE = "DIR"


@dataclass(frozen=True)
class ClassesFile:
    """classes.json. Without palette_rgb the VOC colours are used; without label_values the values are 0, 1, 2 …

    A class's value may be 255, ignore_index's default: then it is a class, and nothing is ignored.
    """

    names: tuple[str, ...]
    palette_rgb: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = UNLABELLED
    label_values: tuple[int, ...] = ()


def open_split(folder: Path, split: str, options: Mapping[str, str]) -> Dataset:
    """The pairs of DIR, or of DIR/SPLIT where a split is named. options: images and labels, two patterns."""
    root = folder / split if split else folder
    listing = root / "classes.json" if (root / "classes.json").is_file() else folder / "classes.json"
    if not listing.is_file():
        raise BadInput(f'{listing}: no such file; expected the classes in it, such as {{"names": ["other", "road"]}}')
    classes = from_mapping(ClassesFile, _without_notes(read_json(listing)), str(listing))
    palette = classes.palette_rgb or voc_palette(len(classes.names))
    if len(palette) != len(classes.names):
        raise BadInput(f"{listing}: {len(palette)} colours for {len(classes.names)} names")
    count = _class_count(classes, listing)
    notes = Notes()
    values, ignored = classes.label_values, classes.ignore_index
    items = [
        PairOnDisk(name, name, image, label, count, ignored, values, listing, notes)
        for name, image, label in _pairs(root, options, notes)
    ]
    if count == 2 and not classes.label_values:
        _require_second_class(items, classes, listing)
    ignore = written_ignore(classes.ignore_index, count)
    return Dataset(folder.name, classes.names[:count], palette[:count], ignore, items, notes)


def _pairs(root: Path, options: Mapping[str, str], notes: Notes) -> list[tuple[str, Path, Path]]:
    if options:
        return paired_by_patterns(root, options, notes)
    return [(image.stem, image, label) for image, label in paired(root / "images", root / "labels", notes)]


def _class_count(classes: ClassesFile, listing: Path) -> int:
    """How many of the names are classes. Raises BadInput where names and values cannot be told apart."""
    values, ignore = classes.label_values, classes.ignore_index
    keep = [i for i in range(len(classes.names)) if values or i != ignore]
    if keep != list(range(len(keep))):
        raise BadInput(f"{listing}: ignore_index {ignore} lies between classes; put it last or at 255")
    if not 1 <= len(keep) <= MAX_CLASSES:
        raise BadInput(f"{listing}: {len(keep)} classes; 1 to {MAX_CLASSES} are possible")
    if not values:
        return len(keep)
    if len(values) != len(keep):
        raise BadInput(f"{listing}: {len(values)} label_values for {len(keep)} names; give one value a class")
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise BadInput(f"{listing}: label_values has {twice[0]} more than once; each class has a value of its own")
    outside = [value for value in values if not 0 <= value <= LARGEST]
    if outside:
        raise BadInput(f"{listing}: label_values has {outside[0]}; a label file holds 0 to {LARGEST}")
    if ignore in values and ignore != UNLABELLED:
        raise BadInput(f"{listing}: {ignore} is a class in label_values, and the ignore_index; take one of them out")
    return len(keep)


def _require_second_class(items: Sequence[PairOnDisk], classes: ClassesFile, listing: Path) -> None:
    """Raises BadInput where labels of two classes hold the first and the ignored value alone.

    So do masks of 0 and 255, whose second class would all be ignored. Reading ends at the first label file that has
    the second class; one that cannot be read is named when it is asked for.
    """
    first, second, ignored = classes.names[0], classes.names[1], classes.ignore_index
    is_ignored = False
    for item in items:
        try:
            values = samples_from_file(item.label_path).values
        except BadInput:
            continue
        if (values == 1).any():
            return
        is_ignored = is_ignored or bool((values == ignored).any())
    if is_ignored:
        also = "" if ignored == UNLABELLED else " and another ignore_index"
        raise BadInput(
            f"{listing.parent}: no label is 1 ({second}), and {ignored} is ignored, so that 0 ({first}) alone would"
            f' count. If {ignored} means {second}, add "label_values": [0, {ignored}]{also} to {listing.name};'
            f' if it means unlabelled, add "label_values": [0, 1]'
        )


def _without_notes(entries: dict[str, Any]) -> dict[str, Any]:
    known = [field.name for field in fields(ClassesFile)]
    return {key: value for key, value in entries.items() if get_close_matches(key, known, n=1)}
