"""Where views go, by address: `display://0`, `out.mp4` (.mkv), a folder of masks (`masks/`), `null:`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.stream.clock import StreamClock
from fcn_edge.stream.sinks.base import Null, Sink
from fcn_edge.stream.sinks.display import Display
from fcn_edge.stream.sinks.masks import Masks
from fcn_edge.stream.sources.base import Source, redacted
from fcn_edge.stream.viewer import Painter

__all__ = ["KNOWN", "Sink", "sink_from_uri", "sinks_of_sources"]

VIDEO_SUFFIXES = (".mp4", ".mkv")
KNOWN = ("display://0", "FILE.mp4", "FILE.mkv", "FOLDER/", "null:")


def sink_from_uri(uri: str, engine: Engine, *, source: Source, legend: bool = True) -> Sink:
    """Open a sink for the views that `engine` makes of `source`; nothing is written yet.

    legend: draw class names and live figures on pictures.

    Raises:
        BadInput: an unknown sink, a folder that cannot be written, or one that holds the source.
        BackendMissing: no screen, or a PyAV that cannot encode video.
    """
    if uri == "null:":
        return Null(uri)
    painter = Painter(engine, legend=legend)
    if match := re.fullmatch(r"display://([0-9]{0,2})", uri):
        return Display(int(match[1] or 0), painter)
    path = Path(uri)
    if uri and "://" not in uri:
        if uri.endswith("/") or path.is_dir():
            return Masks(path, engine.spec.palette, video=source.uri, protected=source.files)
        if path.suffix.lower() in VIDEO_SUFFIXES:
            from fcn_edge.stream.sinks.video import Video  # PyAV is needed by nothing else

            return Video(path, painter, StreamClock(source), is_live=source.is_live, protected=source.files)
    raise BadInput(f"{redacted(uri)!r}: unknown sink; known: {', '.join(KNOWN)} (a new folder ends in /)")


def sinks_of_sources(
    uris: Sequence[str], engine: Engine, sources: Sequence[Source], ends: ExitStack, *, legend: bool = True
) -> list[list[Sink]]:
    """The sinks of each source, closed with `ends`; one that cannot be opened closes those before it.

    Where there are several sources, each writes files and windows of its own (`numbered`).
    """
    sinks: list[list[Sink]] = []
    for number, source in enumerate(sources):
        sinks.append([])
        for uri in uris:
            own = numbered(uri, number) if len(sources) > 1 else uri
            sinks[-1].append(sink_from_uri(own, engine, source=source, legend=legend))
            ends.callback(sinks[-1][-1].close)
    return sinks


def numbered(uri: str, number: int) -> str:
    """The sink of source `number` where several have the same --sink: out-1.mp4, masks/1/, display://1."""
    if uri == "null:":
        return uri
    if re.fullmatch(r"display://[0-9]{0,2}", uri):
        return f"display://{number}"
    path = Path(uri)
    if uri.endswith("/") or path.is_dir() or not path.suffix:
        return f"{uri.rstrip('/')}/{number}/"
    return f"{path.with_name(path.stem)}-{number}{path.suffix}"
