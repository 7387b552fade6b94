"""labelme: `labelme:DIR`, a JSON file for each labelled image; `labelme:DIR#train` for those below DIR/train.

Classes are the names of DIR/labels.txt in its order, or without it all labels below DIR in alphabetical order, behind
`background`, which is every pixel without shape. Shapes are drawn in their order, later over earlier, as labelme's own
converter does (`overlap=smaller` or `ignore` otherwise). `__ignore__` is ignored and `_background_` is class 0.
Source: labelme 5.5, utils/shape.py (shape_to_mask, shapes_to_label), label_file.py, examples (labels.txt).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from fcn_edge.atomic_io import read_json
from fcn_edge.data.base import Dataset, Notes, images_in
from fcn_edge.data.drawn import OUTSIDE, DrawnPair, ImageShapes, classes_with_background
from fcn_edge.data.labels import UNLABELLED, Layout
from fcn_edge.data.pictures import picture_from_bytes
from fcn_edge.data.shapes import (
    Region,
    Shape,
    bitmap_region,
    circle_region,
    overlap_from_text,
    points_from_numbers,
    polygon_region,
    rectangle_region,
)
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

OPTIONS = ("overlap",)
PLACE = "DIR"
IGNORED = "__ignore__"
NAMES_FILES = ("labels.txt", "classes.txt")
POINTS = {"rectangle": 2, "circle": 2, "mask": 2}


@dataclass(frozen=True)
class LabelmePair(DrawnPair):
    """An image file, or where there is none the picture that its JSON file holds."""

    def image_bytes(self) -> bytes:
        if self.image_path != self.label_path:
            return super().image_bytes()
        data = _content(self.label_path).get("imageData")
        try:
            return base64.b64decode(data or "", validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise BadInput("its imageData does not decode") from error

    def sha256(self) -> str:
        return hashlib.sha256(self.image_bytes()).hexdigest()


def open_split(place: Path, split: str, options: Mapping[str, str]) -> Dataset:
    """The labelled images below DIR, or below DIR/SPLIT."""
    root = place / split if split else place
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; expected the JSON files of labelme in it")
    listing = _listing(place, root)
    if not _label_files(root):
        raise BadInput(f"{root}: no JSON files of labelme below this folder")
    files = {file: _facts(file) for file in _label_files(place if listing is None else root)}
    if listing is None:
        told_by = f"the labels below {place}"
        names = sorted({label for facts in files.values() for label in facts.labels} - {IGNORED})
    else:
        told_by = str(listing)
        names = [name for name in _lines(listing) if name != IGNORED]
    classes, indices = classes_with_background(names, told_by)
    values = {IGNORED: UNLABELLED, **dict(zip(names, indices))}
    overlap = overlap_from_text(options.get("overlap", "later"), f"labelme:{place}")
    notes = Notes()
    notes.add(OUTSIDE, place.name)
    items = []
    for file, facts in files.items():
        if file.is_relative_to(root):
            name, read = file.relative_to(root).with_suffix("").as_posix(), partial(_drawing, file, values, told_by)
            items.append(LabelmePair(name, name, facts.image, file, read, overlap, notes))
    _note_unlabelled(root, items, notes)
    return Dataset(f"labelme#{split or 'all'}", classes, voc_palette(len(classes)), UNLABELLED, items, notes)


class _Facts(NamedTuple):
    """What is needed of a JSON file at first. image: the JSON file itself where it holds the picture."""

    labels: frozenset[str]
    image: Path


def _label_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.json") if not path.name.startswith("."))


def _listing(place: Path, root: Path) -> Path | None:
    """The file that lists the classes."""
    files = (folder / name for folder in (root, place) for name in NAMES_FILES)
    return next((file for file in files if file.is_file()), None)


def _lines(listing: Path) -> list[str]:
    try:
        lines = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{listing}: not text in UTF-8; expected a class a line") from error
    return [line.strip() for line in lines if line.strip()]


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file)
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not isinstance(content.get("imagePath"), str):
        raise BadInput(f"{file}: no shapes and imagePath, which labelme writes; move other JSON files away")
    if not all(isinstance(shape, dict) and isinstance(shape.get("label"), str) for shape in shapes):
        raise BadInput(f"{file}: a shape without label")
    return content


def _facts(file: Path) -> _Facts:
    content = _content(file)
    labels = frozenset(shape["label"] for shape in content["shapes"])
    told = content["imagePath"].replace("\\", "/")
    path = file.parent / told
    for image in (path, file.parent / PurePosixPath(told).name):
        if image.is_file():
            return _Facts(labels, image)
    if content.get("imageData"):
        return _Facts(labels, file)
    raise BadInput(f"{path}: the image of {file.name} is missing, and its imageData is empty")


def _note_unlabelled(root: Path, items: Iterable[DrawnPair], notes: Notes) -> None:
    labelled = {item.image_path.resolve() for item in items}
    folders = {item.image_path.parent for item in items} | {root}
    unlabelled = (path for folder in sorted(folders) for path in images_in(folder) if path.resolve() not in labelled)
    notes.add("no JSON file of its own, left out", *(path.name for path in unlabelled))


def _drawing(file: Path, values: Mapping[str, int], told_by: str, layout: Layout) -> ImageShapes:
    content = _content(file)
    size: tuple[Any, Any] = content.get("imageHeight"), content.get("imageWidth")
    if size == (None, None):
        size = layout.upright
    if not all(type(side) is int for side in size):
        raise BadInput(f"imageWidth is {size[1]} and imageHeight {size[0]}; expected whole numbers")
    shapes = [_shape(shape, number, values, told_by) for number, shape in enumerate(content["shapes"], 1)]
    return ImageShapes((size[0], size[1]), shapes, is_upright=True)


def _shape(shape: Mapping[str, Any], number: int, values: Mapping[str, int], told_by: str) -> Shape:
    label = shape["label"]
    if label not in values:
        raise BadInput(f"shape {number} has the label {label!r}, which {told_by} does not list{nearest(label, values)}")
    try:
        return Shape(values[label], _region(shape))
    except BadInput as error:
        raise BadInput(f"shape {number} ({label}): {error}") from error


def _region(shape: Mapping[str, Any]) -> Region:
    kind, points = shape.get("shape_type") or "polygon", shape.get("points")
    if kind == "polygon":
        return polygon_region(points_from_numbers(points))
    if not isinstance(kind, str) or kind not in POINTS:
        raise BadInput(f"a {kind} covers no area; draw polygons, or take it out")
    if not isinstance(points, list) or len(points) != POINTS[kind]:
        raise BadInput(f"a {kind} has {POINTS[kind]} points")
    x1, y1, x2, y2 = points_from_numbers([*points, points[0]]).ravel()[:4]
    if kind == "circle":
        return circle_region(x1, y1, float(np.hypot(x2 - x1, y2 - y1)))
    if kind == "rectangle":
        return rectangle_region(x1, y1, x2, y2)
    return bitmap_region(_mask(shape.get("mask"), (x1, y1, x2, y2)), round(min(y1, y2)), round(min(x1, x2)))


def _mask(text: Any, box: tuple[float, float, float, float]) -> np.ndarray:
    """(h, w) bool of the box, last row and column included."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadInput("a mask that does not decode") from error
    mask = np.asarray(picture_from_bytes(data)[0].any(axis=2))
    expected = round(abs(box[3] - box[1])) + 1, round(abs(box[2] - box[0])) + 1
    if any(abs(side - length) > 1 for side, length in zip(mask.shape, expected)):
        raise BadInput(f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels in a box of {expected[1]}x{expected[0]}")
    return mask
