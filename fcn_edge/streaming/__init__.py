"""Segment the frames of a source: `stream` yields the results, `run` writes them to sinks.

Importing this package is cheap; the functions import OpenCV and the sources.
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
    """Yield the results of a source's frames.

    Args:
        net: an open engine. For recordings several frames are in flight if that is faster on its runtime.
        source: camera number, address or path (docs/reference/sources.md lists them), an open `Source` or `Dataset`, or
            any iterable of images (H, W, 3) uint8 BGR; a list of sources, which are then interleaved. An open live
            source can be used only once.
        policy: "every" frame, or only the "newest" one, which drops older ones. None is "newest" for live
            sources and "every" for others.
        limit: stop after this many frames of each source.
        style: how overlays are drawn; Style(overlay=False) draws none.

    Returns:
        Results in frame order. Leaving the loop early closes what was opened here.

    Raises:
        BadInput: nothing in the source can be read. SourceLost: after the last result, if the source ended early.

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
    """Segment sources and write to sinks until all sources end, a window is closed or Ctrl-C.

    Args:
        net: an open engine. For recordings several frames are in flight if that is faster on its runtime.
        source: as in `stream`.
        sinks: outputs: addresses and paths (`out.mp4`, `masks/`, `http://127.0.0.1:8080`, `null:`, …), open
            `Sink` objects, or functions that take a `Result`, called in this thread. With several sources
            each has its own files: `out.mp4` becomes `out-0.mp4`, `out-1.mp4`.
        policy: as in `stream`.
        limit: as in `stream`.
        style: how overlays are drawn, if a sink shows them.
        options: legend, regions, rules and logs of the sinks.
        patience: how long to wait for live sources, and how often to open them again.
        progress: receives each frame count, and notes for the user before the first frame.

    Returns:
        Counts of frames and drops, times, and outputs of the sinks. A sink that cannot write ends the run:
        `failed` has the reason; `lost` has the reason for a source that ended early.

    Raises:
        BadInput: an unknown source or sink, or nothing in a source can be read. BackendMissing: a sink or source
            needs a package or device that is missing. SourceLost: no source gave a frame.

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
