"""Labelled data sets, named `KIND:PATH#SPLIT` on the command line.

`camvid:DIR#val`, `voc:DIR#val`, `cityscapes:DIR#val`, `folder:DIR`,
`synthetic:street,seed=1,images=64,size=360x480`. Neighbouring frames of a drive are alike, so a
split can leave one out, or be that one alone: `camvid:DIR#train,without=0006R0` and `,only=0006R0`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fcn_edge.data.base import Dataset, Item
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

if TYPE_CHECKING:
    import numpy as np

    from fcn_edge.spec import ModelSpec

__all__ = [
    "ClassSet",
    "DataLike",
    "Dataset",
    "Item",
    "class_set",
    "dataset_from_name",
    "is_dataset_name",
    "labelled_for",
    "open_dataset",
]

DataLike: TypeAlias = "str | Path | Dataset | Iterable[tuple[np.ndarray, np.ndarray]]"

CLASS_SETS = ("camvid", "voc", "cityscapes", "person")
KINDS = ("camvid", "voc", "cityscapes", "folder", "synthetic")


class ClassSet(NamedTuple):
    """Names, colours (RGB) and the label that does not count."""

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int


def class_set(name: str, *, of: str = "") -> ClassSet:
    """The classes of a public data set. Raises BadInput for a name that is none of CLASS_SETS, telling whose (`of`)."""
    from fcn_edge.data import camvid, cityscapes, voc

    if name not in CLASS_SETS:
        raise BadInput(f"{of}{': ' if of else ''}no class set {name!r}{nearest(name, CLASS_SETS)}")
    if name == "person":
        return ClassSet(("background", "person"), ((0, 0, 0), (192, 128, 128)), voc.IGNORE)
    if name == "voc":
        return ClassSet(voc.CLASSES, voc.voc_palette(), voc.IGNORE)
    source = camvid if name == "camvid" else cityscapes
    return ClassSet(source.CLASSES, source.PALETTE, source.IGNORE)


def open_dataset(
    data: DataLike,
    *,
    classes: Sequence[str] = (),
    palette: Sequence[tuple[int, int, int]] = (),
    ignore_index: int = 255,
) -> Dataset:
    """Open labelled images: a data set on disk, or arrays in memory.

    Args:
        data: a name (`camvid:DIR#val`), the path of a folder with `images/` and `labels/`, a data set that is
            open, or (image, labels) pairs: (H, W, 3) uint8 BGR, and (H, W) class indices or `ignore_index`.
        classes: class names of pairs in memory, in the order of their label values; data sets have their own.
        palette: of pairs in memory, RGB, one colour a class; empty for the VOC colours.
        ignore_index: of pairs in memory, the label that does not count.

    Raises:
        BadInput: unknown kind, missing folder or split, an image without labels, pairs without `classes`.

    Example:
        >>> data = open_dataset("synthetic:street,seed=1,images=4,size=64x96")
        >>> data.items[0].image().shape
        (64, 96, 3)
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str):
        return dataset_from_name(data)
    if isinstance(data, Path):
        return dataset_from_name(f"folder:{data}")
    from fcn_edge.data.arrays import dataset_from_pairs

    return dataset_from_pairs(data, classes=classes, palette=palette, ignore_index=ignore_index)


def labelled_for(spec: ModelSpec, data: DataLike) -> Dataset:
    """`open_dataset`; pairs in memory have the classes of this network. Raises BadInput."""
    return open_dataset(data, classes=spec.classes, palette=spec.palette, ignore_index=spec.ignore_index)


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
    path, _, split = rest.partition("#")
    if not path:
        raise BadInput(f"{text!r}: no folder given; a data set is named {kind}:DIR#SPLIT")
    return _open_folder(kind, path, split)


def _open_folder(kind: str, path: str, split: str) -> Dataset:
    from importlib import import_module

    folder = Path(path)
    if not folder.is_dir():
        raise BadInput(f"{kind}:{path}: no such folder")
    opener = import_module(f"fcn_edge.data.{kind}").open_split
    name, *options = split.split(",")
    dataset: Dataset = opener(folder, name)
    for option in options:
        dataset = _of_sequence(dataset, option)
    return dataset


def _of_sequence(dataset: Dataset, option: str) -> Dataset:
    """The items of one sequence (`only=NAME`), or of all others (`without=NAME`)."""
    word, _, sequence = option.partition("=")
    if word not in ("only", "without"):
        raise BadInput(f"{dataset.name},{option}: expected only=SEQUENCE or without=SEQUENCE")
    items = [dataset.items[number] for number in range(len(dataset.items))]
    known = {item.sequence for item in items}
    if sequence not in known:
        raise BadInput(f"{dataset.name},{option}: no such sequence{nearest(sequence, sorted(known))}")
    kept = [item for item in items if (item.sequence == sequence) == (word == "only")]
    if not kept:
        raise BadInput(f"{dataset.name},{option}: leaves no image; {sequence} is its only sequence")
    return replace(dataset, name=f"{dataset.name},{option}", items=kept)
