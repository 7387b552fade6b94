"""CVAT's "Segmentation mask 1.1": `cvat:DIR`, or `cvat:DIR#NAME` for the list ImageSets/Segmentation/NAME.txt.

labelmap.txt gives classes and colours; a mask of one grey channel holds the numbers of its lines. Pixels of the label
`ignored` are ignored, as in VOC. An image that is listed without a mask has no annotation yet, and is left out.
Source: docs.cvat.ai, "Segmentation mask"; datumaro, plugins/data_formats/voc (format.py, exporter.py).
"""

from __future__ import annotations

from pathlib import Path

from fcn_edge.data.base import IMAGE_SUFFIXES, NO_VALUE, Dataset, FilePair, Notes, PairOnDisk
from fcn_edge.data.coded import CodedPair
from fcn_edge.data.colour_maps import ColourMap, colour_map_from_file
from fcn_edge.data.headers import GREY, header_from_bytes
from fcn_edge.data.labels import UNLABELLED
from fcn_edge.data.splits import names_from_list
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

IGNORED = "ignored"
IMAGE_FOLDERS = ("JPEGImages", "images")
HEADER_BYTES = 64


def open_split(folder: Path, split: str) -> Dataset:
    """The images of one list of an export, or of all its masks where it has no list."""
    masks = folder / "SegmentationClass"
    if not masks.is_dir():
        raise BadInput(f"{masks}: no such folder; expected an export of CVAT as Segmentation mask 1.1")
    listing = folder / "labelmap.txt"
    if not listing.is_file():
        raise BadInput(f"{listing}: no such file; without it the classes are VOC's: open it as voc:{folder}")
    colours = colour_map_from_file(listing)._replace(ignored=IGNORED)
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    if images is None:
        raise BadInput(f"{folder / IMAGE_FOLDERS[0]}: no such folder; export with images, or put them there")
    notes = Notes()
    names, unmasked = _names(folder, masks, split)
    notes.add("listed without a mask, so not annotated; left out", *unmasked)
    items = [_pair(name, images, masks / f"{name}.png", colours, notes) for name in names]
    return Dataset(f"cvat#{split or 'all'}", colours.classes, colours.palette, UNLABELLED, items, notes)


def _names(folder: Path, masks: Path, split: str) -> tuple[list[str], list[str]]:
    """The names that have a mask, and those that are listed without one."""
    lists = {path.stem: path for path in sorted((folder / "ImageSets" / "Segmentation").glob("*.txt"))}
    if split and split not in lists:
        raise BadInput(f"{folder}: no list {split!r} in ImageSets/Segmentation{nearest(split, lists)}")
    if not split and len(lists) > 1:
        raise BadInput(f"{folder}: lists {', '.join(lists)}; which? Write cvat:{folder}#{next(iter(lists))}")
    chosen = lists.get(split) or next(iter(lists.values()), None)
    if chosen is None:
        names = [path.relative_to(masks).with_suffix("").as_posix() for path in sorted(masks.rglob("*.png"))]
    else:
        names = names_from_list(chosen)
    masked = [name for name in names if (masks / f"{name}.png").is_file()]
    if not masked:
        raise BadInput(f"{masks}: no mask{f' of an image that {chosen.name} lists' if chosen else ''}")
    if len(set(masked)) < len(masked):
        raise BadInput(f"{chosen}: lists an image more than once; leave each there once")
    return masked, [name for name in names if name not in set(masked)]


def _pair(name: str, images: Path, mask: Path, colours: ColourMap, notes: Notes) -> FilePair:
    found = [images / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES if (images / f"{name}{suffix}").is_file()]
    if not found:
        raise BadInput(f"{images / name}.jpg: the image of {mask.name} is missing")
    if len(found) > 1:
        raise BadInput(f"{images}: {found[0].name} and {found[1].name} would share the mask {mask.name}")
    if not _is_grey(mask):
        return CodedPair(name, name, found[0], mask, colours, notes=notes)
    lines = tuple(line for line, value in enumerate(colours.values) if value != UNLABELLED)
    ignored = colours.names.index(IGNORED) if IGNORED in colours.names else NO_VALUE
    return PairOnDisk(name, name, found[0], mask, len(lines), ignored, lines, notes=notes)


def _is_grey(mask: Path) -> bool:
    with mask.open("rb") as file:
        header = header_from_bytes(file.read(HEADER_BYTES))
    return header.kind == "png" and header.colour_type == GREY
