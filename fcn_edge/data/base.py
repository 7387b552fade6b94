"""What every data set is: named classes, and items that read one image and its labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.files import sha256_of_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


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
    """A split. palette: RGB, one colour a class. ignore_index: the label that does not count."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    items: Items


@dataclass(frozen=True)
class PairOnDisk:
    """An image file and its label file."""

    name: str
    sequence: str
    image_path: Path
    label_path: Path
    num_classes: int
    ignore_index: int

    def image(self) -> np.ndarray:
        return image_from_file(self.image_path)

    def labels(self) -> np.ndarray:
        labels = labels_from_file(self.label_path)
        self._check_size(labels)
        bad = labels[(labels >= self.num_classes) & (labels != self.ignore_index)]
        if bad.size:
            raise BadInput(
                f"{self.label_path}: label value {int(bad[0])}; the classes are 0..{self.num_classes - 1}"
                f" and {self.ignore_index} is ignored"
            )
        return labels

    def _check_size(self, labels: np.ndarray) -> None:
        height, width = image_size(self.image_path)
        if labels.shape != (height, width):
            raise BadInput(
                f"{self.label_path}: {labels.shape[1]}x{labels.shape[0]} labels for"
                f" a {width}x{height} image; a label image has its image's size"
            )

    def sha256(self) -> str:
        return sha256_of_file(self.image_path)


def sha256_of_pixels(image: np.ndarray) -> str:
    """Identity of an image that has no file: its shape and bytes."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def image_from_file(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises BadInput where the file does not decode as a picture."""
    return _decoded(path, cv2.IMREAD_COLOR)


def labels_from_file(path: Path) -> np.ndarray:
    """(H, W) uint8 from a single-channel or palette image. Raises BadInput for colour images."""
    if path.suffix.lower() == ".png" and _png_colour_type(path) == 3:
        return _palette_indices(path)
    labels = _decoded(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise BadInput(f"{path}: {labels.dtype} image of shape {labels.shape}; labels are one channel of 8 bits")
    return labels


def _decoded(path: Path, flag: int) -> np.ndarray:
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(data, flag) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise BadInput(f"{path}: not an image that decodes")
    return image


def _png_colour_type(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(26)
    return header[25] if len(header) == 26 and header.startswith(b"\x89PNG") else -1


def _palette_indices(path: Path) -> np.ndarray:
    """OpenCV turns palettes into colours; labels need the indices, which Pillow keeps."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(image, np.uint8)
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise BadInput(f"{path}: not an image that decodes ({error})") from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file; decodes it where the header is not a PNG's."""
    with path.open("rb") as file:
        header = file.read(24)
    if header.startswith(b"\x89PNG") and len(header) == 24:
        return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")
    height, width = image_from_file(path).shape[:2]
    return height, width


def images_in(folder: Path) -> list[Path]:
    """Image files of a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def paired(images: Path, labels: Path, suffix: str = ".png") -> list[tuple[Path, Path]]:
    """Every image of a folder with its label file of the same stem.

    Raises:
        BadInput: a folder that is missing or empty, or an image without labels (named).
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise BadInput(f"{folder}: no such folder; expected images/ and labels/ side by side")
    pairs = [(path, labels / f"{path.stem}{suffix}") for path in images_in(images)]
    if not pairs:
        raise BadInput(f"{images}: no images in this folder")
    for image, label in pairs:
        if not label.is_file():
            raise BadInput(f"{image}: has no labels; expected {label}")
    return pairs
