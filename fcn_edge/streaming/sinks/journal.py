"""Log state changes of a run's sources, and figures once a minute."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fcn_edge.frame import Result
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.summary import StreamFigures

LOOK_S = 1.0
LOOKS_A_FIGURE = 60

log = logging.getLogger(__name__)


class Journal(Sink):
    """Checks the figures once a second in its own thread, even without frames."""

    def __init__(self) -> None:
        super().__init__("log:")
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._states: dict[int, str] = {}

    def begin(self, figures: Callable[[], tuple[StreamFigures, ...]]) -> None:
        self._thread = threading.Thread(target=self._work, args=(figures,), name="journal", daemon=True)
        self._thread.start()

    def write(self, result: Result) -> None:
        self.count += 1

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def describe(self) -> str:
        return f"log: {self.count} frames"

    def _work(self, figures: Callable[[], tuple[StreamFigures, ...]]) -> None:
        looks = 0
        while not self._closed.wait(LOOK_S):
            looks += 1
            self.look(figures(), with_figures=looks % LOOKS_A_FIGURE == 0)
        self.look(figures(), with_figures=True)

    def look(self, streams: tuple[StreamFigures, ...], *, with_figures: bool) -> None:
        """Log changes since the last call."""
        for stream in streams:
            before = self._states.get(stream.stream)
            self._states[stream.stream] = stream.state
            if before != stream.state:
                level = logging.INFO if stream.state in ("open", "ended") else logging.WARNING
                reason = f" ({stream.trouble})" if stream.trouble else ""
                log.log(level, "%s: %s%s", stream.source, stream.state, reason)
            if with_figures:
                log.info(
                    "%s: %d frames, %.1f fps, age %.1f ms, %d dropped, %d gaps, %d reconnects",
                    stream.source,
                    stream.frames_out,
                    stream.fps,
                    stream.frame_age_ms.p50 or 0.0,
                    stream.dropped,
                    stream.gaps,
                    stream.reconnects,
                )
