"""Recorded video: a file, or a file over HTTP.

OpenCV decodes, so that pixels do not depend on the type of source, and PyAV is optional.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.atomic_io import require_file
from fcn_edge.data.pictures import bgr_from_pixels
from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source, quiet_vendors
from fcn_edge.streaming.sources.container import (
    Content,
    FileContent,
    is_cut_short,
    is_damaged,
    is_fragmented,
    is_mp4,
    lacks_index,
)
from fcn_edge.streaming.sources.pacing import PresentationClock
from fcn_edge.streaming.sources.tracks import has_only_covers, shown_times, why_no_pictures

VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".m2ts",
    ".mts",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
    ".h264",
    ".h265",
    ".hevc",
    ".mjpg",
    ".mjpeg",
    ".y4m",
    ".gif",
)
MAX_FPS = 1000.0
MOST_BAD_READS = 250  # in a row: OpenCV does not distinguish a frame that does not decode from the end
WIDEST_PIXEL = 4.0
SPLICED_SUFFIXES = (".ts", ".m2ts", ".mts", ".mpg", ".mpeg")  # may be several concatenated recordings
JUMP_S = 10.0  # in these, as in FFmpeg


@dataclass(frozen=True)
class PixelShape:
    """How to resize a stored image to square pixels, which networks and players expect."""

    across: float = 1.0
    down: float = 1.0

    def squared(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) in the size of `size_of`; `image` itself if its pixels are square."""
        if self == PixelShape():
            return image
        method = cv2.INTER_AREA if min(self.across, self.down) < 1 else cv2.INTER_LINEAR
        return cv2.resize(image, self.size_of(image)[::-1], interpolation=method)

    def size_of(self, image: np.ndarray) -> tuple[int, int]:
        return max(1, round(image.shape[0] * self.down)), max(1, round(image.shape[1] * self.across))


class VideoFile(Source):
    """A recorded video. address: a path or an http(s) URL for OpenCV.

    Frames are upright and have square pixels. `length` is from the header, which may be too large.
    """

    def __init__(self, address: str, uri: str) -> None:
        super().__init__(uri)
        self._address = address
        self._is_file = Path(address).is_file()
        capture = opened_capture(address, cv2.CAP_FFMPEG)
        try:
            self.fps, self.length = fps_of(capture), _length_of(capture)
            image, self.pixel_shape = image_from_capture(capture), _pixel_shape_of(capture, self.uri)
        finally:
            capture.release()
        if image is None or (self.fps is None and has_only_covers(address)):
            raise BadInput(f"{self.uri}: cannot open this video{self._why()}")
        self._stored_size = image.shape[:2]
        self.size = self.pixel_shape.size_of(image)

    def frames(self) -> Iterator[Frame]:
        self._begin()
        capture = opened_capture(self._address, cv2.CAP_FFMPEG)
        is_spliced = self._address.lower().endswith(SPLICED_SUFFIXES)
        clock = PresentationClock(self.fps, jump_s=JUMP_S if is_spliced else float("inf"))
        came = bad = 0
        try:
            while (read := self._next(capture)) is not None:
                image, bad_before = read
                bad += bad_before
                presented_s = clock.seconds(position_s(capture))
                yield Frame(
                    self.pixel_shape.squared(image), came + bad, time.monotonic_ns(), self.uri, presented_s=presented_s
                )
                came += 1
        finally:
            capture.release()
        self._check_end(came, bad)

    def _begin(self) -> None:
        super()._begin()
        if self.pixel_shape != PixelShape():
            (height, width), stored = self.size or (0, 0), self._stored_size
            self._note(f"frames of {stored[1]}x{stored[0]} resized to {width}x{height} for square pixels", self.uri)

    def _next(self, capture: cv2.VideoCapture) -> tuple[np.ndarray, int] | None:
        """The next image, and the number of frames before it that did not decode; None at the end."""
        for bad in range(MOST_BAD_READS if self._is_file else 1):
            image = image_from_capture(capture)
            if image is not None:
                return image, bad
        return None

    def _check_end(self, came: int, bad: int) -> None:
        """Report frames that could not be decoded. Raises SourceLost if the file is truncated."""
        missing = bad
        with suppress(OSError), self._content() as data:  # OSError: it was removed during the run
            announced = None if is_fragmented(data) else self.length
            if is_cut_short(data) and (announced is None or came < announced):
                counts = f"{announced} frames expected, {came} read" if announced else f"{came} frames read"
                raise SourceLost(f"{self.uri}: {counts}: the video is truncated or damaged")
            missing = max(bad, self._missing(came, bad, data))
        if missing:
            words = f"{missing} of {came + missing} frames could not be decoded"
            self._skip(f"{self.uri}: {words}", missing)

    def _missing(self, came: int, bad: int, data: Content) -> int:
        """Number of missing frames of a complete file, if known. Not over HTTP, which would read the file again."""
        less = (self.length or came) - came
        if not self._is_file or (less <= 1 and not bad):
            return 0
        if is_mp4(data):
            less = len(shown_times(Path(self._address)) or ()) - came
            return less if less > 1 else 0
        return less if is_damaged(data) else 0

    def _why(self) -> str:
        """The reason after a colon, if known; an interrupted recording is typically an MP4 without its index."""
        if reason := why_no_pictures(self._address):
            return f": {reason}"
        with self._content() as data:
            is_unfinished = lacks_index(data)
        return ": it is an MP4 without an index (the recording was interrupted)" if is_unfinished else ""

    def _content(self) -> AbstractContextManager[Content]:
        """The bytes of `address`. Raises OSError."""
        return FileContent(Path(self._address))


def video_from_file(path: Path, uri: str) -> VideoFile:
    """A video file. Raises BadInput if it is missing, empty or not a video."""
    require_file(path, "a video")
    source = VideoFile(str(path), uri)
    source.files = (path,)
    return source


def opened_capture(address: str | int, backend: int, options: tuple[int, ...] = ()) -> cv2.VideoCapture:
    """An OpenCV capture, which may not be open; OpenCV's messages are silenced."""
    quiet_vendors()
    return cv2.VideoCapture(address, backend, list(options))


def image_from_capture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next image as (H, W, 3) uint8 BGR, or None at the end."""
    is_read, image = capture.read()
    return bgr_from_pixels(image)[0] if is_read and image is not None else None


def position_s(capture: cv2.VideoCapture) -> float:
    """Presentation time of the last image from the container; see `PresentationClock.seconds`."""
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def fps_of(capture: cv2.VideoCapture) -> float | None:
    """Frames per second, to three digits; None if unknown or implausible."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return round(fps, 3) if 0 < fps <= MAX_FPS else None


def _length_of(capture: cv2.VideoCapture) -> int | None:
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < 2**31 else None


def _pixel_shape_of(capture: cv2.VideoCapture, uri: str) -> PixelShape:
    """Pixel shape of upright images. Raises BadInput if it is implausible."""
    width, height = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if width <= 0 or height <= 0:  # unknown
        return PixelShape()
    ratio = width / height
    if not 1 / WIDEST_PIXEL <= ratio <= WIDEST_PIXEL:
        words = f"its pixel aspect ratio is {width:g}:{height:g}; at most {WIDEST_PIXEL:g}:1 is supported"
        raise BadInput(f"{uri}: {words}; set another sample aspect ratio")
    is_turned = capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
    return PixelShape(down=ratio) if is_turned else PixelShape(across=ratio)
