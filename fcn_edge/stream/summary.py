"""What a run did, in numbers: the JSON of `fcn-edge run`."""

from __future__ import annotations

import resource
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fcn_edge.engines.base import Engine
from fcn_edge.frame import Frame, Times
from fcn_edge.stream.ends import WINDOW, Capture, Policy, Writer
from fcn_edge.stream.sinks.base import Sink
from fcn_edge.stream.sources.base import Source


@dataclass(frozen=True)
class Quantiles:
    """Nearest-rank percentiles in milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Summary:
    """What a run did; `schema.to_mapping` makes the JSON of `fcn-edge run`.

    frames_in = frames_out + dropped, but for a frame under way when a run is interrupted.
    stages_ms, frame_age_ms (capture to view ready) and end_to_end_ms (capture to the end of
    the last sink): over the last 36 000 frames. size: (height, width) of the first frame.
    lost: why the source ended before it should, "" if it did not; the exit code is then 4.
    outputs: what each sink wrote.
    """

    frames_in: int
    frames_out: int
    dropped: int
    duplicated: int
    reconnects: int
    fps: float
    stages_ms: dict[str, Quantiles]
    frame_age_ms: Quantiles
    end_to_end_ms: Quantiles
    peak_rss_mb: float
    target: str
    precision: str
    execution: str
    source: str
    policy: Policy
    size: tuple[int, int] | None
    seconds: float
    first_frame_ms: float | None
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    outputs: tuple[str, ...]
    lost: str
    interrupted: bool


@dataclass
class RunLog:
    """What the loop itself notes while it runs."""

    policy: Policy
    started_ns: int
    times: deque[Times] = field(default_factory=lambda: deque(maxlen=WINDOW))
    size: tuple[int, int] | None = None
    first_done_ns: int | None = None
    lost: str = ""
    interrupted: bool = False

    def add(self, frame: Frame, times: Times) -> None:
        if self.size is None:
            self.size = (frame.image.shape[0], frame.image.shape[1])
            self.first_done_ns = frame.captured_ns + times.age_ns
        self.times.append(times)


def summary_from_log(
    log: RunLog, source: Source, engine: Engine, *, sinks: Sequence[Sink], capture: Capture, writer: Writer
) -> Summary:
    """The Summary of a run whose ends are closed."""
    seconds = (writer.written[-1].done_ns - log.started_ns) / 1e9 if writer.written else 0.0
    return Summary(
        frames_in=capture.taken + capture.dropped,
        frames_out=writer.count,
        dropped=capture.dropped,
        duplicated=capture.duplicated,
        reconnects=source.reconnects,
        fps=writer.count / seconds if seconds else 0.0,
        stages_ms=_stages(log, writer),
        frame_age_ms=quantiles_ms([times.age_ns for times in log.times]),
        end_to_end_ms=quantiles_ms([done.end_to_end_ns for done in writer.written]),
        peak_rss_mb=peak_rss_mb(),
        target=engine.target,
        precision=engine.precision,
        execution=engine.execution,
        source=source.uri,
        policy=log.policy,
        size=log.size,
        seconds=seconds,
        first_frame_ms=None if log.first_done_ns is None else (log.first_done_ns - log.started_ns) / 1e6,
        skipped=tuple(source.skipped),
        notes=tuple(source.notes + [note for sink in sinks for note in sink.notes]),
        outputs=tuple(sink.describe() for sink in sinks),
        lost=log.lost,
        interrupted=log.interrupted,
    )


def _stages(log: RunLog, writer: Writer) -> dict[str, Quantiles]:
    return {
        "capture": quantiles_ms([times.capture_ns for times in log.times]),
        "input": quantiles_ms([times.input_ns for times in log.times]),
        "infer": quantiles_ms([times.infer_ns for times in log.times]),
        "view": quantiles_ms([times.view_ns for times in log.times]),
        "sink": quantiles_ms([done.sink_ns for done in writer.written]),
    }


def quantiles_ms(durations_ns: Sequence[int]) -> Quantiles:
    """Nearest-rank percentiles: each is one of the values that were measured."""
    if not durations_ns:
        return Quantiles(None, None)
    p50, p99 = np.percentile(np.array(durations_ns), (50, 99), method="inverted_cdf") / 1e6
    return Quantiles(float(p50), float(p99))


def peak_rss_mb() -> float:
    """The most memory that this process has held so far, in MiB.

    Linux's VmHWM, since getrusage also counts what the parent held before exec.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "")
        if line:
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
