"""What every data set is: named classes, and items that read one image and its labels."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.data.labels import (
    UNLABELLED,
    indices_from_values,
    labels_from_file,
    samples_from_file,
    turned_labels,
    unknown_value,
)
from fcn_edge.data.notes import Notes
from fcn_edge.data.pictures import bytes_of_file, image_from_file, picture_from_file
from fcn_edge.errors import BadInput

__all__ = [
    "IMAGE_SUFFIXES",
    "Dataset",
    "FilePair",
    "Item",
    "Items",
    "Notes",
    "PairOnDisk",
    "image_from_file",
    "images_in",
    "labels_from_file",
    "paired",
    "sha256_of_pixels",
]
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
HIDDEN = "hidden, passed over"
NAMED = 5  # so many files stand in one message
NO_VALUE = -1  # an ignore_index where every label value has to be a class


class Item(Protocol):
    """One image of a set. `sequence` names the drive it belongs to; neighbours there are alike."""

    @property
    def name(self) -> str: ...

    @property
    def sequence(self) -> str: ...

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR."""
        ...

    def labels(self) -> np.ndarray:
        """(H, W) uint8 class indices, or the set's ignore value."""
        ...

    def sha256(self) -> str:
        """Identity of the image's content."""
        ...


class Items(Protocol):
    """Items by number; drawn or opened when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Item: ...


@dataclass(frozen=True)
class Dataset:
    """A split. palette: RGB, one colour a class. ignore_index: the label that does not count.

    notes: what was passed over when it was opened, and changed as its items are read.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    items: Items
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)


@dataclass(frozen=True)
class FilePair:
    """An item of an image file and of a file that has its labels, perhaps among those of others."""

    name: str
    sequence: str
    image_path: Path
    label_path: Path

    def image_bytes(self) -> bytes:
        """The encoded picture."""
        return bytes_of_file(self.image_path)

    def image(self) -> np.ndarray:
        raise NotImplementedError

    def labels(self) -> np.ndarray:
        raise NotImplementedError

    def sha256(self) -> str:
        return sha256_of_file(self.image_path)


@dataclass(frozen=True)
class PairOnDisk(FilePair):
    """An image file and its label file.

    ignore_index: the file's value that does not count. label_values: the file's value of each class; () for 0, 1, 2 …
    listing: the file that can hold other label_values.
    """

    num_classes: int
    ignore_index: int
    label_values: tuple[int, ...] = ()
    listing: Path | None = None
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)

    def image(self) -> np.ndarray:
        image, what = picture_from_file(self.image_path)
        self.notes.add(what, self.image_path.name)
        return image

    def labels(self) -> np.ndarray:
        samples = samples_from_file(self.label_path)
        labels, what = turned_labels(samples, self.label_path, self.image_path)
        self.notes.add(what, self.label_path.name)
        return self._indices(labels)

    def _indices(self, values: np.ndarray) -> np.ndarray:
        """(H, W) uint8 class indices of a label file's values. Raises BadInput for one that is no class."""
        classes = self.label_values or tuple(range(self.num_classes))
        unknown = unknown_value(values, classes, self.ignore_index)
        if unknown is not None:
            raise BadInput(f"{self.label_path}: label value {unknown}; {self._expected()}")
        written = written_ignore(self.ignore_index, self.num_classes)
        return indices_from_values(values, classes, self.ignore_index, written)

    def _expected(self) -> str:
        ignored = f", and {self.ignore_index} is ignored" if self.ignore_index != NO_VALUE else ""
        if self.label_values:
            return f"{self._where()} has {_in_words(self.label_values)}{ignored}"
        hint = f'; where others are meant, name each class\'s in {self.listing}: "label_values": [...]'
        words = f"the classes are 0..{self.num_classes - 1}{ignored}"
        return words + (hint if self.listing else "")

    def _where(self) -> str:
        is_own = self.listing is None or self.listing.name == "classes.json"
        return "label_values" if is_own else str(self.listing)


def _in_words(values: tuple[int, ...]) -> str:
    """Such as "0, 255", or "1 to 150" where they follow on each other."""
    is_range = len(values) > 2 and values == tuple(range(values[0], values[0] + len(values)))
    return f"{values[0]} to {values[-1]}" if is_range else ", ".join(map(str, values))


def written_ignore(ignore_index: int, num_classes: int) -> int:
    """What stands for `ignore_index` in labels as they are read: itself where it is beyond the classes, else 255."""
    return ignore_index if num_classes <= ignore_index <= UNLABELLED else UNLABELLED


def sha256_of_pixels(image: np.ndarray) -> str:
    """Identity of an image that has no file: its shape and bytes."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def images_in(folder: Path) -> list[Path]:
    """Image files of a folder, sorted by name; hidden ones, such as macOS's ._a.jpg, are left out."""
    return [path for path in _with_image_name(folder) if not is_hidden(path)]


def note_hidden(folder: Path, notes: Notes) -> None:
    """Note the image files of a folder that `images_in` leaves out."""
    notes.add(HIDDEN, *(path.name for path in _with_image_name(folder) if is_hidden(path)))


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _with_image_name(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def paired(images: Path, labels: Path, notes: Notes | None = None) -> list[tuple[Path, Path]]:
    """Every image of a folder with its label file of the same stem.

    Raises:
        BadInput: a folder that is missing or empty, two images of one stem, or an image without labels (named).
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder; expected images/ and labels/ side by side")
    pairs = [(path, labels / f"{path.stem}.png") for path in images_in(images)]
    if not pairs:
        raise BadInput(f"{images}: no images in this folder")
    if notes is not None:
        note_hidden(images, notes)
    _require_one_of_a_stem([image for image, _ in pairs])
    require_labels(pairs)
    return pairs


def require_labels(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raises BadInput, naming the first images whose label file is missing, and how many there are."""
    missing = [(image, label) for image, label in pairs if not label.is_file()]
    if missing:
        image, label = missing[0]
        others = [other.name for other, _ in missing[1:NAMED]]
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        also = f"; nor have {', '.join(others)}{more}" if others else ""
        raise BadInput(f"{image}: has no labels; expected {label}{_other_labels(label)}{also}")


def _require_one_of_a_stem(images: list[Path]) -> None:
    first: dict[str, Path] = {}
    for image in images:
        other = first.setdefault(image.stem, image)
        if other != image:
            raise BadInput(
                f"{image.parent}: {other.name} and {image.name} would share the labels {image.stem}.png;"
                " give each picture a name and labels of its own"
            )


def _other_labels(label: Path) -> str:
    """What stands there under another suffix, in words."""
    others = sorted(path.name for path in label.parent.glob(f"{glob.escape(label.stem)}.*"))
    return f"; {others[0]} is there, and labels are PNG files: convert it without loss" if others else ""
