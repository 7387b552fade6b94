"""The back end of the pipeline: a thread that writes. It knows nothing of networks, and its queue is bounded."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

from fcn_edge.frame import Frame, Times, View
from fcn_edge.stream.capture import DEPTH
from fcn_edge.stream.sinks.base import Sink
from fcn_edge.stream.window import Window


class Writer:
    """Hands views to sinks in a thread of its own; at most DEPTH of them wait.

    A sink that needs the caller's thread (a window) is served there, in `put`. The first
    error of a sink is raised in the caller by the next `put` or at the end; that sink has
    then discarded what it could not finish. `written` holds when each frame was done: time in
    the sinks, from its capture to the end of the last sink, and the moment, in nanoseconds.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.count = 0
        self.written = Window(3)
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
        self.written.add(here_ns + there_ns, done_ns - frame.captured_ns, done_ns)
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
