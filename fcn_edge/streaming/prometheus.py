"""The figures of a run in Prometheus' text format.

Source: the text exposition format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fcn_edge.streaming.summary import StreamFigures
from fcn_edge.streaming.window import Quantiles

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("open", "stale", "retrying", "lost", "ended")

# name, kind, help, value of one source (None if there is none)
_PLAIN: tuple[tuple[str, str, str, Callable[[StreamFigures], float | None]], ...] = (
    ("frames_received_total", "counter", "Frames received from the source.", lambda f: f.frames_in),
    ("frames_out_total", "counter", "Frames that went through the network and the sinks.", lambda f: f.frames_out),
    ("frames_dropped_total", "counter", "Frames dropped for a newer one.", lambda f: f.dropped),
    ("frames_duplicated_total", "counter", "Frames with the same pixels as the one before.", lambda f: f.duplicated),
    ("frames_skipped_total", "counter", "Frames that could not be decoded.", lambda f: f.skipped),
    ("frames_not_finite_total", "counter", "Frames whose scores were not finite numbers.", lambda f: f.not_finite),
    ("gaps_total", "counter", "Interruptions of the stream of frames.", lambda f: f.gaps),
    ("reconnects_total", "counter", "Number of times the source was opened again.", lambda f: f.reconnects),
    ("source_up", "gauge", "1 while frames arrive.", lambda f: float(f.state == "open")),
    ("frames_per_second", "gauge", "Frame rate over the last frames.", lambda f: f.fps),
    ("last_frame_seconds", "gauge", "Time since the last frame.", lambda f: _seconds(f.last_frame_ms)),
    (
        "longest_gap_seconds",
        "gauge",
        "Longest interruption.",
        lambda f: f.longest_gap_ms / 1000,
    ),
)


def metrics_text(streams: Sequence[StreamFigures]) -> str:
    """One line per figure and source; frame ages and stage times are quantiles of the last frames, in seconds."""
    lines: list[str] = []
    for name, kind, about, value in _PLAIN:
        _add(lines, name, kind, about, ((_labels(stream), value(stream)) for stream in streams))
    states = ((_labels(s, state=state), float(s.state == state)) for s in streams for state in STATES)
    _add(lines, "source_state", "gauge", "1 for the current state of the source.", states)
    ages = (pair for s in streams for pair in _quantiles(s, s.frame_age_ms))
    _add(lines, "frame_age_seconds", "gauge", "From receiving a frame until its view is ready.", ages)
    ends = (pair for s in streams for pair in _quantiles(s, s.end_to_end_ms))
    _add(lines, "end_to_end_seconds", "gauge", "From receiving a frame to the end of its last sink.", ends)
    stages = (pair for s in streams for stage, q in s.stages_ms.items() for pair in _quantiles(s, q, stage=stage))
    _add(lines, "stage_seconds", "gauge", "Time of one stage of the pipeline.", stages)
    _add(lines, "resident_bytes", "gauge", "Memory of this process.", [("", _resident_bytes())])
    return "\n".join(lines) + "\n"


def _add(lines: list[str], name: str, kind: str, about: str, values: Iterable[tuple[str, float | None]]) -> None:
    lines += [f"# HELP fcn_edge_{name} {about}", f"# TYPE fcn_edge_{name} {kind}"]
    lines += [f"fcn_edge_{name}{labels} {value:.10g}" for labels, value in values if value is not None]


def _labels(stream: StreamFigures, **more: str) -> str:
    named = {"stream": str(stream.stream), "source": stream.source, **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _quantiles(stream: StreamFigures, values: Quantiles, **more: str) -> Iterable[tuple[str, float | None]]:
    yield _labels(stream, **more, quantile="0.5"), _seconds(values.p50)
    yield _labels(stream, **more, quantile="0.99"), _seconds(values.p99)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _resident_bytes() -> float | None:
    """From /proc; None on systems without it."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return float(line.split()[1]) * 1024
