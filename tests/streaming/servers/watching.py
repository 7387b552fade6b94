"""A run in a thread of its own, and every picture that it showed, read back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from fcn_edge.engines.base import Engine
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.sources import Source
from fcn_edge.streaming.summary import StreamFigures, Summary
from tests.streaming.conftest import AfterEach, run_into
from tests.streaming.servers import wait_until
from tests.streaming.servers.marks import read_mark


@dataclass(frozen=True)
class Shown:
    """mark: (milliseconds when it was made, number), None for a picture that no server sent."""

    mark: tuple[int, int] | None
    size: tuple[int, int]
    captured_ns: int
    shown_ns: int

    @property
    def true_age_ms(self) -> float:
        """From the making of the picture to its view being ready; both clocks are this machine's."""
        assert self.mark is not None
        return ((self.shown_ns // 1_000_000) - self.mark[0]) % (1 << 32)


@dataclass
class _Collect(Sink):
    shown: list[Shown] = field(default_factory=list)

    def __post_init__(self):
        super().__init__("collect:")

    __hash__ = object.__hash__

    def begin(self, figures):
        self.figures = figures

    def write(self, result):
        frame = result.frame
        ready_ns = frame.captured_ns + result.times.age_ns
        self.shown.append(Shown(read_mark(frame.image), frame.image.shape[:2], frame.captured_ns, ready_ns))


class Watching:
    """Closes its source at the end, which ends the run; the summary is then in `summary`."""

    def __init__(self, source: Source, engine: Engine) -> None:
        self.source, self._sink = source, _Collect()
        self.summary: Summary | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(engine,), daemon=True)
        self._thread.start()

    @property
    def shown(self) -> list[Shown]:
        return self._sink.shown

    @property
    def figures(self) -> StreamFigures:
        return self._sink.figures()[0]

    def _run(self, engine: Engine) -> None:
        try:
            self.summary = run_into(self.source, engine, [self._sink], progress=AfterEach(lambda _: time.sleep(0)))
        except BaseException as error:
            self.error = error

    def saw(self, more: int) -> bool:
        """Whether so many more pictures came, in time."""
        wanted = len(self.shown) + more
        return (
            wait_until(lambda: len(self.shown) >= wanted or not self._thread.is_alive()) and len(self.shown) >= wanted
        )

    def invented(self) -> int:
        return sum(one.mark is None for one in self.shown)

    def repeated(self) -> int:
        """Pictures that are not newer than the one shown before."""
        made = [one.mark for one in self.shown if one.mark is not None]
        return sum(later <= earlier for earlier, later in zip(made, made[1:]))

    def __enter__(self) -> Watching:
        assert wait_until(lambda: hasattr(self._sink, "figures") or not self._thread.is_alive())
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self._thread.join(60)
        assert not self._thread.is_alive()
