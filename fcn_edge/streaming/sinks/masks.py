"""A folder of class maps: palette PNGs whose values are class indices, like label files.

Each contains a mark with the checksum of its pixels. A later run replaces only files with a valid mark, not files
that were drawn or edited by hand.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn_edge.atomic_io import whole_file
from fcn_edge.data.base import IMAGE_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Result
from fcn_edge.outputs import MARK, PNG_HEAD, marked_png
from fcn_edge.streaming.sinks.base import Sink, require_writable

Palette = tuple[tuple[int, int, int], ...]
SYSTEM_FILES = ("Thumbs.db", "desktop.ini")
HEAD_BYTES, TAIL_BYTES = 128, 16  # up to the end of the mark; checksum of the pixels, and IEND
PIXELS_CRC = slice(-16, -12)


class Masks(Sink):
    """One PNG per frame, named like the source's image, or by index (000012.png) for a video.

    Files are written atomically. Images with the same name get their index as a suffix. The folder must not contain
    other files, unless a pattern gives the names of masks: in "*_mask.png" the * is the image's name.
    """

    def __init__(
        self, folder: Path, palette: Palette, *, video: str, protected: Sequence[Path], pattern: str = "*.png"
    ) -> None:
        """video: the source's uri, which is the name of frames without their own; protected: files to keep.

        Raises BadInput if the folder contains the source's files, or others not written by fcn-edge.
        """
        super().__init__(f"{folder}/" if pattern == "*.png" else str(folder / pattern))
        self.folder, self._palette, self._video, self._pattern = folder, palette, video, pattern
        self._names: set[str] = set()
        if folder.resolve() in {path.resolve().parent for path in protected}:
            raise BadInput(f"{folder}: contains the source's files; write the masks to another folder")
        self._require_own_masks()
        self._is_ours = not folder.exists()
        require_writable(folder)

    def _require_own_masks(self) -> None:
        """Raises BadInput, with the first name, if masks would replace files not written by fcn-edge."""
        if not self.folder.is_dir():
            return
        fits = re.compile(re.escape(self._pattern).replace(r"\*", ".*"), re.IGNORECASE).fullmatch
        is_shared = self._pattern != "*.png"
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            is_passed_over = entry.name.startswith(".") or entry.name in SYSTEM_FILES or entry.is_dir()
            if is_passed_over or (is_shared and not fits(entry.name)):
                continue
            if entry.is_file() and is_own_mask(Path(entry.path)):
                continue
            pattern = "" if is_shared else f", or use a name pattern: {self.folder}/*_mask.png"
            raise BadInput(
                f"{entry.path}: not written by fcn-edge, or changed since; write the masks to another folder{pattern}"
            )

    def write(self, result: Result) -> None:
        path = self.folder / self._pattern.replace("*", self._name(result.frame))
        if path.exists() and not is_own_mask(path):
            raise BadInput(f"{path}: created by another program during the run; the file is kept and the run ends")
        with whole_file(path, replaces=True) as part:
            part.write_bytes(png_from_class_map(result.class_map, self._palette))
        self.count += 1

    def _name(self, frame: Frame) -> str:
        if frame.source == self._video and Path(frame.source).suffix.lower() not in IMAGE_SUFFIXES:
            return f"{frame.index:06d}"
        path = Path(frame.source)
        name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
        if name in self._names:
            name = f"{name}_{frame.index:06d}"
        self._names.add(name)
        return name

    def close(self) -> None:
        if self._is_ours and self.count == 0 and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def describe(self) -> str:
        return f"{self.uri}: {self.count} class maps"


def png_from_class_map(class_map: np.ndarray, palette: Palette) -> bytes:
    """An 8-bit palette PNG of (H, W) uint8 class indices; palette is RGB, values outside it are black.

    OpenCV cannot write palettes. Source: PNG specification, third edition, colour type 3.
    """
    height, width = class_map.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row starts with its filter type, 0 for none
    rows[:, 1:] = class_map
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 2)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)
    return marked_png(data, f"{MARK} {data[PIXELS_CRC].hex()}")


def is_own_mask(path: Path) -> bool:
    """Whether `path` is an unchanged mask: an editor that keeps the mark changes the checksum of the pixels."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read()
    return f"{MARK} {tail[PIXELS_CRC].hex()}".encode() in head[PNG_HEAD:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
