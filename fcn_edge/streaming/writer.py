"""Last stage of the pipeline: one thread per sink, so that no sink waits for another.

Independent of networks. Queues are bounded: on a live stream a slow sink misses frames,
which are counted; on a recording the caller waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fcn_edge.frame import Result
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.window import Window

DEPTH = 4  # queued views per sink: enough for a short pause of the disk, with little memory


@dataclass(eq=False)
class Delivery:
    """One result queued for several sinks. left: lanes that have not finished it. is_whole: no sink missed it."""

    result: Result
    here_ns: int
    left: int
    slowest_ns: int = 0
    is_whole: bool = True


_OnDone = Callable[[Delivery, int | None], None]
_OnError = Callable[[Exception], None]


class Writer:
    """Passes the views of one source to sinks.

    A sink that needs the caller's thread (a window) is called in `put`; each other one in
    its own thread. `error` is the first failure of a sink; that sink has then discarded
    what it could not finish, and no more views are passed on. `written` has for each view that
    no sink missed: time in the slowest sink, time from capture to the end of the last sink,
    and the time when it was done, in nanoseconds.
    """

    def __init__(self, sinks: Sequence[Sink], *, may_miss: bool) -> None:
        """may_miss: a sink with a full queue misses the oldest view; otherwise `put` waits for it."""
        self.count = 0
        self.written = Window(3)
        self.error: Exception | None = None
        self._may_miss = may_miss
        self._here = [sink for sink in sinks if sink.needs_caller_thread]
        self._lanes = [Lane(sink, self._finish, self._fail) for sink in sinks if not sink.needs_caller_thread]
        self._lock = threading.Lock()

    def put(self, result: Result) -> None:
        """Queue one result. Raises the first failure of a sink, including earlier ones."""
        self._raise()
        if not self._may_miss:
            for lane in self._lanes:
                lane.wait_for_room()
        here_ns = self._write_here(result)
        delivery = Delivery(result, here_ns, len(self._lanes))
        for lane in self._lanes:  # none of them blocks now: after Ctrl-C a view is in all sinks or in none
            lane.put(delivery)
        self.count += 1
        if not self._lanes:
            self._record(delivery)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is queued."""
        for lane in self._lanes:
            lane.finish()

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error

    def _write_here(self, result: Result) -> int:
        started = time.monotonic_ns()
        for sink in self._here:
            try:
                sink.write(result)
            except Exception as error:
                _discard(sink)
                self._fail(error)
                raise
        return time.monotonic_ns() - started

    def _finish(self, delivery: Delivery, took_ns: int | None) -> None:
        """A lane has finished a view; None: its sink missed it."""
        with self._lock:
            delivery.left -= 1
            delivery.is_whole &= took_ns is not None
            delivery.slowest_ns = max(delivery.slowest_ns, took_ns or 0)
            if delivery.left == 0 and delivery.is_whole:
                self._record(delivery)

    def _record(self, delivery: Delivery) -> None:
        done_ns = time.monotonic_ns()
        sink_ns = delivery.here_ns + delivery.slowest_ns
        self.written.add(sink_ns, done_ns - delivery.result.frame.captured_ns, done_ns)


class Lane:
    """One sink with its own thread and queue."""

    def __init__(self, sink: Sink, on_done: _OnDone, on_error: _OnError) -> None:
        self._sink, self._on_done, self._on_error = sink, on_done, on_error
        self._waiting: deque[Delivery] = deque()
        self._is_finishing = self._has_failed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def wait_for_room(self) -> None:
        """Wait until the queue has room for one more view; returns immediately after a failure."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < DEPTH or self._has_failed)

    def put(self, delivery: Delivery) -> None:
        """Queue one view; replaces the oldest if the queue is full."""
        with self._changed:
            missed = self._waiting.popleft() if len(self._waiting) >= DEPTH else None
            self._waiting.append(delivery)
            self._changed.notify_all()
        if missed is not None:
            self._sink.missed += 1
            self._on_done(missed, None)

    def finish(self) -> None:
        """Write what is queued, then end the thread."""
        with self._changed:
            self._is_finishing = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            started = time.monotonic_ns()
            try:
                self._sink.write(delivery.result)
            except Exception as error:
                self._give_up(error)
                return
            self._on_done(delivery, time.monotonic_ns() - started)

    def _next(self) -> Delivery | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_finishing)
            delivery = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return delivery

    def _give_up(self, error: Exception) -> None:
        _discard(self._sink)
        with self._changed:
            self._has_failed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._on_error(error)


def _discard(sink: Sink) -> None:
    """Discard after a failure; ignores a second failure, which most likely has the same cause."""
    with suppress(Exception):
        sink.discard()
