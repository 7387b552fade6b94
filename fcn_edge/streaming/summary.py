"""Figures of a run: its state while it runs, and the JSON of `fcn-edge run` at its end."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fcn_edge.engines.base import Engine, StageRuns
from fcn_edge.frame import Result
from fcn_edge.streaming.capture import Capture, Policy, State
from fcn_edge.streaming.window import LENGTH, Quantiles, Window, quantiles_ms

if TYPE_CHECKING:
    from fcn_edge.streaming.sinks.base import Sink
    from fcn_edge.streaming.writer import Writer

log = logging.getLogger(__name__)
RECENT = 120  # number of frames for live figures
STAGES = ("capture", "input", "infer", "view")
SENT = 1000  # frames of each recording for figures of several recordings
AGE, READY = len(STAGES), len(STAGES) + 1  # columns after the stages: age, and the time the view was ready


@dataclass(frozen=True)
class StreamFigures:
    """Figures of one source, during the run or at its end.

    frames_in = frames_out + dropped + frames in flight. not_finite: frames whose scores contain NaN or infinity,
    so that their class maps are invalid. gaps: number of interruptions. last_frame_ms: since the last frame;
    trouble: why the source is being opened again or was lost, otherwise "". stages_ms, frame_age_ms (received to
    view ready) and end_to_end_ms (received to the end of the last sink): over the last 36 000 frames, or fewer
    during the run. size: (height, width) of the newest frame.
    """

    stream: int
    source: str
    state: State
    trouble: str
    policy: Policy
    size: tuple[int, int] | None
    frames_in: int
    frames_out: int
    dropped: int
    duplicated: int
    gaps: int
    longest_gap_ms: float
    reconnects: int
    skipped: int
    not_finite: int
    fps: float
    last_frame_ms: float | None
    first_frame_ms: float | None
    stages_ms: dict[str, Quantiles]
    frame_age_ms: Quantiles
    end_to_end_ms: Quantiles


@dataclass(frozen=True)
class Summary:
    """Result of a run; `schema.to_mapping` gives the JSON of `fcn-edge run`.

    Figures of all sources together, and of each in `streams`. source, policy: of one, or
    of several separated by commas. size: (height, width) of the first frame. lost: why a source
    ended early (exit code 4), otherwise "". failed: why a sink could not write (exit code 2), otherwise "".
    outputs: what each sink wrote; missed: views that a sink of a live stream was too slow for. stage_runs: how often
    each stage of the network ran and the age of its scores, if a schedule skips stages.
    """

    frames_in: int
    frames_out: int
    dropped: int
    duplicated: int
    gaps: int
    reconnects: int
    not_finite: int
    fps: float
    stages_ms: dict[str, Quantiles]
    frame_age_ms: Quantiles
    end_to_end_ms: Quantiles
    peak_rss_mb: float
    target: str
    precision: str
    execution: str
    schedule: str
    stage_runs: tuple[StageRuns, ...]
    source: str
    policy: str
    size: tuple[int, int] | None
    seconds: float
    first_frame_ms: float | None
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    outputs: tuple[str, ...]
    missed: int
    lost: str
    failed: str
    interrupted: bool
    streams: tuple[StreamFigures, ...]


class StreamLog:
    """Records one source while it runs; `figures` may be called from any thread."""

    def __init__(self, stream: int, capture: Capture, writer: Writer) -> None:
        self.stream, self.capture, self.writer = stream, capture, writer
        self.started_ns = time.monotonic_ns()
        self.size: tuple[int, int] | None = None
        self.first_done_ns: int | None = None
        self.times = Window(READY + 1)
        self.not_finite = 0

    def add(self, result: Result) -> None:
        """Record a frame whose result is ready."""
        frame, times = result.frame, result.times
        if not result.is_finite:
            self.not_finite += 1
            if self.not_finite == 1:
                log.warning(
                    "%s: the scores of frame %d contain NaN or infinity; its class map is invalid",
                    frame.source,
                    frame.index,
                )
        ready_ns = frame.captured_ns + times.age_ns
        if self.size is None:
            self.size, self.first_done_ns = (frame.image.shape[0], frame.image.shape[1]), ready_ns
        self.times.add(times.capture_ns, times.input_ns, times.infer_ns, times.view_ns, times.age_ns, ready_ns)

    def figures(self, most: int = RECENT) -> StreamFigures:
        """Current figures; times are those of the last `most` frames."""
        capture, source = self.capture, self.capture.source
        times, written = self.times.last(most), self.writer.written.last(most)
        last_ns = capture.last_ns
        return StreamFigures(
            stream=self.stream,
            source=source.uri,
            state=capture.state,
            trouble=str(capture.error) if capture.state == "lost" else source.trouble,
            policy=capture.policy,
            size=capture.size,
            frames_in=capture.taken + capture.dropped,
            frames_out=self.writer.count,
            dropped=capture.dropped,
            duplicated=capture.duplicated,
            gaps=capture.gaps,
            longest_gap_ms=capture.longest_gap_ns / 1e6,
            reconnects=source.reconnects,
            skipped=source.skipped_count,
            not_finite=self.not_finite,
            fps=_rate(times[:, READY]),
            last_frame_ms=None if last_ns is None else (time.monotonic_ns() - last_ns) / 1e6,
            first_frame_ms=None if self.first_done_ns is None else (self.first_done_ns - self.started_ns) / 1e6,
            stages_ms=_stages(times, written),
            frame_age_ms=quantiles_ms(times[:, AGE]),
            end_to_end_ms=quantiles_ms(written[:, 1]),
        )


def summary_from_logs(
    logs: Sequence[StreamLog], engine: Engine, *, sinks: Sequence[Sink], failed: str, interrupted: bool
) -> Summary:
    """The Summary of a run whose sources and sinks are closed."""
    streams = [log.figures(LENGTH) for log in logs]
    times = np.concatenate([log.times.last() for log in logs])
    written = np.concatenate([log.writer.written.last() for log in logs])
    started_ns = logs[0].started_ns
    seconds = (int(written[:, 2].max()) - started_ns) / 1e9 if len(written) else 0.0
    sources = [log.capture.source for log in logs]
    return Summary(
        **_of_all(streams, seconds),
        stages_ms=_stages(times, written),
        frame_age_ms=quantiles_ms(times[:, AGE]),
        end_to_end_ms=quantiles_ms(written[:, 1]),
        peak_rss_mb=peak_rss_mb(),
        target=engine.target,
        precision=engine.precision,
        execution=engine.execution,
        schedule=engine.schedule,
        stage_runs=engine.stage_runs(),
        size=next((log.size for log in logs if log.size is not None), None),
        skipped=tuple(text for source in sources for text in source.skipped),
        notes=tuple([note for source in sources for note in source.notes] + [n for sink in sinks for n in sink.notes]),
        outputs=tuple(sink.describe() for sink in sinks),
        missed=sum(sink.missed for sink in sinks),
        failed=failed,
        interrupted=interrupted,
    )


def _of_all(streams: Sequence[StreamFigures], seconds: float) -> dict[str, Any]:
    """Fields of a Summary that are computed from its streams."""
    frames_out = sum(stream.frames_out for stream in streams)
    first = [stream.first_frame_ms for stream in streams if stream.first_frame_ms is not None]
    return {
        "frames_in": sum(stream.frames_in for stream in streams),
        "frames_out": frames_out,
        "dropped": sum(stream.dropped for stream in streams),
        "duplicated": sum(stream.duplicated for stream in streams),
        "gaps": sum(stream.gaps for stream in streams),
        "reconnects": sum(stream.reconnects for stream in streams),
        "not_finite": sum(stream.not_finite for stream in streams),
        "fps": frames_out / seconds if seconds else 0.0,
        "seconds": seconds,
        "first_frame_ms": min(first, default=None),
        "source": ", ".join(stream.source for stream in streams),
        "policy": _distinct(stream.policy for stream in streams),
        "lost": "; ".join(stream.trouble for stream in streams if stream.state == "lost"),
        "streams": tuple(streams),
    }


class SummaryPart(NamedTuple):
    """A part of a larger run, done by another process.

    times: durations in nanoseconds of the last SENT frames, one column per stage and their age; written: time in the
    slowest sink, and from capture to its end.
    """

    summary: Summary
    times: np.ndarray
    written: np.ndarray


def part_from_logs(summary: Summary, logs: Sequence[StreamLog]) -> SummaryPart:
    """The result of a worker, for a run whose sources and sinks are closed."""
    times = np.concatenate([log.times.last(SENT) for log in logs])
    written = np.concatenate([log.writer.written.last(SENT) for log in logs])
    return SummaryPart(summary, times[:, :READY], written[:, :2])


def summary_from_parts(parts: Sequence[SummaryPart], *, seconds: float, interrupted: bool) -> Summary:
    """The Summary of parallel runs that took `seconds` together, with their sources in this order.

    peak_rss_mb is the maximum over the processes. Percentiles are over the last SENT frames of each run.
    """
    each = [part.summary for part in parts]
    times, written = np.concatenate([part.times for part in parts]), np.concatenate([part.written for part in parts])
    streams = (stream for one in each for stream in one.streams)
    return Summary(
        **_of_all([replace(stream, stream=number) for number, stream in enumerate(streams)], seconds),
        stages_ms=_stages(times, written),
        frame_age_ms=quantiles_ms(times[:, AGE]),
        end_to_end_ms=quantiles_ms(written[:, 1]),
        peak_rss_mb=max(one.peak_rss_mb for one in each),
        target=_distinct(one.target for one in each),
        precision=_distinct(one.precision for one in each),
        execution=_distinct(one.execution for one in each),
        schedule=_distinct(one.schedule for one in each),
        stage_runs=tuple(_stage_of(runs) for runs in zip(*(one.stage_runs for one in each))),
        size=next((one.size for one in each if one.size is not None), None),
        skipped=tuple(text for one in each for text in one.skipped),
        notes=tuple(text for one in each for text in one.notes),
        outputs=tuple(text for one in each for text in one.outputs),
        missed=sum(one.missed for one in each),
        failed="; ".join(one.failed for one in each if one.failed),
        interrupted=interrupted or any(one.interrupted for one in each),
    )


def _stage_of(runs: Sequence[StageRuns]) -> StageRuns:
    """A stage's runs of all parts together."""
    return StageRuns(
        runs[0].stride, sum(r.runs for r in runs), sum(r.frames for r in runs), max(r.oldest for r in runs)
    )


def _distinct(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _rate(moments_ns: np.ndarray) -> float:
    """Frames per second between the first and the last of these times."""
    passed_ns = int(moments_ns[-1] - moments_ns[0]) if len(moments_ns) > 1 else 0
    return (len(moments_ns) - 1) * 1e9 / passed_ns if passed_ns > 0 else 0.0


def _stages(times: np.ndarray, written: np.ndarray) -> dict[str, Quantiles]:
    stages = {name: quantiles_ms(times[:, column]) for column, name in enumerate(STAGES)}
    return {**stages, "sink": quantiles_ms(written[:, 0])}


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MiB.

    Linux's VmHWM, since getrusage also counts the parent's memory before exec.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "")
        if line:
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
