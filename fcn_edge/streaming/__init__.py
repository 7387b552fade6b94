"""Frames from a source through an engine: `stream` yields the results, `run` gives them to sinks.

Importing this loads nothing heavy; OpenCV and the sources are imported by the functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fcn_edge.choices import Policy
from fcn_edge.frame import Result, Style
from fcn_edge.progress import SILENT, Progress

if TYPE_CHECKING:
    from fcn_edge.engines.base import Engine
    from fcn_edge.streaming.endpoints import SinkLike, SourceLike
    from fcn_edge.streaming.sinks import SinkOptions
    from fcn_edge.streaming.sources import Patience
    from fcn_edge.streaming.summary import Summary

__all__ = ["run", "stream"]


def stream(
    net: Engine,
    *,
    source: SourceLike | Sequence[SourceLike],
    policy: Policy | None = None,
    limit: int | None = None,
    style: Style = Style(),  # noqa: B008 - frozen
) -> Iterator[Result]:
    """Results of a source's frames as they come.

    Args:
        net: an open engine. Of recordings several frames are in it at once, where its runtime gains by that.
        source: camera number, address or path (docs/reference/sources.md lists them), an open `Source` or `Dataset`, or
            any iterable of images (H, W, 3) uint8 BGR; a list of sources, which then take turns. An open source that
            is live is used up by it.
        policy: "every" frame, or always the "newest" one, where older ones are dropped. None takes "newest" of live
            sources and "every" of others.
        limit: end after so many frames of each source.
        style: how overlays are drawn; Style(overlay=False) draws none.

    Returns:
        Results in the order of their frames. Leaving the loop early closes what was opened here.

    Raises:
        BadInput: nothing in the source can be read. SourceLost: after the last result, where more was promised.

    Example:
        with open_engine("engine") as net:
            for result in stream(net, source="drive.mp4"):
                print(result.frame.index, result.pixels_per_class)
    """
    from contextlib import ExitStack

    from fcn_edge.streaming.endpoints import opened_sources
    from fcn_edge.streaming.pipeline import results_of_sources

    with ExitStack() as ends:
        yield from results_of_sources(opened_sources(source, ends), net, style=style, policy=policy, limit=limit)


def run(
    net: Engine,
    *,
    source: SourceLike | Sequence[SourceLike],
    sinks: SinkLike | Sequence[SinkLike] = (),
    policy: Policy | None = None,
    limit: int | None = None,
    style: Style = Style(),  # noqa: B008 - frozen
    options: SinkOptions | None = None,
    patience: Patience | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Segment sources into sinks until all sources end, a window is closed or Ctrl-C.

    Args:
        net: an open engine. Of recordings several frames are in it at once, where its runtime gains by that.
        source: as of `stream`.
        sinks: where results go: addresses and paths (`out.mp4`, `masks/`, `http://127.0.0.1:8080`, `null:`, …), open
            `Sink` objects, or functions that take a `Result`; these are called in this thread. Of several sources
            each has files of its own: `out.mp4` becomes `out-0.mp4`, `out-1.mp4`.
        policy: as of `stream`.
        limit: as of `stream`.
        style: how overlays are drawn, where a sink shows them.
        options: legend, regions, rules and logs of the sinks.
        patience: how long live sources are waited for, and how often they are opened again.
        progress: told of each frame, and of what people have to know before the first one.

    Returns:
        What was done: frames, drops, times, what the sinks wrote. A sink that cannot write ends the run, and
        `failed` says why; `lost` says why a source ended before it should.

    Raises:
        BadInput: an unknown source or sink, or nothing in a source can be read. BackendMissing: a sink or source
            needs a package or device that is not here. SourceLost: no source gave even one frame.

    Example:
        with open_engine("engine") as net:
            summary = run(net, source=0, sinks=["out.mp4"], limit=300)
    """
    from contextlib import ExitStack
    from dataclasses import replace

    from fcn_edge.streaming.endpoints import opened_sinks, opened_sources
    from fcn_edge.streaming.pipeline import Feed, run_feeds
    from fcn_edge.streaming.sinks import SinkOptions
    from fcn_edge.streaming.sources import Patience

    chosen = replace(options or SinkOptions(), style=style)
    chosen = replace(chosen, read=(*chosen.read, net.path))
    with ExitStack() as ends:
        sources = opened_sources(source, ends, patience or Patience())
        owned, given = opened_sinks(sinks, net, sources, ends, chosen)
        feeds = [Feed(one, own, policy, given) for one, own in zip(sources, owned, strict=True)]
        distinct = list(dict.fromkeys(sink for feed in feeds for sink in feed.all_sinks))
        for greeting in filter(None, (sink.greeting for sink in distinct)):
            progress.note(greeting)
        is_shown = style.overlay and any(sink.needs_overlay for sink in distinct)
        return run_feeds(feeds, net, style=replace(style, overlay=is_shown), limit=limit, progress=progress)
