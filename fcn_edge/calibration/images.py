"""Calibration images: a folder, a glob, a video, a data set, arrays, or a TOML of the calib shelf that names one."""

from __future__ import annotations

import functools
import glob
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from fcn_edge.atomic_io import sha256_of_file, whole_file
from fcn_edge.data import Dataset, dataset_from_name, is_dataset_name
from fcn_edge.data.base import IMAGE_SUFFIXES, images_in, note_hidden, sha256_of_pixels
from fcn_edge.data.notes import Notes
from fcn_edge.data.pictures import picture_from_file
from fcn_edge.errors import BadInput
from fcn_edge.outputs import MARK
from fcn_edge.registry import shelf_file, shelf_names
from fcn_edge.schema import from_mapping, read_toml
from fcn_edge.streaming.sources.stills import Stills
from fcn_edge.streaming.sources.video import VIDEO_SUFFIXES

DEFAULT_COUNT = 100
NAMED = 5  # so many names stand in a message; the rest are counted
T = TypeVar("T")
ARRAY = "array "  # how images without a name are called: array 0, array 1, ...
ImagesLike: TypeAlias = "str | Path | Dataset | Iterable[np.ndarray]"


@dataclass(frozen=True)
class CalibrationImage:
    """One picture: its name, a way to read it as (H, W, 3) uint8 BGR, the hash of its content; labels if it has any."""

    name: str
    read: Callable[[], np.ndarray]
    sha256: Callable[[], str]
    labels: Callable[[], np.ndarray] | None = None


@dataclass(frozen=True)
class CalibrationImages:
    """The chosen pictures, in order; nothing is decoded before it is asked for.

    classes: of their labels, if any. notes: what was passed over, and changed as pictures are read.
    """

    source: str
    images: Sequence[CalibrationImage]
    classes: tuple[str, ...] = ()
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)


@dataclass(frozen=True)
class CalibrationRecipe:
    """A TOML of the calib shelf.

    images: how many, evenly spread. sha256: name -> hash of the images that are meant, in order;
    where it is given, these and no others are taken.
    """

    source: str
    images: int = DEFAULT_COUNT
    title: str = ""
    sha256: Mapping[str, str] | None = None


def images_from_source(source: ImagesLike, count: int | None = None) -> CalibrationImages:
    """Choose `count` pictures of `source`, evenly spread over it: by default 100, or all arrays.

    Args:
        source: folder, glob, video, data set or TOML by name or path; a data set; or (H, W, 3) uint8 BGR arrays.

    Raises:
        BadInput: nothing there, no pictures in it, or pictures that are not those the TOML lists.
    """
    if isinstance(source, Dataset):
        found = _from_dataset(source)
        return replace(found, images=spread(found.images, count))
    if not isinstance(source, (str, Path)):
        return _from_arrays(source, count)
    source = str(source)
    if _is_recipe(source):
        return _from_recipe(shelf_file("calib", source), count)
    found = _all_images(source)
    return replace(found, images=spread(found.images, count))


def _all_images(source: str) -> CalibrationImages:
    if is_dataset_name(source):
        return replace(_from_dataset(dataset_from_name(source)), source=source)
    path = Path(source)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return CalibrationImages(source, _from_video(path))
    notes = Notes()
    files = _files(path, source, notes)
    top = os.path.commonpath([file.parent for file in files])
    images = [_from_file(file, file.relative_to(top).as_posix(), notes) for file in files]
    return CalibrationImages(source, images, notes=notes)


def spread(items: Sequence[T], count: int | None) -> list[T]:
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
    found = _all_images(recipe.source)
    chosen = found.images if recipe.sha256 is None else _listed(found, recipe.sha256, path)
    wanted = recipe.images if recipe.sha256 is None else len(chosen)
    return CalibrationImages(path.name, spread(chosen, count or wanted), found.classes, found.notes)


def _listed(found: CalibrationImages, wanted: Mapping[str, str], path: Path) -> list[CalibrationImage]:
    """The images of those names. Raises BadInput, naming them, where some are missing or have another content."""
    by_name = {image.name: image for image in found.images}
    wrong = difference(wanted, {name: by_name[name].sha256() for name in wanted if name in by_name})
    if wrong:
        raise BadInput(f"{path}: of the {len(wanted)} images it lists, {found.source} has {wrong}")
    return [by_name[name] for name in wanted]


