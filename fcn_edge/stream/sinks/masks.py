"""A folder of class maps: palette PNGs whose values are class indices, as labels are stored."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn_edge.data.base import IMAGE_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.files import whole_file
from fcn_edge.frame import Frame, Times, View
from fcn_edge.stream.sinks.base import Sink, require_writable

Palette = tuple[tuple[int, int, int], ...]


class Masks(Sink):
    """One PNG a frame, named like the source's image, or by index (000012.png) for a video.

    Each file is whole or not there. Two images of one name get their index behind it.
    """

    def __init__(self, folder: Path, palette: Palette, *, video: str, protected: Sequence[Path]) -> None:
        """video: the source's uri, which frames without a name of their own carry; protected: files to keep."""
        super().__init__(f"{folder}/")
        self.folder, self._palette, self._video = folder, palette, video
        self._names: set[str] = set()
        if folder.resolve() in {path.resolve().parent for path in protected}:
            raise BadInput(f"{folder}: holds the source's own files; write the masks to another folder")
        self._is_ours = not folder.exists()
        require_writable(folder)

    def write(self, frame: Frame, view: View, times: Times) -> None:
        with whole_file(self.folder / f"{self._name(frame)}.png") as part:
            part.write_bytes(png_from_class_map(view.class_map, self._palette))
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
    """An 8-bit palette PNG of (H, W) uint8 class indices; palette is RGB, further values are black.

    OpenCV cannot write palettes. Source: PNG specification, third edition, colour type 3.
    """
    height, width = class_map.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row begins with its filter, 0 for none
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
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
