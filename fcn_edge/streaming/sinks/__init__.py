"""Open sinks by address.

`display://0` a window · `out.mp4` (.mkv) a video · `masks/` a folder of class maps, `labels/*_mask.png` the same in a
folder with other files · `shares.jsonl` class shares of each frame · `http://127.0.0.1:8080` a live page · `null:`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.outputs import require_apart
from fcn_edge.redaction import redacted
from fcn_edge.streaming.clock import StreamClock
from fcn_edge.streaming.regions import Cover, Region, Rule, Watches
from fcn_edge.streaming.sinks.base import Null, Sink
from fcn_edge.streaming.sinks.display import Display
from fcn_edge.streaming.sinks.journal import Journal
from fcn_edge.streaming.sinks.jsonl import EventLog, Events, Statistics
from fcn_edge.streaming.sinks.masks import Masks
from fcn_edge.streaming.sinks.page import PageSink, greeting_for
from fcn_edge.streaming.sources.base import Source
from fcn_edge.streaming.viewer import Painter

__all__ = ["KNOWN", "Sink", "SinkOptions", "sink_from_uri", "sinks_of_sources"]

RECORDING_SUFFIXES = (".mp4", ".mkv")
KNOWN = (
    "display://0",
    "FILE.mp4",
    "FILE.mkv",
    "FOLDER/",
    "FOLDER/*_mask.png",
    "FILE.jsonl",
    "http://127.0.0.1:8080",
    "null:",
)


@dataclass(frozen=True)
class SinkOptions:
    """Options of sinks.

    legend: draw class names and live figures on images. style: how views are drawn; its hidden classes
    are excluded from shares too. rules: events to report, to the file `events` or standard error.
    is_logged: log state changes and figures of sources. read: other input files of the run,
    which no sink overwrites.
    """

    legend: bool = True
    style: Style = Style()  # noqa: RUF009 - frozen
    regions: tuple[Region, ...] = ()
    rules: tuple[Rule, ...] = ()
    events: Path | None = None
    is_logged: bool = False
    read: tuple[Path, ...] = ()


def sink_from_uri(
    uri: str,
    engine: Engine,
    *,
    source: Source,
    options: SinkOptions = SinkOptions(),
) -> Sink:
    """Open a sink for the views of `source` from `engine`; nothing is written yet.

    Raises:
        BadInput: an unknown sink, a folder that is not writable, an input file of the run, or a file that
            fcn-edge did not write.
        BackendMissing: no screen, or PyAV cannot encode video.
    """
    if uri == "null:":
        return Null(uri)
    if is_page(uri):
        return _page(uri, engine, [source], options, None)
    if match := re.fullmatch(r"display://([0-9]{0,2})", uri):
        return Display(int(match[1] or 0), Painter(engine, legend=options.legend))
    path = path_of(uri)
    if path is not None:
        clock, protected = StreamClock(source), (*source.files, *options.read)
        if uri.endswith("/") or path.is_dir():
            return Masks(path, engine.spec.palette, video=source.uri, protected=protected)
        if is_pattern(path):
            folder, names = path.parent, path.name
            return Masks(folder, engine.spec.palette, video=source.uri, protected=protected, pattern=names)
        if path.suffix.lower() in RECORDING_SUFFIXES:
            from fcn_edge.streaming.sinks.video import Video  # only this sink needs PyAV

            painter = Painter(engine, legend=options.legend)
            return Video(path, painter, clock, is_live=source.is_live, protected=protected)
        if path.suffix.lower() == ".jsonl":
            cover = Cover(options.regions, options.style.hidden_classes)
            return Statistics(
                path, engine.spec, clock, cover, source=source.uri, is_live=source.is_live, protected=protected
            )
    raise BadInput(f"{redacted(uri)!r}: unknown sink; known: {', '.join(KNOWN)} (a new folder ends in /)")


def sinks_of_sources(
    uris: Sequence[str],
    engine: Engine,
    sources: Sequence[Source],
    ends: ExitStack,
    *,
    options: SinkOptions = SinkOptions(),
) -> list[list[Sink]]:
    """The sinks of each source, closed with `ends`; if one cannot be opened, the others are closed.

    Several sources write to separate files and windows (`numbered`); a page shows all of them.

    Raises BadInput if two write the same file, or one writes an input file of any source.
    """
    options = replace(options, read=(*options.read, *(path for source in sources for path in source.files)))
    count = len(sources)
    require_apart([*paths_of_sinks(uris, count), *([options.events] if options.events else [])], options.read)
    log = EventLog(options.events) if options.rules else None
    shared: list[Sink] = [Journal()] if options.is_logged else []
    for uri in filter(is_page, uris):
        shared.append(_page(uri, engine, sources, options, log))
        ends.callback(shared[-1].close)
    sinks: list[list[Sink]] = []
    for number, source in enumerate(sources):
        sinks.append([*shared])
        for uri in (uri for uri in uris if not is_page(uri)):
            own = numbered(uri, number) if count > 1 else uri
            sinks[-1].append(sink_from_uri(own, engine, source=source, options=options))
            ends.callback(sinks[-1][-1].close)
        if log is not None:
            cover = Cover(options.regions, options.style.hidden_classes)
            watches, clock = Watches(options.rules, is_live=source.is_live), StreamClock(source)
            sinks[-1].append(Events(log, watches, clock, cover, source=source.uri, stream=number))
            ends.callback(sinks[-1][-1].close)
    return sinks


def paths_of_sinks(uris: Sequence[str], count: int = 1) -> list[Path]:
    """Files and folders that sinks of `count` sources write."""
    own = [numbered(uri, number) if count > 1 else uri for uri in uris for number in range(count)]
    return [path for path in map(path_of, own) if path is not None]


def path_of(uri: str) -> Path | None:
    """The file or folder of a sink, if it has one."""
    return Path(uri) if uri and uri != "null:" and "://" not in uri else None


def is_pattern(path: Path) -> bool:
    """Whether `path` is a pattern for names of masks, such as masks/*_mask.png."""
    return path.suffix.lower() == ".png" and path.name.count("*") == 1 and "*" not in str(path.parent)


def is_page(uri: str) -> bool:
    return uri.startswith("http://")


def _page(uri: str, engine: Engine, sources: Sequence[Source], options: SinkOptions, log: EventLog | None) -> Sink:
    names = [source.uri for source in sources]
    return PageSink(uri, greeting_for(engine, options.style, names, options.regions, options.rules), log)


def numbered(uri: str, number: int) -> str:
    """The sink of source `number` if there are several sources: out-1.mp4, masks/1/, display://1."""
    if uri == "null:":
        return uri
    if re.fullmatch(r"display://[0-9]{0,2}", uri):
        return f"display://{number}"
    path = Path(uri)
    if uri.endswith("/") or path.is_dir() or not path.suffix:
        return f"{uri.rstrip('/')}/{number}/"
    if is_pattern(path):
        return str(path.parent / str(number) / path.name)
    return f"{path.with_name(path.stem)}-{number}{path.suffix}"
