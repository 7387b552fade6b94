"""Data sets by name: KIND:PATH#SPLIT,OPTION=VALUE,…

SPLIT is a folder or a list of the set; options choose among its items (see `splits`), name a class that does not count
(`ignore=NAME`), or belong to the kind.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from fcn_edge.data.base import Dataset
from fcn_edge.data.relabelled import without_class
from fcn_edge.data.splits import SELECTIONS, selected
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

OF_FILES = ("coco", "yolo")  # PATH is no folder
WITH_OPTIONS = ("folder", "coco", "labelme", "yolo", "colours")  # open_split(path, split, options); OPTIONS, PLACE
KINDS = ("camvid", "voc", "cityscapes", "folder", "synthetic", "ade20k", "cvat", "roboflow", *WITH_OPTIONS[1:])


class DataName(NamedTuple):
    """A data set's name in parts."""

    kind: str
    path: str
    split: str
    options: tuple[tuple[str, str], ...]


def is_dataset_name(text: str) -> bool:
    """Whether `text` begins with a known kind and a colon."""
    return text.partition(":")[0] in KINDS and ":" in text


def dataset_from_name(text: str) -> Dataset:
    """Open a data set by name; its pairing is checked, its images are read when asked for.

    Raises:
        BadInput: unknown kind, missing folder or split, an image without labels.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        raise BadInput(f"{text!r}: a data set is named KIND:PATH#SPLIT{nearest(kind, KINDS)}")
    if kind == "synthetic":
        from fcn_edge.data.synthetic import synthetic_from_options

        return synthetic_from_options(rest)
    name = _parts(kind, rest)
    dataset = _opened(name)
    selections = [option for option in name.options if option[0] in SELECTIONS]
    dataset = selected(dataset, selections, _folder_of(name.path))
    for key, value in name.options:
        if key == "ignore":
            dataset = without_class(dataset, value)
    return dataset


def _parts(kind: str, rest: str) -> DataName:
    path, _, choice = rest.partition("#")
    if not path:
        raise BadInput(f"{f'{kind}:{rest}'!r}: no folder given; a data set is named {kind}:{_place_of(kind)}#SPLIT")
    words = choice.split(",")
    split = "" if "=" in words[0] else words.pop(0)
    pairs = [tuple(word.split("=", 1)) for word in words]
    if wrong := next((pair[0] for pair in pairs if len(pair) < 2 or not pair[1]), None):
        raise BadInput(f"{kind}:{rest}: {wrong!r} is not NAME=VALUE; options follow the split after a comma")
    known = (*SELECTIONS, "ignore", *_options_of(kind))
    for key, _value in pairs:
        if key not in known:
            raise BadInput(f"{kind}:{rest}: no option {key!r}{nearest(key, known)}")
    return DataName(kind, path, split, tuple(pairs))  # type: ignore[arg-type]


def _opened(name: DataName) -> Dataset:
    path = Path(name.path)
    if name.kind not in OF_FILES and not path.is_dir():
        raise BadInput(f"{name.kind}:{name.path}: no such folder")
    module = import_module(f"fcn_edge.data.{name.kind}")
    if name.kind in WITH_OPTIONS:
        own = {key: value for key, value in name.options if key in module.OPTIONS}
        dataset: Dataset = module.open_split(path, name.split, own)
    else:
        dataset = module.open_split(path, name.split)
    return dataset


def _folder_of(path: str) -> Path:
    """Where a list of a set's items may lie beside it."""
    place = Path(path.partition(".json,")[0])
    return place if place.is_dir() else place.parent


def _options_of(kind: str) -> tuple[str, ...]:
    return import_module(f"fcn_edge.data.{kind}").OPTIONS if kind in WITH_OPTIONS else ()


def _place_of(kind: str) -> str:
    return import_module(f"fcn_edge.data.{kind}").PLACE if kind in WITH_OPTIONS else "DIR"
