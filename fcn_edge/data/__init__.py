"""Labelled data sets, named `KIND:PATH#SPLIT` on the command line.

`camvid:DIR#val`, `voc:DIR#val`, `cityscapes:DIR#val`, `ade20k:DIR#val`, `folder:DIR`, `colours:DIR`,
`synthetic:street,seed=1,images=64,size=360x480`; of labelling tools `coco:FILE.json,IMAGES`, `labelme:DIR`, `cvat:DIR`,
`roboflow:DIR#train`, `yolo:data.yaml#train`. A part of a set: a drive (`#train,only=0006R0`, `,without=0006R0`), a
list (`#list=FILE.txt`) or a share (`#train=0.8,seed=1,by=sequence`, the rest being `#val=0.2,seed=1,by=sequence`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fcn_edge.data.base import Dataset, Item
from fcn_edge.data.names import KINDS, dataset_from_name, is_dataset_name
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

if TYPE_CHECKING:
    import numpy as np

    from fcn_edge.spec import ModelSpec

__all__ = [
    "KINDS",
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

CLASS_SETS = ("camvid", "voc", "cityscapes", "ade20k", "person")


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
    if name == "ade20k":
        from fcn_edge.data.ade20k import ade20k_classes

        names, palette, _ignored = ade20k_classes()
        return ClassSet(names, palette, voc.IGNORE)
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

    Returns:
        The data set: names, palette and items; images are read when they are asked for.

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
