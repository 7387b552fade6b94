"""Cameras and network streams: they have no end, may fall silent, and are then opened again."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.errors import BackendMissing, BadInput, SourceLost
from fcn_edge.frame import Frame
from fcn_edge.stream.sources.base import Source
from fcn_edge.stream.sources.video import VideoFile, fps_of, image_from_capture, opened_capture

RETRY_AFTER_S = (1.0, 2.0, 4.0, 8.0)
TIMEOUT_MS = 10_000
APPSINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
CSI = (
    "nvarguscamerasrc sensor-id={index} ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1"
    " ! nvvidconv ! video/x-raw,format=BGRx ! " + APPSINK
)


class LiveVideo(Source):
    """A camera or stream. `close()` may be called from another thread while a frame is awaited."""

    is_live = True

    def __init__(self, address: str | int, backend: int, uri: str) -> None:
        super().__init__(uri)
        self._address, self._backend = address, backend
        self._options = _timeouts(backend)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._capture = opened_capture(address, backend, self._options)
        self.fps = fps_of(self._capture)
        image = self._read()
        if image is None:
            self.close()
            raise SourceLost(f"{self.uri}: gives no picture; is it there, on, and free?")
        self.size = (image.shape[0], image.shape[1])

    def frames(self) -> Iterator[Frame]:
        index = tries = 0
        while not self._closing.is_set():
            image = self._read()
            if image is not None:
                yield Frame(image, index, time.monotonic_ns(), self.uri)
                index, tries = index + 1, 0
                continue
            if tries == len(RETRY_AFTER_S):
                raise SourceLost(f"{self.uri}: lost after {index} frames; {tries} attempts to open it again failed")
            if not self._closing.wait(RETRY_AFTER_S[tries]):
                tries += 1
                self._reopen()

    def _read(self) -> np.ndarray | None:
        with self._lock:
            return image_from_capture(self._capture) if self._capture.isOpened() else None

    def _reopen(self) -> None:
        with self._lock:
            self._capture.release()
            self._capture = opened_capture(self._address, self._backend, self._options)
            self.reconnects += self._capture.isOpened()

    def close(self) -> None:
        self._closing.set()
        if self._lock.acquire(timeout=1.0):  # a read that hangs keeps its capture until it times out
            self._capture.release()
            self._lock.release()


def _timeouts(backend: int) -> tuple[int, ...]:
    if backend != cv2.CAP_FFMPEG:
        return ()
    return cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS


def camera_from_index(index: int, uri: str) -> LiveVideo:
    """Camera `index` of the system."""
    if not sys.platform.startswith("linux"):
        return LiveVideo(index, cv2.CAP_ANY, uri)
    return camera_from_device(Path(f"/dev/video{index}"), uri)


def camera_from_device(device: Path, uri: str) -> LiveVideo:
    """A V4L2 device. Raises BadInput, naming the cameras that are there, where it is missing."""
    if not device.exists():
        there = ", ".join(sorted(str(path) for path in device.parent.glob("video*"))) or "none"
        raise BadInput(f"{uri}: no camera {device}; cameras here: {there}")
    return LiveVideo(str(device), cv2.CAP_V4L2, uri)


def camera_from_csi(text: str, uri: str) -> LiveVideo:
    """A CSI camera of a Jetson, 1280x720 at 30 a second, through GStreamer."""
    if not re.fullmatch("[0-9]{1,2}", text):
        raise BadInput(f"{uri}: a CSI camera is named csi://N with N from 0")
    return video_from_pipeline(CSI.format(index=text), uri)


def video_from_pipeline(pipeline: str, uri: str) -> LiveVideo:
    """A GStreamer pipeline that ends in an appsink. Raises BackendMissing without GStreamer in OpenCV."""
    if not has_gstreamer():
        raise BackendMissing(
            f"{Source(uri).uri}: needs an OpenCV built with GStreamer; OpenCV {cv2.__version__} here has none"
            " (the pip wheel never has; JetPack's own OpenCV does: install fcn-edge[jetson] beside it)"
        )
    if "appsink" not in pipeline:
        raise BadInput(f"{Source(uri).uri}: the pipeline ends in no appsink; end it with '! {APPSINK}'")
    return LiveVideo(pipeline, cv2.CAP_GSTREAMER, uri)


def has_gstreamer() -> bool:
    """Whether this OpenCV can open GStreamer pipelines."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def video_from_url(uri: str) -> Source:
    """rtsp:// is live; http(s):// is a file where the server tells a number of frames, else live."""
    if uri.lower().startswith("http"):
        capture = opened_capture(uri, cv2.CAP_FFMPEG, _timeouts(cv2.CAP_FFMPEG))
        is_file = capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        capture.release()
        if is_file:
            return VideoFile(uri, uri)
    return LiveVideo(uri, cv2.CAP_FFMPEG, uri)
