"""The two ends of the pipeline: a thread that captures and a thread that writes.

Neither knows of networks. Their queues are bounded, and what the capture drops it counts.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from fcn_edge.frame import Frame, Times, View
from fcn_edge.stream.sinks.base import Sink
from fcn_edge.stream.sources.base import Source

Policy = Literal["every", "newest"]
DEPTH = 2  # frames that wait at either end: enough to overlap, too few to grow old
JOIN_S = 2.0
WINDOW = 36_000  # frames whose times are kept: 20 minutes at 30 a second, so that memory stays flat


class Capture:
    """Reads a source in a thread of its own; iterate for (frame, nanoseconds it took to come).

    policy "every": the reader waits for the caller, nothing is dropped. "newest": only the
    newest frame waits, older ones count as `dropped`; a recording is then played at its own
    speed, like a camera. `duplicated` counts frames with the pixels of the frame before.
    What the source raises is raised in the caller, after the frames that came before it.
    """

    def __init__(self, source: Source, policy: Policy, limit: int | None = None) -> None:
        self.taken = self.dropped = self.duplicated = 0
        self._source, self._policy = source, policy
        self._limit = limit if policy == "every" else None
        self._period_s = 1 / source.fps if policy == "newest" and source.fps and not source.is_live else 0.0
        self._held: deque[tuple[Frame, int]] = deque()
        self._error: BaseException | None = None
        self._is_finished = self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="capture", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Frame, int]]:
        while (held := self._take()) is not None:
            self.taken += 1
            yield held

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread; one that hangs in a driver is left to time out by itself."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(JOIN_S)

    def _take(self) -> tuple[Frame, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._held) or self._is_finished)
            if self._held:
                self._changed.notify_all()
                return self._held.popleft()
            if self._error is not None:
                raise self._error
            return None

    def _work(self) -> None:
        try:
            self._read()
        except BaseException as error:  # raised again in the caller
            self._error = error
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def _read(self) -> None:
        frames, previous, started = self._source.frames(), None, time.monotonic()
        number = 0
        while number != self._limit and self._waited_until(started + number * self._period_s):
            before = time.monotonic_ns()
            frame = next(frames, None)
            took = time.monotonic_ns() - before
            if frame is None:
                return
            self.duplicated += previous is not None and _is_same(previous.image, frame.image)
            self._hand_over(frame, took)
            previous, number = frame, number + 1

    def _waited_until(self, due: float) -> bool:
        """Wait as a camera would; False once the caller has gone."""
        with self._changed:
            if self._period_s:
                self._changed.wait_for(lambda: self._is_closing, max(0.0, due - time.monotonic()))
            return not self._is_closing

    def _hand_over(self, frame: Frame, took: int) -> None:
        with self._changed:
            if self._policy == "newest":
                self.dropped += len(self._held)
                self._held.clear()
            self._changed.wait_for(lambda: len(self._held) < DEPTH or self._is_closing)
            self._held.append((frame, took))
            self._changed.notify_all()


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two pictures are equal; a coarse grid decides nearly always, and cheaply."""
    return np.array_equal(one[::16, ::16], other[::16, ::16]) and np.array_equal(one, other)


class Written(NamedTuple):
    """When a frame was done: time in the sinks, and from its capture to the end of the last sink."""

    sink_ns: int
    end_to_end_ns: int
    done_ns: int


class Writer:
    """Hands views to sinks in a thread of its own; at most DEPTH of them wait.

    A sink that needs the caller's thread (a window) is served there, in `put`. The first
    error of a sink is raised in the caller by the next `put` or at the end; that sink has
    then discarded what it could not finish.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.count = 0
        self.written: deque[Written] = deque(maxlen=WINDOW)
        self._here = [sink for sink in sinks if sink.needs_caller_thread]
        self._there = [sink for sink in sinks if not sink.needs_caller_thread]
        self._error: BaseException | None = None
        self._queue: queue.Queue[tuple[Frame, View, Times, int] | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def put(self, frame: Frame, view: View, times: Times) -> None:
        """Queue one view; waits while the queue is full."""
        self._raise()
        here_ns = _write(self._here, frame, view, times)
        self._queue.put((frame, view, times, here_ns))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what waits, then stop."""
        self._queue.put(None)
        self._thread.join()
        if kind is None or not issubclass(kind, Exception):
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:  # after an error the rest is let through, so that the caller never waits
                try:
                    self._write_one(*item)
                except BaseException as error:  # raised again in the caller
                    self._error = error

    def _write_one(self, frame: Frame, view: View, times: Times, here_ns: int) -> None:
        there_ns = _write(self._there, frame, view, times)
        done_ns = time.monotonic_ns()
        self.written.append(Written(here_ns + there_ns, done_ns - frame.captured_ns, done_ns))
        self.count += 1


def _write(sinks: Sequence[Sink], frame: Frame, view: View, times: Times) -> int:
    """Give one view to all sinks; nanoseconds it took. A sink that fails is discarded."""
    started = time.monotonic_ns()
    for sink in sinks:
        try:
            sink.write(frame, view, times)
        except Exception:
            sink.discard()
            raise
    return time.monotonic_ns() - started
