"""Data sets checked: every pair is read, and what is wrong is named with its file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fcn_edge.data import DataLike, open_dataset
from fcn_edge.data.base import Dataset, FilePair, Item
from fcn_edge.data.drawn import BACKGROUND
from fcn_edge.data.near_duplicates import ImageHashes, hash_of_image
from fcn_edge.data.notes import names_in_words
from fcn_edge.errors import BadInput
from fcn_edge.progress import SILENT, Progress

NAMED = 8  # of a list, in one line for people
RARE = 0.001  # of the labelled pixels


@dataclass
class SetCheck:
    """What reading every pair of one set showed.

    pixels: of each class. images_with: how many images show each class. sizes: (height, width) of the upright images.
    unreadable: a sentence for each pair that cannot be read. unlabelled: names of images whose pixels are all ignored.
    empty: of those that are all background.
    twice: of each image that looks like an earlier one of the set, both names. contradicting: as `twice`, with the same
    bytes and other labels.
    """

    name: str
    classes: tuple[str, ...]
    images: int
    pixels: np.ndarray
    images_with: np.ndarray
    ignored: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    twice: list[tuple[str, str]] = field(default_factory=list)
    contradicting: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def shares(self) -> list[float | None]:
        """Of each class among the pixels that are not ignored; None where there are none."""
        total = int(self.pixels.sum())
        return [int(count) / total if total else None for count in self.pixels]

    @property
    def ignored_share(self) -> float | None:
        """Among all pixels of the labels."""
        total = int(self.pixels.sum()) + self.ignored
        return self.ignored / total if total else None


@dataclass(frozen=True)
class DataCheck:
    """Several sets checked, and compared with each other.

    in_two_sets: image and set, and the image that it looks like in an earlier set.
    """

    sets: tuple[SetCheck, ...]
    in_two_sets: tuple[tuple[tuple[str, str], tuple[str, str]], ...]

    @property
    def problems(self) -> list[str]:
        """What has to be repaired before the sets are used, each with the names of the files."""
        lines = []
        for each in self.sets:
            lines += each.unreadable
            lines += [f"{each.name}: {name}: every pixel is ignored" for name in each.unlabelled]
            lines += [
                f"{each.name}: {one} and {other} are the same image with different labels"
                for one, other in each.contradicting
            ]
        first = self.sets[0]
        for each in self.sets[1:]:
            if each.classes != first.classes:
                lines.append(f"{each.name} and {first.name} have different classes, or another order of them")
        lines += [
            f"{name} of {where} looks like {other} of {there}: one image in two sets"
            for (name, where), (other, there) in self.in_two_sets
        ]
        return lines

    @property
    def warnings(self) -> list[str]:
        """What may be meant."""
        lines = []
        for each in self.sets:
            absent = [name for name, count in zip(each.classes, each.pixels) if not count]
            rare = [name for name, share in zip(each.classes, each.shares) if share and share < RARE]
            for words, names in (("in no label", absent), (f"below {RARE:.1%} of the pixels", rare)):
                if names:
                    lines.append(f"{each.name}: {words}: {names_in_words(names, NAMED)}")
            if each.empty:
                lines.append(f"{each.name}: {len(each.empty)} all background: {names_in_words(each.empty, NAMED)}")
            if each.twice:
                pairs = [f"{name} like {other}" for name, other in each.twice]
                lines.append(
                    f"{each.name}: {len(pairs)} images look like an earlier one: {names_in_words(pairs, NAMED)}"
                )
        return lines

    def to_mapping(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "sets": [_mapping_of_set(each) for each in self.sets],
            "in_two_sets": [[list(one), list(other)] for one, other in self.in_two_sets],
            "problems": self.problems,
            "warnings": self.warnings,
        }


def check_datasets(data: Sequence[DataLike], *, progress: Progress = SILENT) -> DataCheck:
    """Read every pair of the sets; count classes and sizes, and find images that look the same.

    One image at a time is in memory; of each 1.1 kB stay.

    Args:
        data: sets, such as training and validation set; see `fcn_edge.data.open_dataset`.
        progress: receives how many images are read.

    Returns:
        What was found; `problems` is empty where nothing has to be repaired.

    Raises:
        BadInput: no set, or one that does not open.

    Example:
        >>> check_datasets(["synthetic:street,images=2,size=64x96"]).problems
        []
    """
    if not data:
        raise BadInput("no data set to check; `data` is a list of them")
    checked = [_checked(dataset, progress) for dataset in [_named(each) for each in data]]
    in_two_sets = []
    for number, (check, names, hashes) in enumerate(checked):
        for earlier, earlier_names, earlier_hashes in checked[:number]:
            for mine, theirs in hashes.nearest_in(earlier_hashes).items():
                in_two_sets.append(((names[mine], check.name), (earlier_names[theirs], earlier.name)))
    return DataCheck(tuple(check for check, _, _ in checked), tuple(in_two_sets))


def file_name(item: Item) -> str:
    """What an item is called in messages: the path of its image, or its name."""
    return str(item.image_path) if isinstance(item, FilePair) else item.name


def _named(data: DataLike) -> Dataset:
    """The set; one that was named keeps that name in reports, since training and validation set may share theirs."""
    dataset = open_dataset(data)
    return replace(dataset, name=data) if isinstance(data, str) else dataset


def _checked(dataset: Dataset, progress: Progress) -> tuple[SetCheck, list[str], ImageHashes]:
    """The check of one set, and of each readable image its name and its look."""
    count, total = len(dataset.classes), len(dataset.items)
    check = SetCheck(dataset.name, dataset.classes, total, np.zeros(count, np.int64), np.zeros(count, np.int64))
    names, hashes = list[str](), ImageHashes()
    first: dict[str, tuple[str, bytes]] = {}
    for number in range(total):
        item = dataset.items[number]
        try:
            image, labels = item.image(), item.labels()
        except BadInput as error:
            check.unreadable.append(str(error))
        else:
            _count(check, item, image, labels)
            names.append(file_name(item))
            hashes.add(hash_of_image(image))
            _note_contradiction(check, item, labels, first)
        progress.update(f"checking {dataset.name}", number + 1, total)
    check.twice += [(names[one], names[other]) for one, other in hashes.nearest_in(hashes).items()]
    check.notes += dataset.notes.named(NAMED)
    return check, names, hashes


def _count(check: SetCheck, item: Item, image: np.ndarray, labels: np.ndarray) -> None:
    counts = np.bincount(labels.ravel(), minlength=256)[: len(check.classes)]
    check.sizes[image.shape[0], image.shape[1]] += 1
    check.pixels += counts
    check.images_with += counts > 0
    check.ignored += labels.size - int(counts.sum())
    if not counts.any():
        check.unlabelled.append(file_name(item))
    elif check.classes[0] == BACKGROUND and counts[0] == labels.size:
        check.empty.append(file_name(item))


def _note_contradiction(check: SetCheck, item: Item, labels: np.ndarray, first: dict[str, tuple[str, bytes]]) -> None:
    digest = hashlib.sha256(labels.tobytes()).digest()
    name, earlier = first.setdefault(item.sha256(), (file_name(item), digest))
    if earlier != digest:
        check.contradicting.append((file_name(item), name))


def _mapping_of_set(check: SetCheck) -> dict[str, Any]:
    classes = {
        name: {"share": share, "images": int(images)}
        for name, share, images in zip(check.classes, check.shares, check.images_with)
    }
    return {
        "name": check.name,
        "images": check.images,
        "classes": classes,
        "ignored_share": check.ignored_share,
        "sizes": {f"{width}x{height}": count for (height, width), count in check.sizes.most_common()},
        "unreadable": check.unreadable,
        "unlabelled": check.unlabelled,
        "all_background": check.empty,
        "near_duplicates": [list(pair) for pair in check.twice],
        "contradicting": [list(pair) for pair in check.contradicting],
        "notes": check.notes,
    }
