"""Calibration images: a folder, a glob, a video, a data set, or a TOML of the calib shelf that names one."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.data import dataset_from_name, is_dataset_name
from fcn_edge.data.base import IMAGE_SUFFIXES, image_from_file, images_in, sha256_of_pixels
from fcn_edge.errors import BadInput
from fcn_edge.files import sha256_of_file
from fcn_edge.schema import from_mapping, read_toml
from fcn_edge.shelf import shelf_file, shelf_names
from fcn_edge.stream.sources.base import quiet_vendors

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
DEFAULT_COUNT = 100


@dataclass(frozen=True)
class CalibrationImage:
    """One picture: its name, a way to read it as (H, W, 3) uint8 BGR, and the hash of its content."""

    name: str
    read: Callable[[], np.ndarray]
    sha256: Callable[[], str]


@dataclass(frozen=True)
class CalibrationImages:
    """The chosen pictures, in order; nothing is decoded before it is asked for."""

    source: str
    images: Sequence[CalibrationImage]


@dataclass(frozen=True)
class CalibrationRecipe:
    """A TOML of the calib shelf. images: how many, evenly spread. sha256: what they must be."""

    source: str
    images: int = DEFAULT_COUNT
    title: str = ""
    sha256: tuple[str, ...] = ()


def images_from_source(source: str, count: int | None = None) -> CalibrationImages:
    """Choose `count` (default 100) pictures of `source`, evenly spread over it.

    Raises:
        BadInput: nothing there, no pictures in it, or pictures that are not those the TOML lists.
    """
    if _is_recipe(source):
        return _from_recipe(shelf_file("calib", source), count)
    if is_dataset_name(source):
        return CalibrationImages(source, _from_dataset(source, count))
    path = Path(source)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return CalibrationImages(source, _from_video(path, count))
    files = _files(path, source)
    chosen = [CalibrationImage(p.name, _reader(p), _hasher(p)) for p in spread(files, count)]
    return CalibrationImages(source, chosen)


def spread(items: Sequence[Path], count: int | None) -> list[Path]:
    """At most `count` (default 100) of `items`, evenly spaced, first and last included."""
    return [items[i] for i in spread_indices(len(items), count)]


def spread_indices(total: int, count: int | None) -> list[int]:
    """At most `count` indices of range(total), evenly spaced, first and last included."""
    wanted = min(total, count or DEFAULT_COUNT)
    return sorted({round(i * (total - 1) / max(1, wanted - 1)) for i in range(wanted)})


def _is_recipe(source: str) -> bool:
    return source.endswith(".toml") or source in shelf_names("calib")


def _from_recipe(path: Path, count: int | None) -> CalibrationImages:
    recipe = from_mapping(CalibrationRecipe, read_toml(path), str(path))
    if _is_recipe(recipe.source):
        raise BadInput(f"{path}: its source {recipe.source} is a calibration set too; name pictures or a data set")
    chosen = images_from_source(recipe.source, count or recipe.images)
    if recipe.sha256 and count is None:
        found = [image.sha256() for image in chosen.images]
        wrong = [image.name for image, a, b in zip(chosen.images, found, recipe.sha256) if a != b]
        if wrong or len(found) != len(recipe.sha256):
            raise BadInput(
                f"{path}: lists {len(recipe.sha256)} images; {recipe.source} gives {len(found)},"
                f" {len(wrong)} of them others (first {wrong[0] if wrong else 'none'})"
            )
    return CalibrationImages(path.name, chosen.images)


def _from_dataset(source: str, count: int | None) -> list[CalibrationImage]:
    items = dataset_from_name(source).items
    chosen = [items[i] for i in spread_indices(len(items), count)]
    return [CalibrationImage(item.name, item.image, item.sha256) for item in chosen]


def _from_video(path: Path, count: int | None) -> list[CalibrationImage]:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a video")
    quiet_vendors()
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    if total < 1:
        raise BadInput(f"{path}: not a video that opens")
    return [_video_image(path, index) for index in spread_indices(total, count)]


def _video_image(path: Path, index: int) -> CalibrationImage:
    def read() -> np.ndarray:
        capture = cv2.VideoCapture(str(path))
        try:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            arrived, image = capture.read()
        finally:
            capture.release()
        if not arrived:
            raise BadInput(f"{path}: frame {index} does not decode")
        return np.asarray(image)

    return CalibrationImage(f"{path.name}#{index}", read, lambda: sha256_of_pixels(read()))


def _files(path: Path, source: str) -> list[Path]:
    if path.is_dir():
        files = images_in(path / "images" if (path / "images").is_dir() else path)
    elif any(mark in source for mark in "*?["):
        files = sorted(Path(p) for p in glob.glob(source, recursive=True) if p.lower().endswith(IMAGE_SUFFIXES))
    elif path.exists():
        files = [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    else:
        raise BadInput(f"{source}: no such file; --calib takes a folder, glob, video, data set, TOML or table")
    if not files:
        raise BadInput(f"{source}: no images there; INT8 is never built from noise")
    return files


def _reader(path: Path) -> Callable[[], np.ndarray]:
    return lambda: image_from_file(path)


def _hasher(path: Path) -> Callable[[], str]:
    return lambda: sha256_of_file(path)
