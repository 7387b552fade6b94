"""COCO instances: `coco:FILE.json,IMAGES`; without IMAGES the pictures lie beside FILE.json.

Categories are classes in the order of their ids, behind `background`, which is every pixel without annotation.
Annotations are drawn in the order of the file, later over earlier (`overlap=smaller` or `ignore` otherwise); crowds are
ignored, below all objects. A category of the name `background` is class 0.
Source: the format page of cocodataset.org; COCO API, coco.py (annToRLE).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn_edge.atomic_io import read_json
from fcn_edge.data.base import Dataset, Notes
from fcn_edge.data.drawn import OUTSIDE, DrawnPair, ImageShapes, classes_with_background
from fcn_edge.data.labels import UNLABELLED, Layout
from fcn_edge.data.run_lengths import mask_from_runs
from fcn_edge.data.shapes import (
    Region,
    Shape,
    bitmap_region,
    joined,
    overlap_from_text,
    points_from_numbers,
    polygon_region,
)
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput

LIMIT_MB = 1024  # annotations of train2017 have 450
OPTIONS = ("overlap",)
PLACE = "FILE.json,IMAGES"


class Annotation(NamedTuple):
    """One object. segmentation: polygons as arrays of x1, y1, x2, y2 …, or the file's own value."""

    number: Any
    value: int
    is_crowd: bool
    segmentation: Any


def open_split(place: Path, split: str, options: Mapping[str, str]) -> Dataset:
    """The images of an annotation file. place: FILE.json,IMAGES."""
    file, images = _files_from_place(str(place))
    if split:
        raise BadInput(f"coco:{place}#{split}: an annotation file is one split; name another file, or #list=FILE.txt")
    content = read_json(file, limit_mb=LIMIT_MB)
    entries, categories, annotations = (_table(content, key, file) for key in ("images", "categories", "annotations"))
    if "segments_info" in annotations[0]:
        raise BadInput(
            f"{file}: panoptic annotations; coco: reads instances. Convert them, or open their masks as colours"
        )
    categories = sorted(categories, key=lambda category: category["id"])
    classes, indices = classes_with_background((_name(category, file) for category in categories), str(file))
    by_image = _by_image(annotations, dict(zip((each["id"] for each in categories), indices)), entries, file)
    overlap = overlap_from_text(options.get("overlap", "later"), f"coco:{place}")
    notes = Notes()
    notes.add(OUTSIDE, file.name)
    items = []
    for entry in entries:
        path, size = images / _file_name(entry, file), _size(entry, file)
        read = partial(_drawing, size, by_image[entry["id"]])
        name = Path(entry["file_name"]).with_suffix("").as_posix()
        items.append(DrawnPair(name, name, path, file, read, overlap, notes))
    _require_images(items, file, images)
    return Dataset(file.stem, classes, voc_palette(len(classes)), UNLABELLED, items, notes)


def _files_from_place(place: str) -> tuple[Path, Path]:
    text, comma, folder = place.partition(".json,")
    file = Path(text + ".json" if comma else text)
    images = Path(folder) if comma else file.parent
    if file.is_dir():
        raise BadInput(f"coco:{place}: is a folder; name the annotation file, as in coco:{PLACE}")
    if not images.is_dir():
        raise BadInput(f"{images}: no such folder; expected the images of {file.name}, as in coco:{PLACE}")
    return file, images


def _table(content: Mapping[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    """A list of objects, each with an id of its own. Raises BadInput."""
    table = content.get(key)
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        known = ", ".join(sorted(content)[:8])
        raise BadInput(f"{file}: no list of {key}, which COCO instances have; it has {known or 'nothing'}")
    if not table:
        raise BadInput(f"{file}: the list of {key} is empty")
    ids = [entry.get("id") for entry in table]
    if key != "annotations" and not all(type(number) is int for number in ids):
        raise BadInput(f"{file}: an entry of {key} without a whole number as its id")
    if key != "annotations" and len(set(ids)) < len(ids):
        twice = next(number for number, count in Counter(ids).items() if count > 1)
        raise BadInput(f"{file}: {key} has the id {twice} more than once")
    return table


def _name(category: Mapping[str, Any], file: Path) -> str:
    name = category.get("name")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{file}: the category {category['id']} has no name")
    return name


def _by_image(
    annotations: Sequence[dict[str, Any]], indices: Mapping[Any, int], entries: Sequence[dict[str, Any]], file: Path
) -> dict[int, list[Annotation]]:
    """Annotations by the id of their image, in the order of the file."""
    by_image: dict[int, list[Annotation]] = {entry["id"]: [] for entry in entries}
    for at, entry in enumerate(annotations):
        number = entry.get("id", f"at {at}")
        category, image = entry.get("category_id"), entry.get("image_id")
        if not isinstance(category, int) or category not in indices:
            raise BadInput(f"{file}: annotation {number} has the category {category}, which categories do not list")
        if not isinstance(image, int) or image not in by_image:
            raise BadInput(f"{file}: annotation {number} belongs to the image {image}, which images do not list")
        is_crowd = bool(entry.get("iscrowd", 0))
        value = UNLABELLED if is_crowd else indices[category]
        by_image[image].append(Annotation(number, value, is_crowd, _compact(entry.get("segmentation"))))
    if not any(entry.get("segmentation") for entry in annotations):
        raise BadInput(f"{file}: no annotation has a segmentation; boxes alone tell no pixels")
    return by_image


def _compact(segmentation: Any) -> Any:
    """Polygons as arrays, which take a quarter of the memory of lists; what is none stays as it is."""
    if isinstance(segmentation, list):
        try:
            return [np.asarray(polygon, np.float64) for polygon in segmentation]
        except (TypeError, ValueError, OverflowError):
            return segmentation
    return segmentation


def _file_name(entry: Mapping[str, Any], file: Path) -> str:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{file}: the image {entry['id']} has no file_name")
    return name


def _size(entry: Mapping[str, Any], file: Path) -> tuple[int, int]:
    size = entry.get("height"), entry.get("width")
    if not all(type(side) is int and side > 0 for side in size):
        raise BadInput(f"{file}: the image {entry['id']} has the size {size[1]}x{size[0]}; expected width and height")
    return size  # type: ignore[return-value]


def _require_images(items: Sequence[DrawnPair], file: Path, images: Path) -> None:
    names = [item.name for item in items]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(f"{file}: lists {twice[0]} more than once; leave each image there once")
    for item in items:
        if not item.image_path.is_file():
            raise BadInput(f"{item.image_path}: listed in {file.name} but missing; are the images in {images}?")


def _drawing(size: tuple[int, int], annotations: Sequence[Annotation], layout: Layout) -> ImageShapes:
    return ImageShapes(size, [_shape(annotation, size) for annotation in annotations])


def _shape(annotation: Annotation, size: tuple[int, int]) -> Shape:
    try:
        return Shape(annotation.value, _region(annotation.segmentation, size), annotation.is_crowd)
    except BadInput as error:
        raise BadInput(f"annotation {annotation.number}: {error}") from error


def _region(segmentation: Any, size: tuple[int, int]) -> Region:
    if isinstance(segmentation, dict):
        return bitmap_region(mask_from_runs(segmentation, size), 0, 0)
    if not isinstance(segmentation, list) or not segmentation:
        raise BadInput("no segmentation; expected a list of polygons, or run lengths")
    return joined([polygon_region(points_from_numbers(polygon)) for polygon in segmentation])
