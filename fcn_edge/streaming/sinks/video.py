"""The annotated video: H.264 in fragments of half a second, so that an unfinished file is playable.

It is written as NAME.recording.mp4, which can be played, and renamed when it is complete.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import av
import av.container
import cv2
import numpy as np

from fcn_edge.errors import BackendMissing, BadInput, first_line
from fcn_edge.frame import Result
from fcn_edge.outputs import MARK, require_apart, require_outputs
from fcn_edge.streaming.clock import StreamClock
from fcn_edge.streaming.sinks.base import Sink, require_writable
from fcn_edge.streaming.sinks.unfinished import keep_unfinished, lock, unfinished_name
from fcn_edge.streaming.viewer import Painter

CODECS = ("libx264", "libopenh264", "mpeg4")  # the first one in this build of FFmpeg
OPTIONS = {"libx264": {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"}}  # no frame delay in the encoder
CONTAINERS = {
    # Fragmented while it is written, an ordinary file with an index after it is closed.
    ".mp4": (
        "mp4",
        {"movflags": "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented", "frag_duration": "500000"},
    ),
    ".mkv": ("matroska", {"cluster_time_limit": "500"}),
}
TICKS = 60_000  # per second; divisible by 24, 25, 30 and 50 fps, and below the limit of MPEG-4
KEY_FRAME_S = 1
BT_601, LIMITED = 6, 1  # ITU-T H.273, tables 4 and 8.3: matrix coefficients, colour range
MAX_GAP_S = 10.0
FAILURES = (OSError, av.FFmpegError)
RESERVE_BYTES = 16 * 2**20  # keep some space: a completely full disk stops other programs too

log = logging.getLogger(__name__)


class Video(Sink):
    """Annotated images, each at its own time, so that dropped frames do not change the speed.

    A stream that changes its size continues in a new file (out.2.mp4). Images of a folder are
    resized to the size of the first. Sizes are even: a last odd row or column is cut.
    """

    needs_overlay = True

    def __init__(
        self, path: Path, painter: Painter, clock: StreamClock, *, is_live: bool, protected: Sequence[Path] = ()
    ) -> None:
        """Raises BadInput if `path` cannot be written, BackendMissing if PyAV has no encoder."""
        super().__init__(str(path))
        require_outputs([path], protected)
        require_apart([unfinished_name(path)], protected)
        self._protected = protected
        self.path, self._painter, self._clock, self._is_live = path, painter, clock, is_live
        self._codec = next((name for name in CODECS if name in av.codecs_available), None)
        if self._codec is None:
            raise BackendMissing(f"{path}: this PyAV has no encoder for {', '.join(CODECS)}; pip install --upgrade av")
        self._recording: Recording | None = None
        self._finished: dict[Path, str] = {}
        require_writable(path.parent)
        if kept := keep_unfinished(path):
            self._note(kept)

    def write(self, result: Result) -> None:
        picture = self._fitted(self._painter.picture(result))
        try:
            self._require_disk()
            if self._recording is None:
                self._recording = self._opened(picture)
            self._recording.add(picture, self._clock.seconds(result.frame))
        except FAILURES as error:
            self._end_on(error)
        self.count += 1

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3), H and W even, in the size of the open file; a stream of another size closes the file."""
        size = max(2, picture.shape[0] & ~1), max(2, picture.shape[1] & ~1)
        if self._recording is None or self._recording.size == size:
            return picture if picture.shape[:2] == size else cv2.resize(picture[: size[0], : size[1]], size[::-1])
        if self._is_live:
            self._finish()
            return self._fitted(picture)
        self._note(f"frames of another size were resized to {_size_in_words(self._recording.size)}")
        return cv2.resize(picture, self._recording.size[::-1], interpolation=cv2.INTER_AREA)

    def _opened(self, picture: np.ndarray) -> Recording:
        assert self._codec is not None
        size = picture.shape[0], picture.shape[1]
        if self._finished:
            self._note(f"the stream changed to {_size_in_words(size)} and continues in {self._part_name().name}")
        longest_gap_s = MAX_GAP_S if self._is_live else float("inf")
        return Recording(unfinished_name(self.path), self._codec, size, self._clock.fps, longest_gap_s)

    def _part_name(self) -> Path:
        """The next name that is free, or of a video of an earlier run."""
        name, number = self.path, 1
        while name in self._finished or not self._is_free(name):
            number += 1
            name = self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")
        return name

    def _is_free(self, name: Path) -> bool:
        try:
            require_outputs([name], self._protected)
        except BadInput:
            return False
        return True

    def _require_disk(self) -> None:
        if shutil.disk_usage(self.path.parent).free < RESERVE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _end_on(self, error: Exception) -> None:
        self.discard()
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        reason = "the disk is full" if is_full else first_line(error)
        raise BadInput(f"{self.path}: {reason}; the video contains the frames before") from error

    def _finish(self) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        name = self._part_name()
        try:
            recording.close()
        finally:  # an unfinished file is playable up to this point
            os.replace(unfinished_name(self.path), name)
            self._finished[name] = f"{name}: {recording.count} frames, {_size_in_words(recording.size)}"
            if recording.cut_s:
                self._note(f"gaps of {recording.cut_s:.0f} s in total were cut from {name.name}")

    def close(self) -> None:
        try:
            self._finish()
        except FAILURES as error:
            self._end_on(error)

    def discard(self) -> None:
        """Close the file; its content so far is playable."""
        with suppress(*FAILURES):
            self._finish()

    def _note(self, text: str) -> None:
        note = f"{self.path.name}: {text}"
        if note not in self.notes:
            self.notes.append(note)
            log.warning(note)

    def describe(self) -> str:
        return "; ".join(self._finished.values()) or f"{self.path}: no frames"