def save_recipe(path: Path, source: str, hashes: Mapping[str, str]) -> None:
    """Write a TOML that makes the set of these images (name -> hash) again, or says which are missing or changed.

    Raises BadInput where `source` is such a TOML already.
    """
    if _is_recipe(source):
        raise BadInput(f"{path}: the images come from {source}, which makes the set again already")
    if not Path(source).exists() and not is_dataset_name(source) and not any(mark in source for mark in "*?["):
        raise BadInput(f"{path}: the images come from {source}, which no file can name; save them as files first")
    lines = [f"{json.dumps(name)} = {json.dumps(sha256)}\n" for name, sha256 in hashes.items()]
    text = f"# {MARK}\nsource = {json.dumps(source)}\nimages = {len(hashes)}\n\n[sha256]\n{''.join(lines)}"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def shared_images(calibration: Mapping[str, str], data: Dataset) -> list[str]:
    """Names of the images (name -> hash) that `data` holds too, by content.

    Files are compared by their bytes; arrays, which have none, by pixels with what the files of `data` decode to.
    """
    items = [data.items[number] for number in range(len(data.items))]
    held = {item.sha256() for item in items}
    if any(name.startswith(ARRAY) for name in calibration):
        for item in items:
            with suppress(BadInput):  # evaluation names those that do not decode
                held.add(sha256_of_pixels(item.image()))
    return [name for name, sha256 in calibration.items() if sha256 in held]


def require_disjoint(calibration: Mapping[str, str], data: Dataset) -> None:
    """Raises BadInput, naming them, where images (name -> hash) also stand in `data`, by content."""
    shared = shared_images(calibration, data)
    if shared:
        raise BadInput(
            f"{len(shared)} of {len(calibration)} calibration images are also in {data.name} ({named(shared)}):"
            " its mIoU would flatter; calibrate on others, or set `allow_overlap`"
        )


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What `found` (name -> hash) has otherwise than `wanted`, in words; empty where nothing."""
    changed = [name for name in wanted if name in found and found[name] != wanted[name]]
    missing = [name for name in wanted if name not in found]
    added = [name for name in found if name not in wanted]
    parts = (("changed", changed), ("missing", missing), ("new", added))
    return ", ".join(f"{len(names)} {word} ({named(names)})" for word, names in parts if names)


def named(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _from_dataset(data: Dataset) -> CalibrationImages:
    items = [data.items[number] for number in range(len(data.items))]
    images = [CalibrationImage(item.name, item.image, item.sha256, item.labels) for item in items]
    return CalibrationImages(data.name, images, data.classes, data.notes)


def _from_arrays(arrays: Iterable[np.ndarray], count: int | None) -> CalibrationImages:
    images = [_image_from_array(number, array) for number, array in enumerate(arrays)]
    if not images:
        raise BadInput("no images: the iterable of arrays is empty")
    return CalibrationImages(f"{len(images)} arrays", spread(images, count or len(images)))


def _image_from_array(number: int, array: np.ndarray) -> CalibrationImage:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        found = f"{array.dtype}{array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise BadInput(f"image {number} is {found}; expected a uint8 array (H, W, 3), BGR")
    return CalibrationImage(f"{ARRAY}{number}", lambda: array, lambda: sha256_of_pixels(array))


def _from_file(path: Path, name: str, notes: Notes) -> CalibrationImage:
    def read() -> np.ndarray:
        image, what = picture_from_file(path)
        notes.add(what, name)
        return image

    return CalibrationImage(name, read, lambda: sha256_of_file(path))


def _from_video(path: Path) -> list[CalibrationImage]:
    stills = Stills(path)
    return [_video_image(stills, path.name, index) for index in range(stills.length)]


def _video_image(stills: Stills, name: str, index: int) -> CalibrationImage:
    read = functools.partial(stills.image, index)
    return CalibrationImage(f"{name}#{index}", read, lambda: sha256_of_pixels(read()))


def _files(path: Path, source: str, notes: Notes) -> list[Path]:
    if path.is_dir():
        folder = path / "images" if (path / "images").is_dir() else path
        files = images_in(folder)
        note_hidden(folder, notes)
    elif any(mark in source for mark in "*?["):
        files = sorted(Path(p) for p in glob.glob(source, recursive=True) if p.lower().endswith(IMAGE_SUFFIXES))
    elif path.exists():
        files = [path] if path.suffix.lower() in IMAGE_SUFFIXES else []
    else:
        raise BadInput(f"{source}: no such file; calibration takes a folder, glob, video, data set, TOML or table")
    if not files:
        raise BadInput(f"{source}: no images there; INT8 is never built from noise")
    return files
