"""Image files as a source: a folder, a glob, one picture."""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.data.base import IMAGE_SUFFIXES, images_in
from fcn_edge.errors import BadInput, first_line
from fcn_edge.frame import Frame
from fcn_edge.stream.sources.base import Source, none_readable

MAX_PIXELS = 100_000_000
MAX_SIDE = 16_384


class ImageFiles(Source):
    """Pictures in the order of `paths`; one that cannot be read is named in `skipped` and its index stays empty."""

    def __init__(self, paths: Sequence[Path], uri: str) -> None:
        super().__init__(uri)
        self.files = tuple(paths)
        self.length = len(self.files)

    def frames(self) -> Iterator[Frame]:
        self._begin()
        for index, path in enumerate(self.files):
            try:
                image, what = picture_from_bytes(_bytes_of(path))
            except BadInput as error:
                self._skip(f"{path}: {error}")
                continue
            if what:
                self._note(what, path.name)
            yield Frame(image, index, time.monotonic_ns(), str(path))
        if self.skipped_count == len(self.files):
            raise none_readable(self.uri, len(self.files), self.skipped[0])


def images_from_folder(folder: Path, uri: str) -> ImageFiles:
    """The images of a folder by name. Raises BadInput where there are none."""
    paths = images_in(folder)
    if paths:
        return ImageFiles(paths, uri)
    inside = folder / "images"
    hint = f"; did you mean {inside}?" if inside.is_dir() else f" ({' '.join(IMAGE_SUFFIXES)})"
    raise BadInput(f"{folder}: no images in this folder{hint}")


def images_from_glob(pattern: str) -> ImageFiles:
    """The images that a pattern with * ? [ ] or ** matches, by name."""
    matches = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
    paths = [path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise BadInput(f"{pattern}: no image matches this pattern ({' '.join(IMAGE_SUFFIXES)})")
    return ImageFiles(paths, pattern)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(error.strerror or str(error)) from error


def picture_from_bytes(data: bytes) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 BGR from an encoded image, and what was changed on the way ("" for nothing).

    Raises:
        BadInput: empty, cut off, larger than 100 megapixels or 16384 a side, or not an image.
    """
    if not data:
        raise BadInput("the file is empty")
    size = _announced_size(data)
    if size is not None:
        _check_size(*size)
    if _is_cut_off(data):  # OpenCV 4 fills the missing part with grey and says nothing
        raise BadInput("the image is cut off")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise BadInput(f"not an image that decodes ({first_line(error)})") from error
    if image is None:
        raise BadInput("not an image that decodes")
    _check_size(*image.shape[:2])
    return bgr_from_pixels(image)


def bgr_from_pixels(image: np.ndarray) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 BGR from (H, W) or (H, W, 3) of 8 or 16 bits, and what was changed."""
    changes = []
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
        changes.append("16 bits reduced to 8")
    if image.dtype != np.uint8:
        raise BadInput(f"{image.dtype} pixels; 8 or 16 bits are read")
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        changes.append("grey made BGR")
    if image.shape[2] != 3:
        raise BadInput(f"{image.shape[2]} channels; 1 or 3 are read")
    return np.ascontiguousarray(image), ", ".join(changes)


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        limits = f"up to {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE} a side are read"
        raise BadInput(f"{width}x{height} pixels; {limits}")


def _announced_size(data: bytes) -> tuple[int, int] | None:
    """Height and width in a PNG's or JPEG's header, so that a bomb is refused before it is decoded."""
    if data.startswith(b"\x89PNG") and len(data) >= 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
    return None


def _is_cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG lacks its end marker behind the picture's own data."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    scans = [at for marker, at in _jpeg_segments(data) if marker == 0xDA]
    return data.startswith(b"\xff\xd8") and (not scans or data.find(b"\xff\xd9", scans[0]) < 0)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and offset of each segment up to the first scan; none for other formats."""
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at
        if marker == 0xDA:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