class Recording:
    """One fragmented file, locked while this process writes it."""

    def __init__(self, path: Path, codec: str, size: tuple[int, int], fps: float, longest_gap_s: float) -> None:
        """Raises OSError if the file cannot be created."""
        self.size, self.count, self.cut_s = size, 0, 0.0
        self._longest_gap_s = longest_gap_s
        self._file = FileIO(path, "wb")  # unbuffered: written data survives a kill
        lock(self._file)
        kind, options = CONTAINERS[path.suffix.lower()]
        self._container: Any = av.open(self._file, "w", format=kind, options={**options, "flush_packets": "1"})
        self._container.metadata["comment"] = MARK
        self._stream: Any = self._container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        context: Any = self._stream.codec_context
        context.height, context.width = size
        context.pix_fmt, context.options = "yuv420p", OPTIONS.get(codec, {})
        context.time_base, context.gop_size = Fraction(1, TICKS), max(1, round(fps * KEY_FRAME_S))
        context.colorspace, context.color_range = (
            BT_601,
            LIMITED,
        )  # as cv2 converts; otherwise players guess from the height
        context.thread_count = 1  # the network needs the other cores
        self._zero_s = self._last_s = 0.0  # stream time of the file's start, and of its last image
        self._last_tick, self._shortest = -1, max(1, round(TICKS / fps))

    def add(self, picture: np.ndarray, seconds: float) -> None:
        """Append (H, W, 3) uint8 BGR; long gaps before it are cut. Raises one of FAILURES."""
        planes: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = self._tick(seconds), Fraction(1, TICKS)
        self._mux(self._stream.encode(frame))
        self.count += 1

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            packet.duration = self._shortest  # of the last one; others last until the next
            self._container.mux(packet)

    def _tick(self, seconds: float) -> int:
        """Time of the image in the file, always later than that of the one before."""
        if self.count == 0:
            self._zero_s = self._last_s = seconds
        cut_s = max(0.0, seconds - self._last_s - self._longest_gap_s)
        self.cut_s, self._zero_s, self._last_s = self.cut_s + cut_s, self._zero_s + cut_s, seconds
        tick = max(self._last_tick + 1, round((seconds - self._zero_s) * TICKS))
        if self.count:
            self._shortest = min(self._shortest, tick - self._last_tick)
        self._last_tick = tick
        return tick

    def close(self) -> None:
        """Raises one of FAILURES if the end cannot be written."""
        try:
            self._mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._file.close()


def _size_in_words(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
