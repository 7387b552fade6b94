"""RGB-coded masks: `colours:DIR`, with DIR/images, DIR/labels (or masks) and a colour map.

The colour map is DIR/colours.json, classes.json, class_dict.csv, colours.csv, labelmap.txt or label_colors.txt, or
`map=FILE`. Each pixel has a colour of it; masks in JPEG need `tolerance=N`, within which each channel may differ.
`images=PATTERN,labels=PATTERN` pair files of other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fcn_edge.data.base import IMAGE_SUFFIXES, Dataset, Notes, images_in, is_hidden, note_hidden
from fcn_edge.data.coded import LARGEST_TOLERANCE, CodedPair, require_apart
from fcn_edge.data.colour_maps import ColourMap, colour_map_from_file
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.data.patterns import paired_by_patterns
from fcn_edge.errors import BadInput

OPTIONS = ("images", "labels", "map", "tolerance")
PLACE = "DIR"
MAPS = tuple(
    f"{stem}.{suffix}"
    for stem, suffixes in (
        ("colours", ("json", "csv", "txt")),
        ("colors", ("json", "csv", "txt")),
        ("classes", ("json", "csv")),
        ("class_dict", ("csv",)),
        ("labelmap", ("txt",)),
        ("label_colors", ("txt",)),
    )
    for suffix in suffixes
)
LABEL_FOLDERS = ("labels", "masks")


def open_split(place: Path, split: str, options: Mapping[str, str]) -> Dataset:
    """The pairs of DIR, or of DIR/SPLIT where a split is named."""
    root = place / split if split else place
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; expected images/ and labels/ in it")
    colours = colour_map_from_file(_map_file(place, root, options.get("map")))
    tolerance = _tolerance(options.get("tolerance", "0"), colours, f"colours:{place}")
    notes = Notes()
    pairs = _pairs(root, options, notes)
    items = [CodedPair(name, name, image, label, colours, tolerance, notes) for name, image, label in pairs]
    name = f"{place.name}#{split}" if split else place.name
    return Dataset(name, colours.classes, colours.palette, UNLABELLED, items, notes)


def _map_file(place: Path, root: Path, named: str | None) -> Path:
    if named:
        return next((path for path in (Path(named), root / named, place / named) if path.is_file()), Path(named))
    for folder in (root, place):
        found = [folder / name for name in MAPS if (folder / name).is_file()]
        if len(found) > 1:
            raise BadInput(f"{folder}: {found[0].name} and {found[1].name}; name the colour map, as in #map={found[0]}")
        if found:
            return found[0]
    raise BadInput(f"{place}: no colour map; expected {MAPS[0]}, class_dict.csv or labelmap.txt, or #map=FILE")


def _tolerance(text: str, colours: ColourMap, where: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_TOLERANCE:
        raise BadInput(f"{where}: tolerance={text}; expected a whole number up to {LARGEST_TOLERANCE}")
    if int(text):
        require_apart(colours, int(text), where)
    return int(text)


def _pairs(root: Path, options: Mapping[str, str], notes: Notes) -> list[tuple[str, Path, Path]]:
    if "images" in options or "labels" in options:
        return paired_by_patterns(root, options, notes)
    images = root / "images"
    labels = next((root / name for name in LABEL_FOLDERS if (root / name).is_dir()), root / LABEL_FOLDERS[0])
    for folder in (images, labels):
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder; expected images/ and labels/ side by side")
    found = images_in(images)
    if not found:
        raise BadInput(f"{images}: no images in this folder")
    note_hidden(images, notes)
    return [(image.stem, image, _label_of(image, labels)) for image in found]


def _label_of(image: Path, labels: Path) -> Path:
    found = [labels / f"{image.stem}{suffix}" for suffix in IMAGE_SUFFIXES]
    found = [path for path in found if path.is_file() and not is_hidden(path)]
    if not found:
        raise BadInput(f"{image}: has no labels; expected {labels / image.stem}.png")
    if len(found) > 1:
        raise BadInput(f"{image}: {found[0].name} and {found[1].name} are both its labels; keep one of them")
    return found[0]
