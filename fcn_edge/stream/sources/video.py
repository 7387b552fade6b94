"""Recorded video: a file, or a file over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.data.pictures import bgr_from_pixels
from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.files import require_file
from fcn_edge.frame import Frame
from fcn_edge.stream.sources.base import Source, quiet_vendors

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv",
    ".3gp", ".ogv", ".h264", ".h265", ".hevc", ".mjpg", ".mjpeg", ".y4m", ".gif",
)  # fmt: skip
COUNTING_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".3gp")  # their header counts frames; others tell a duration
MAX_FPS = 1000.0
HOLE = 3  # frame periods without a frame, where frames are missing too


class _Progress:
    """How far a video has been read: frames that came, the last one's picture and time, and holes in time."""

    def __init__(self, period_ms: float) -> None:
        self.came, self.last_ms, self.leap = 0, 0.0, 0
        self.last: np.ndarray | None = None
        self.has_holes = self.is_at_end = False
        self._period_ms = period_ms

    def is_further(self, position_ms: float, image: np.ndarray) -> bool:
        """Whether a frame, due at that time, is behind the one before; behind a damage it may not be."""
        if self.leap and position_ms <= self.last_ms:
            return False
        self.has_holes |= bool(self.leap) or (self.came > 1 and position_ms - self.last_ms > HOLE * self._period_ms)
        self.came, self.last_ms, self.last, self.leap = self.came + 1, position_ms, image, 0
        return True


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
        self._begin()
        capture = opened_capture(self._address, cv2.CAP_FFMPEG)
        index: int | None = 0
        progress = _Progress(1000 / (self.fps or MAX_FPS))
        try:
            while index is not None:
                image = image_from_capture(capture)
                if image is None:
                    index = self._behind_damage(capture, index, progress)
                elif progress.is_further(capture.get(cv2.CAP_PROP_POS_MSEC), image):
                    yield Frame(image, index, time.monotonic_ns(), self.uri)
                    index += 1
        finally:
            capture.release()
        self._check_end(progress)

    def _behind_damage(self, capture: cv2.VideoCapture, index: int, progress: _Progress) -> int | None:
        """Go on behind what does not decode: the next index, or None at the end.

        In an AVI a frame's number does not tell where it is once some are gone.
        """
        if self.length is None or not Path(self._address).is_file() or self._address.lower().endswith(".avi"):
            return None
        if progress.leap == 0:
            last = self._last_picture()
            progress.is_at_end = last is None or progress.last is None or np.array_equal(last, progress.last)
        progress.leap = progress.leap * 3 // 2 + 8
        following = index + progress.leap
        if progress.is_at_end or following >= self.length:
            return None
        capture.set(cv2.CAP_PROP_POS_FRAMES, following)
        return following

    def _last_picture(self) -> np.ndarray | None:
        """The last frame that the header promises; None where the file ends before it."""
        capture = opened_capture(self._address, cv2.CAP_FFMPEG)
        try:
            capture.set(cv2.CAP_PROP_POS_FRAMES, (self.length or 1) - 1)
            return image_from_capture(capture)
        finally:
            capture.release()

    def _check_end(self, progress: _Progress) -> None:
        """Tell a video that was cut off, one that is damaged inside, and one whose header says a little too much."""
        missing = (self.length or 0) - progress.came
        if self.length is None or missing <= 1:
            return
        due_ms = None if self.fps is None else 1000 * (self.length - 1) / self.fps - self._grace_ms()
        is_short = due_ms is None or progress.last_ms < due_ms
        if is_short and self._last_picture() is None:
            words = f"{self.length} frames expected, {progress.came} came: the video is cut off or damaged"
            raise SourceLost(f"{self.uri}: {words}")
        if is_short or progress.has_holes:
            self._skip(f"{self.uri}: {missing} of {self.length} frames could not be decoded", missing)
        else:
            self._note(f"{self.length} frames announced, {progress.came} could be decoded", self.uri)

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
