"""Labelled data sets, named `KIND:PATH#SPLIT` on the command line.

`camvid:DIR#val`, `voc:DIR#val`, `cityscapes:DIR#val`, `folder:DIR`,
`synthetic:street,seed=1,images=64,size=360x480`.
"""

from __future__ import annotations

from fcn_edge.data.base import Dataset, Item
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

__all__ = ["Dataset", "Item", "dataset_from_name", "is_dataset_name"]

KINDS = ("camvid", "voc", "cityscapes", "folder", "synthetic")


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
    from pathlib import Path

    folder = Path(path)
    if not folder.is_dir():
        raise BadInput(f"{kind}:{path}: no such folder")
    opener = import_module(f"fcn_edge.data.{kind}").open_split
    dataset: Dataset = opener(folder, split)
    return dataset
