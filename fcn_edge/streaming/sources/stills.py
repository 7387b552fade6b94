"""Single frames of a recording by index, with the same pixels as from `VideoFile`."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.data.pictures import bgr_from_pixels
from fcn_edge.errors import BadInput
from fcn_edge.streaming.sources.tracks import shown_times
from fcn_edge.streaming.sources.video import MOST_BAD_READS, opened_capture, position_s, video_from_file

NEAR_S = 2.0  # frames less far ahead are reached by decoding, without seeking
SAME_S = 0.0005
EARLIER = 2  # seek this many frames before the requested one, since times are rounded


class Stills:
    """Frames of a video file by index, for several threads. length: number of frames.

    If PyAV gives the time of each frame, seeking uses it; otherwise, and if OpenCV's time differs, all frames
    before it are decoded.
    """

    def __init__(self, path: Path) -> None:
        """Raises BadInput if the file is missing, empty or not a video."""
        self._video = video_from_file(path, str(path))
        self._path, self._lock = path, threading.Lock()
        self._capture, self._next, self._now_s = cv2.VideoCapture(), 0, float("inf")
        self._times = self._checked(shown_times(path) or [])
        self.length = len(self._times) or self._counted()

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR. Raises BadInput if that frame does not decode."""
        with self._lock:
            is_found = (self._times and self._is_found(self._times[index])) or self._is_at(index)
            is_decoded, image = self._capture.retrieve() if is_found else (False, None)
        if not is_decoded or image is None:
            raise BadInput(f"{self._path}: frame {index} does not decode")
        return self._video.pixel_shape.squared(bgr_from_pixels(image)[0])

    def _checked(self, times: list[float | None]) -> list[float]:
        """The times, if each frame has one and the first decodes, which may fail in a stream cut from another."""
        known = [time for time in times if time is not None]
        return known if known and len(known) == len(times) and self._is_at_time(known[0], 0) else []

    def _is_found(self, time_s: float) -> bool:
        if 0 < time_s - self._now_s < NEAR_S and self._is_at_time(time_s):
            return True
        searched = round(time_s * (self._video.fps or 0)) - EARLIER
        return (searched > 0 and self._is_at_time(time_s, searched)) or self._is_at_time(time_s, 0)

    def _is_at_time(self, time_s: float, start: int | None = None) -> bool:
        """Decode up to that time, from the frame `start` if set; False if no frame has this time."""
        if start is not None:
            self._open(start)
        while self._grabbed():
            self._now_s = position_s(self._capture)
            if self._now_s > time_s - SAME_S:
                return self._now_s < time_s + SAME_S
        return False

    def _is_at(self, index: int) -> bool:
        """Decode up to the frame with that index, counted as in `VideoFile`."""
        if index < self._next or not self._capture.isOpened():
            self._open(0)
        while self._next <= index:
            if not self._grabbed():
                return False
        return self._next == index + 1

    def _counted(self) -> int:
        self._open(0)
        while self._grabbed():
            pass
        return self._next

    def _open(self, start: int) -> None:
        self._capture.release()
        self._capture, self._next = opened_capture(str(self._path), cv2.CAP_FFMPEG), 0
        if start:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, start)

    def _grabbed(self) -> bool:
        """Decode the next frame that decodes; False at the end."""
        for bad in range(MOST_BAD_READS):
            if self._capture.grab():
                self._next += bad + 1
                return True
        return False
