"""YOLO polygons: `yolo:data.yaml#train`, a text file of polygons for each image.

Class k of data.yaml is class k + 1 here, behind `background`, which is every pixel without polygon. The smaller polygon
counts where two overlap, as Ultralytics trains semantic networks on them (`overlap=later` or `ignore` otherwise). An
image without text file has no object. Coordinates are shares of the upright picture's width and height.
Source: the pages "Instance segmentation" and "Semantic segmentation" of docs.ultralytics.com/datasets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import require_file
from fcn_edge.data.base import IMAGE_SUFFIXES, Dataset, Notes, is_hidden
from fcn_edge.data.drawn import OUTSIDE, DrawnPair, ImageShapes, classes_with_background
from fcn_edge.data.labels import UNLABELLED, Layout
from fcn_edge.data.shapes import Shape, overlap_from_text, points_from_numbers, polygon_region
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput, first_line
from fcn_edge.schema import nearest

OPTIONS = ("overlap",)
PLACE = "data.yaml"
SPLITS = ("train", "val", "test")
MAX_YAML = 1_000_000  # bytes
MAX_TEXT = 64_000_000
SLACK = 0.01  # how far beyond 0 and 1 rounding may take a coordinate


def open_split(place: Path, split: str, options: Mapping[str, str]) -> Dataset:
    """The images of one split of data.yaml."""
    content = _yaml(place)
    if content.get("masks_dir"):
        raise BadInput(
            f"{place}: its masks_dir has masks, no polygons; open them as folder:DIR#images=A*,labels=B*.png"
        )
    if not split:
        given = [name for name in SPLITS if content.get(name)]
        raise BadInput(f"yolo:{place}: which split? It has {', '.join(given) or 'none'}; write yolo:{place}#train")
    names = _names(content, place)
    classes, indices = classes_with_background(names, str(place))
    notes = Notes()
    notes.add(OUTSIDE, place.name)
    overlap = overlap_from_text(options.get("overlap", "smaller"), f"yolo:{place}")
    items, without = [], []
    for image, name in _images(place, content, split):
        labels = _label_file(image)
        if not labels.is_file():
            without.append(image)
        items.append(DrawnPair(name, name, image, labels, partial(_drawing, labels, indices), overlap, notes))
    if len(without) == len(items):
        raise BadInput(
            f"{without[0]}: has no labels, and no other image of {split}; expected {_label_file(without[0])}"
        )
    notes.add("no text file, so no object", *(path.name for path in without))
    return Dataset(f"yolo#{split}", classes, voc_palette(len(classes)), UNLABELLED, items, notes)


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    require_file(path, "a data.yaml of YOLO")
    if path.stat().st_size > MAX_YAML:
        raise BadInput(f"{path}: {path.stat().st_size} bytes; a data.yaml of YOLO has up to {MAX_YAML}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BadInput(f"{path}: not YAML ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected names, train and val, found {type(content).__name__}")
    return content


def _names(content: Mapping[str, Any], path: Path) -> list[str]:
    """The classes in the order of their numbers, from a list or from a table of numbers."""
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise BadInput(f"{path}: names are numbered {', '.join(map(str, names))}; expected 0 to {len(names) - 1}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise BadInput(f"{path}: no names; expected a list of classes, or a table such as 0: person")
    if "nc" in content and content["nc"] != len(names):
        raise BadInput(f"{path}: nc is {content['nc']}, and there are {len(names)} names")
    return [str(name) for name in names]


def _images(path: Path, content: Mapping[str, Any], split: str) -> list[tuple[Path, str]]:
    """Each image of a split with its name: the path below the split's folder, without suffix."""
    if not content.get(split):
        given = [name for name in SPLITS if content.get(name)]
        raise BadInput(f"{path}: no split {split!r}{nearest(split, given)}")
    entries = content[split] if isinstance(content[split], list) else [content[split]]
    images = [image for entry in entries for image in _of_entry(_place(path, content, str(entry)), path)]
    twice = [name for name, count in Counter(name for _, name in images).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: {split} has two images of the name {twice[0]}; give each a name of its own")
    if not images:
        raise BadInput(f"{path}: {split} has no images")
    return images


def _place(path: Path, content: Mapping[str, Any], entry: str) -> Path:
    """The folder or list of a split, below `path` of the YAML file, or beside it."""
    root = Path(str(content.get("path") or ""))
    roots = [path.parent / root, root, path.parent]  # a relative path may count from elsewhere
    entries = [entry, entry.removeprefix("../")]  # Roboflow writes ../train/images beside data.yaml
    places = [root / entry for root in roots for entry in entries]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise BadInput(f"{places[0]}: no such folder; {path.name} names it")
    return found


def _of_entry(place: Path, path: Path) -> list[tuple[Path, str]]:
    if place.is_dir():
        found = (each for each in place.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(each))
        return [(image, image.relative_to(place).with_suffix("").as_posix()) for image in sorted(found)]
    images = [line.strip() for line in place.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    listed = [place.parent / line.removeprefix("./") for line in images]
    missing = next((image for image in listed if not image.is_file()), None)
    if missing:
        raise BadInput(f"{missing}: listed in {place.name} but missing")
    return [(image, image.stem) for image in listed]


def _label_file(image: Path) -> Path:
    """The text file of an image: below labels in place of the last images, of the same stem."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _drawing(file: Path, indices: list[int], layout: Layout) -> ImageShapes:
    lines = _lines(file) if file.is_file() else []
    shapes = [_shape(line, at, indices, layout) for at, line in enumerate(lines, 1) if line.strip()]
    return ImageShapes(layout.upright, shapes, is_upright=True)


def _lines(file: Path) -> list[str]:
    if file.stat().st_size > MAX_TEXT:
        raise BadInput(f"{file.stat().st_size} bytes; up to {MAX_TEXT} are read")
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput("not text in UTF-8; expected lines of a class and x1 y1 x2 y2 …") from error


def _shape(line: str, at: int, indices: list[int], layout: Layout) -> Shape:
    try:
        first, *numbers = line.split()
        number, points = int(first), np.array([float(text) for text in numbers])
    except ValueError as error:
        raise BadInput(f"line {at} is no whole number of a class and x1 y1 x2 y2 …") from error
    if not 0 <= number < len(indices):
        raise BadInput(f"line {at}: class {number}; the classes are 0 to {len(indices) - 1}")
    if len(points) == 4:
        raise BadInput(f"line {at}: a box, not a polygon; boxes tell no pixels")
    if not ((points >= -SLACK) & (points <= 1 + SLACK)).all():
        raise BadInput(f"line {at}: a coordinate outside of 0 to 1; they are shares of width and height")
    try:
        scaled = points_from_numbers(points) * layout.upright[::-1]
    except BadInput as error:
        raise BadInput(f"line {at}: {error}") from error
    return Shape(indices[number], polygon_region(scaled))
