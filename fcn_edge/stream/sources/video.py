"""Recorded video: a file, or a file over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.files import require_file
from fcn_edge.frame import Frame
from fcn_edge.stream.sources.base import Source, quiet_vendors
from fcn_edge.stream.sources.images import bgr_from_pixels

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv",
    ".3gp", ".ogv", ".h264", ".h265", ".hevc", ".mjpg", ".mjpeg", ".y4m", ".gif",
)  # fmt: skip
COUNTING_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".3gp")  # their header counts frames; others tell a duration
MAX_FPS = 1000.0


class VideoFile(Source):
    """A video with an end. `address` is what OpenCV opens: a path or an http(s) URL."""

    def __init__(self, address: str, uri: str) -> None:
        super().__init__(uri)
        self._address = address
        capture = opened_capture(address, cv2.CAP_FFMPEG)
        try:
            self.fps, self.length = fps_of(capture), _length_of(capture)
            image = image_from_capture(capture)
        finally:
            capture.release()
        if image is None:
            raise BadInput(f"{self.uri}: not a video that opens{_why(address)}")
        self.size = (image.shape[0], image.shape[1])

    def frames(self) -> Iterator[Frame]:
        capture = opened_capture(self._address, cv2.CAP_FFMPEG)
        index, last_ms = 0, 0.0
        try:
            while (image := image_from_capture(capture)) is not None:
                last_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
                yield Frame(image, index, time.monotonic_ns(), self.uri)
                index += 1
        finally:
            capture.release()
        self._check_end(index, last_ms)

    def _check_end(self, came: int, last_ms: float) -> None:
        """Tell a video that was cut off from one whose header says a little too much.

        A recording is lost where both are short: the number of frames, and the time of the last one.
        """
        if self.length is None or came >= self.length - 1:
            return
        if self.fps is None or last_ms < 1000 * (self.length - 1) / self.fps - self._grace_ms():
            raise SourceLost(f"{self.uri}: {self.length} frames expected, {came} came: the video is cut off or damaged")
        self._note(f"{self.length} frames announced, {came} could be decoded", self.uri)

    def _grace_ms(self) -> float:
        """How early the last frame may be: containers that do not count frames tell the sound's duration too."""
        frame_ms = 1000 / (self.fps or 1)
        if Path(self._address).suffix.lower() in COUNTING_SUFFIXES:
            return 0.5 * frame_ms
        return min(1000.0, 0.25 * (self.length or 0) * frame_ms)


def video_from_file(path: Path, uri: str) -> VideoFile:
    """A video file. Raises BadInput where it is missing, empty or not a video."""
    require_file(path, "a video")
    source = VideoFile(str(path), uri)
    source.files = (path,)
    return source


def opened_capture(address: str | int, backend: int, options: tuple[int, ...] = ()) -> cv2.VideoCapture:
    """An OpenCV capture, which may not be open; OpenCV's own words are silenced."""
    quiet_vendors()
    return cv2.VideoCapture(address, backend, list(options))


def image_from_capture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next picture as (H, W, 3) uint8 BGR, or None at the end."""
    is_read, image = capture.read()
    return bgr_from_pixels(image)[0] if is_read and image is not None else None


def fps_of(capture: cv2.VideoCapture) -> float | None:
    """Frames a second, to three digits; None where the container does not know or is not to be believed."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return round(fps, 3) if 0 < fps <= MAX_FPS else None


def _length_of(capture: cv2.VideoCapture) -> int | None:
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < 2**31 else None


def _why(address: str) -> str:
    """An MP4 without its index is the usual broken recording: say so."""
    path = Path(address)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(12)
    is_mp4 = head[4:8] == b"ftyp"
    return ": it begins like an MP4, but its index is missing (the recording was cut off)" if is_mp4 else ""
