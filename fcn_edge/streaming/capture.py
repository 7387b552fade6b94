"""First stage of the pipeline: one thread per source reads frames; frames of several sources are interleaved.

Independent of networks. Queues are bounded, and dropped frames are counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from fcn_edge.choices import Policy as Policy
from fcn_edge.errors import SourceLost
from fcn_edge.frame import Frame
from fcn_edge.streaming.clock import StreamClock
from fcn_edge.streaming.sources.base import Source

State = Literal["open", "stale", "retrying", "lost", "ended"]
DEPTH = 2  # queued frames at either end: enough to overlap stages, few enough for low latency
JOIN_S = 2.0
GAP_PERIODS = 3  # frame periods without a frame that count as a gap
GAP_S = 1.0  # the same if its frame rate is unknown
SMOOTHING = 0.1  # of the measured frame period, if the source does not give a frame rate


class Capture:
    """Reads a source in its own thread; iterate for its frames, each with its capture time.

    policy "every": the reader waits for the caller, nothing is dropped. "newest": only the
    newest frame is queued, older ones count as `dropped`; a recording is then played at its own
    frame rate, like a camera.
    `duplicated` counts frames with the same pixels as the frame before.
    `gaps` counts interruptions: indices that the source skipped, or, on a live source, no frame for three
    frame periods, or a new connection; `longest_gap_ns` is between two frames.
    Exceptions of the source are raised in the caller, after the frames before them.
    """

    def __init__(
        self,
        source: Source,
        policy: Policy,
        limit: int | None = None,
        *,
        stream: int = 0,
        changed: threading.Condition | None = None,
    ) -> None:
        """stream: number of its frames' stream; changed: notified of each frame, to wait for several captures."""
        self.source, self.policy = source, policy
        self.taken = self.dropped = self.duplicated = self.gaps = self.longest_gap_ns = 0
        self.last_ns: int | None = None
        self.size: tuple[int, int] | None = None
        self.error: BaseException | None = None
        self._stream, self._limit = stream, limit
        self._mean_ns, self._reconnects = 0.0, 0
        self._clock = StreamClock(source)
        self._is_played = policy == "newest" and not source.is_live
        self._held: deque[Frame] = deque()
        self._is_finished = self._is_closing = False
        self._changed = changed or threading.Condition()
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._awaited()) is not None:
            yield frame
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread; one that hangs in a driver is left until the driver times out."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self.source.is_live:
            self.source.close()
        self._thread.join(JOIN_S)

    @property
    def has_frame(self) -> bool:
        """Whether a frame is queued."""
        return bool(self._held) and not self._is_at_limit

    @property
    def is_over(self) -> bool:
        """Whether no frame is queued and none will follow."""
        return self._is_at_limit or (self._is_finished and not self._held)

    @property
    def state(self) -> State:
        """open · stale: no recent frame · retrying: being opened again · lost: given up · ended."""
        if self._is_finished:
            return "lost" if isinstance(self.error, SourceLost) else "ended"
        if self.source.is_retrying:
            return "retrying"
        is_stale = self.last_ns is not None and time.monotonic_ns() - self.last_ns > self._gap_ns()
        return "stale" if is_stale and self.source.is_live else "open"

    def take(self) -> Frame:
        """The queued frame; call only if `has_frame`."""
        with self._changed:
            self.taken += 1
            self._changed.notify_all()
            return self._held.popleft()

    @property
    def _is_at_limit(self) -> bool:
        return self.taken == self._limit

    def _awaited(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self.has_frame or self.is_over)
            return self.take() if self.has_frame else None

    def _work(self) -> None:
        try:
            self._read()
        except BaseException as error:  # raised again in the caller
            self.error = error
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def _read(self) -> None:
        frames, previous, started = self.source.frames(), None, time.monotonic()
        limit = self._limit if self.policy == "every" else None
        number = 0
        while number != limit and not self._is_closing:
            before = time.monotonic_ns()
            frame = next(frames, None)
            took = time.monotonic_ns() - before
            if frame is None:
                return
            if self._is_played and self._clock.has_time(frame):
                self._wait_until(started + self._clock.seconds(frame))
                frame = replace(frame, captured_ns=time.monotonic_ns())
            self._compare(previous, frame)
            self._hand_over(replace(frame, stream=self._stream, capture_ns=took))
            previous, number = frame, number + 1

    def _compare(self, previous: Frame | None, frame: Frame) -> None:
        self.size, self.last_ns = (frame.image.shape[0], frame.image.shape[1]), frame.captured_ns
        if previous is None:
            return
        self.duplicated += _is_same(previous.image, frame.image)
        passed_ns = round(1e9 * (self._clock.seconds(frame) - self._clock.seconds(previous)))
        is_late = self.source.is_live and passed_ns > self._gap_ns()
        if is_late or frame.index > previous.index + 1 or self.source.reconnects > self._reconnects:
            self._reconnects = self.source.reconnects
            self.gaps += 1
            self.longest_gap_ns = max(self.longest_gap_ns, passed_ns)
        else:
            self._mean_ns += SMOOTHING * (passed_ns - self._mean_ns) if self._mean_ns else passed_ns

    def _gap_ns(self) -> float:
        if self.source.fps:
            return 1e9 * GAP_PERIODS / self.source.fps
        return GAP_PERIODS * self._mean_ns or 1e9 * GAP_S

    def _wait_until(self, due: float) -> None:
        """Wait until a frame is due, unless the caller has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, max(0.0, due - time.monotonic()))

    def _hand_over(self, frame: Frame) -> None:
        with self._changed:
            if self.policy == "newest":
                self.dropped += len(self._held)
                self._held.clear()
            self._changed.wait_for(lambda: len(self._held) < DEPTH or self._is_closing)
            self._held.append(frame)
            self._changed.notify_all()


class Captures:
    """Several captures, served round-robin: the next one with a frame after the one served last.

    A lost source ends alone and is reported in `lost`; any other error of a source is raised
    when it is served.
    """

    def __init__(self, sources: Sequence[Source], policies: Sequence[Policy], limit: int | None = None) -> None:
        """limit: maximum number of frames of each source."""
        self._changed = threading.Condition()
        self._turn = 0
        self.each = [
            Capture(source, policy, limit, stream=number, changed=self._changed)
            for number, (source, policy) in enumerate(zip(sources, policies, strict=True))
        ]

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame

    def __enter__(self) -> Captures:
        return self

    def __exit__(self, *_: object) -> None:
        for capture in self.each:
            capture.__exit__()

    @property
    def has_frame(self) -> bool:
        """Whether a frame is queued, so that the next one needs no wait."""
        return any(capture.has_frame for capture in self.each)

    @property
    def lost(self) -> list[SourceLost]:
        """The errors of sources that ended early."""
        return [capture.error for capture in self.each if isinstance(capture.error, SourceLost)]

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self.has_frame or self._is_over())
            for number in self._order():
                capture = self.each[number]
                if capture.has_frame:
                    self._turn = number + 1
                    return capture.take()
            return None

    def _is_over(self) -> bool:
        for capture in self.each:
            if capture.is_over and capture.error is not None and not isinstance(capture.error, SourceLost):
                raise capture.error
        return all(capture.is_over for capture in self.each)

    def _order(self) -> list[int]:
        return [(self._turn + offset) % len(self.each) for offset in range(len(self.each))]


def policy_for(source: Source, policy: Policy | None) -> Policy:
    """`policy`, or its default: "newest" for a live source, "every" for a recording."""
    return policy or ("newest" if source.is_live else "every")


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two images are equal; compares a coarse grid first, which is fast."""
    return np.array_equal(one[::16, ::16], other[::16, ::16]) and np.array_equal(one, other)
