"""The front end of the pipeline: a thread that reads each source, and whose turn it is.

Knows nothing of networks. The queues are bounded, and what is dropped is counted.
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
DEPTH = 2  # frames that wait at either end: enough to overlap, too few to grow old
JOIN_S = 2.0
GAP_PERIODS = 3  # frame periods without a frame that count as a gap
GAP_S = 1.0  # the same where nothing is known of its speed
SMOOTHING = 0.1  # of the period between frames, where the source does not tell it


class Capture:
    """Reads a source in a thread of its own; iterate for its frames, each with the time that it took to come.

    policy "every": the reader waits for the caller, nothing is dropped. "newest": only the
    newest frame waits, older ones count as `dropped`; a recording is then played at its own
    speed, like a camera, and its frames are received when they are due.
    `duplicated` counts frames with the pixels of the frame before.
    `gaps` counts times that frames were missing: indices that the source skipped, or, on a live
    source, nothing for three frame periods, or a new connection; `longest_gap_ns` is between two frames.
    What the source raises is raised in the caller, after the frames that came before it.
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
        """stream: the number that its frames get; changed: notified of each frame, for who waits for several."""
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
        while (held := self._awaited()) is not None:
            yield held
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread; one that hangs in a driver is left to time out by itself."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self.source.is_live:
            self.source.close()
        self._thread.join(JOIN_S)

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits to be taken."""
        return bool(self._held) and not self._is_at_limit

    @property
    def is_over(self) -> bool:
        """Whether nothing waits, and nothing will come."""
        return self._is_at_limit or (self._is_finished and not self._held)

    @property
    def state(self) -> State:
        """open · stale: no frame for a while · retrying: opened again · lost: given up · ended."""
        if self._is_finished:
            return "lost" if isinstance(self.error, SourceLost) else "ended"
        if self.source.is_retrying:
            return "retrying"
        is_stale = self.last_ns is not None and time.monotonic_ns() - self.last_ns > self._gap_ns()
        return "stale" if is_stale and self.source.is_live else "open"

    def take(self) -> Frame:
        """The frame that waits; only where `has_frame`."""
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
        """Wait as a camera would; not once the caller has gone."""
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
    """Several captures at once, served in turn: next is the first with a frame behind the one served last.

    A source that is lost ends alone, and `lost` tells of it; another error of a source is raised
    when its turn comes.
    """

    def __init__(self, sources: Sequence[Source], policies: Sequence[Policy], limit: int | None = None) -> None:
        """limit: frames taken of each source."""
        self._changed = threading.Condition()
        self._turn = 0
        self.each = [
            Capture(source, policy, limit, stream=number, changed=self._changed)
            for number, (source, policy) in enumerate(zip(sources, policies, strict=True))
        ]

    def __iter__(self) -> Iterator[Frame]:
        while (held := self._next()) is not None:
            yield held

    def __enter__(self) -> Captures:
        return self

    def __exit__(self, *_: object) -> None:
        for capture in self.each:
            capture.__exit__()

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits, so that the next one comes without waiting."""
        return any(capture.has_frame for capture in self.each)

    @property
    def lost(self) -> list[SourceLost]:
        """Why sources ended before they should."""
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
    """`policy`, or what suits the source: the newest frame of a live one, every frame of a recording."""
    return policy or ("newest" if source.is_live else "every")


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures are equal; a coarse grid decides nearly always, and cheaply."""
    return np.array_equal(one[::16, ::16], other[::16, ::16]) and np.array_equal(one, other)
