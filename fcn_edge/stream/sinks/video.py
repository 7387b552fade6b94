"""The annotated video: recorded under a hidden name, and renamed once it is finished and plays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.files import whole_file
from fcn_edge.frame import Frame, Times, View
from fcn_edge.stream.sinks.base import Sink, require_writable
from fcn_edge.stream.sources.base import quiet_vendors
from fcn_edge.stream.viewer import Painter

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv")
CODEC = "mp4v"  # MPEG-4 part 2: what the OpenCV wheels can encode in all three containers; they have no H.264
FPS_OF_IMAGES = 10.0
RESERVE_BYTES = 16 * 2**20  # what stays free on the disk, so that the index of a long video still fits
MAX_FILL_S = 10


class Video(Sink):
    """Annotated pictures at the source's speed: a picture stays for the frames dropped behind it.

    The first frame's size is the video's (even: a last odd row or column is cut).
    """

    needs_overlay = True

    def __init__(self, path: Path, painter: Painter, *, fps: float | None, protected: Sequence[Path]) -> None:
        super().__init__(str(path))
        if path.exists() and any(path.samefile(other) for other in protected if other.exists()):
            raise BadInput(f"{path}: is the source itself; write the video to another file")
        self.path, self._painter = path, painter
        self._fps, self._keeps_time = fps or FPS_OF_IMAGES, fps is not None
        self._part = path.with_name(f".{path.stem}.recording{os.getpid()}{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: tuple[int, np.ndarray] | None = None
        self._filled = 0
        require_writable(path.parent)
        self._check_encoder()

    def write(self, frame: Frame, view: View, times: Times) -> None:
        picture = self._fitted(self._painter.picture(frame, view, times))
        if self._writer is None:
            self._writer = self._opened(picture.shape[1], picture.shape[0])
        self._fill_gap(frame.index)
        self._writer.write(picture)
        self._last = (frame.index, picture)
        self.count += 1
        self._check_disk()

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[0] & ~1, picture.shape[1] & ~1
        if self._writer is None:
            self._size = (max(2, height), max(2, width))
        if (height, width) == self._size:
            return picture[:height, :width]
        note = f"{self.path.name}: frames of another size were resized to {self._size[1]}x{self._size[0]}"
        if note not in self.notes:
            self.notes.append(note)
        return cv2.resize(picture, self._size[::-1], interpolation=cv2.INTER_AREA)

    def _fill_gap(self, index: int) -> None:
        """Repeat the last picture for frames that were dropped, else the video would run too fast."""
        if self._last is None or self._writer is None or not self._keeps_time:
            return
        for _ in range(min(index - self._last[0] - 1, round(MAX_FILL_S * self._fps))):
            self._writer.write(self._last[1])
            self._filled += 1

    def _check_encoder(self) -> None:
        writer = self._opened(64, 64)
        writer.release()
        self._part.unlink(missing_ok=True)

    def _opened(self, width: int, height: int) -> cv2.VideoWriter:
        quiet_vendors()
        fourcc = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(str(self._part), fourcc, self._fps, (width, height))
        if not writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise BackendMissing(
                f"{self.path}: OpenCV {cv2.__version__} here cannot encode {width}x{height} {CODEC} video"
                " (an OpenCV with FFmpeg can); write masks to a folder instead"
            )
        return writer

    def _check_disk(self) -> None:
        if shutil.disk_usage(self.path.parent).free < RESERVE_BYTES:
            self.close()
            raise BadInput(f"{self.path}: the disk is full; the first {self.count} frames are in the video")

    def close(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            self._check_recording()
            with whole_file(self.path) as whole:
                os.replace(self._part, whole)
        finally:
            self._part.unlink(missing_ok=True)

    def _check_recording(self) -> None:
        """OpenCV's writer reports no error, not even a full disk: ask the file itself."""
        capture = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG)
        plays, told = capture.read()[0], capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        written = self.count + self._filled
        if not plays or abs(told - written) > 1 + written // 50:
            raise BadInput(
                f"{self.path}: {written} frames were written, but the file holds {max(0, int(told))} that play;"
                " is the disk full? Nothing was left behind."
            )

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            self._part.unlink(missing_ok=True)
            self.count = 0

    def describe(self) -> str:
        filled = f" and {self._filled} repeated for dropped ones" if self._filled else ""
        return f"{self.path}: {self.count} frames{filled}, {self._size[1]}x{self._size[0]}, {self._fps:g} fps"
