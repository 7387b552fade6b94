"""The newest view of each stream, encoded once for all viewers, and only if there are viewers.

Image and class map are sent separately and blended in the browser, so that every viewer
can set opacity and hidden classes without extra work for the network.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2

from fcn_edge.frame import Result

PICTURE_EDGE = 960  # pixels of the longer edge
MAP_EDGE = 640
JPEG_QUALITY = 80
STATUS_S = 0.5  # how often figures are sent
NS_PER_MS = 1e6


def message(header: Mapping[str, Any], *parts: bytes) -> bytes:
    """Length of the header (4 bytes, big endian), the header as JSON, then the parts, whose sizes are in the header."""
    text = json.dumps({**header, "parts": [len(part) for part in parts]}, allow_nan=False).encode()
    return b"".join((len(text).to_bytes(4, "big"), text, *parts))


class Shot:
    """One view to send to viewers. number: counts the views of its stream."""

    def __init__(self, number: int, result: Result) -> None:
        self.number = number
        self._result: Result | None = result
        self._payload = b""
        self._lock = threading.Lock()

    @property
    def payload(self) -> bytes:
        """The message of this view; the first caller encodes it, others wait for it."""
        with self._lock:
            if self._result is not None:
                self._payload = _encoded(self._result)
                self._result = None  # frees the images
            return self._payload


class Board:
    """Data for viewers: a greeting, the newest shot of each stream, and the state of the sources."""

    def __init__(self, greeting: Mapping[str, Any], status: Callable[[], Mapping[str, Any]]) -> None:
        """status: called twice a second while there are viewers."""
        self.greeting = message({"kind": "hello", **greeting})
        self.is_closed = False
        self._latest: dict[int, Shot] = {}
        self._status = status
        self._told: tuple[float, bytes] = (float("-inf"), b"")
        self._changed = threading.Condition()

    def post(self, result: Result) -> None:
        stream = result.frame.stream
        with self._changed:
            before = self._latest.get(stream)
            self._latest[stream] = Shot(before.number + 1 if before else 0, result)
            self._changed.notify_all()

    def newer(self, seen: dict[int, int], patience_s: float) -> Sequence[Shot]:
        """Shots newer than `seen` (stream: number), which is updated; none after `patience_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_closed or any(self._unknown(seen)), patience_s)
            streams = self._unknown(seen)
            seen.update({stream: self._latest[stream].number for stream in streams})
            return [self._latest[stream] for stream in streams]

    def status(self) -> bytes:
        """The status message; computed at most once per STATUS_S."""
        with self._changed:
            now = time.monotonic()
            if now - self._told[0] >= STATUS_S:
                self._told = now, message({"kind": "status", **self._status()})
            return self._told[1]

    def close(self) -> None:
        """Wake all waiting threads."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def _unknown(self, seen: Mapping[int, int]) -> list[int]:
        return [stream for stream, shot in self._latest.items() if seen.get(stream) != shot.number]


def _encoded(result: Result) -> bytes:
    frame, times = result.frame, result.times
    picture = _shrunk(frame.image, PICTURE_EDGE, cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
    class_map = _shrunk(result.class_map, MAP_EDGE, cv2.INTER_NEAREST)
    header = {
        "kind": "frame",
        "stream": frame.stream,
        "index": frame.index,
        "presented_s": frame.presented_s,
        "size": [frame.image.shape[1], frame.image.shape[0]],
        "map": [class_map.shape[1], class_map.shape[0]],
        "pixels": result.pixels_per_class.tolist(),
        "stages_ms": {
            "capture": times.capture_ns / NS_PER_MS,
            "input": times.input_ns / NS_PER_MS,
            "infer": times.infer_ns / NS_PER_MS,
            "view": times.view_ns / NS_PER_MS,
        },
        "age_ms": times.age_ns / NS_PER_MS,
    }
    return message(header, jpeg, zlib.compress(class_map.tobytes(), 1))


def _shrunk(image: Any, edge: int, method: int) -> Any:
    height, width = image.shape[:2]
    if max(height, width) <= edge:
        return image
    scale = edge / max(height, width)
    return cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=method)
