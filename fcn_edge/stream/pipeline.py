"""The loop that `run`, `bench` and `evaluate` all drive: capture, input, infer, view, sink.

Capture and sinks have threads of their own (`ends`); all computing is done in the caller's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.frame import Frame, Style, Times, View
from fcn_edge.stream.ends import Capture, Policy, Writer
from fcn_edge.stream.sinks.base import Sink
from fcn_edge.stream.sources.base import Source
from fcn_edge.stream.summary import RunLog, Summary, summary_from_log
from fcn_edge.transforms import input_from_frame, view_from_scores

OnFrame = Callable[[Frame, View, Times], None]


def segment(frame: Frame, engine: Engine, style: Style = Style()) -> tuple[View, Times]:  # noqa: B008 - frozen
    """One frame through the network: its view, and how long each of the three steps took."""
    started = time.monotonic_ns()
    x = input_from_frame(frame.image, engine.spec.preprocess)
    fed = time.monotonic_ns()
    output = engine.infer(x)
    inferred = time.monotonic_ns()
    view = view_from_scores(output[0], frame.image, engine.spec, style)
    viewed = time.monotonic_ns()
    return view, Times(fed - started, inferred - fed, viewed - inferred, viewed - frame.captured_ns)


def stream(
    source: Source,
    engine: Engine,
    *,
    style: Style = Style(),  # noqa: B008 - frozen
    policy: Policy | None = None,
    limit: int | None = None,
) -> Iterator[tuple[Frame, View, Times]]:
    """Views of a source's frames as they come; `limit` ends it after so many.

    policy: "every" frame, or always the "newest" (see `ends.Capture`); None takes "newest"
    for live sources. Errors of the source are raised here, after the frames before them.
    """
    with Capture(source, _policy_for(source, policy), _checked(limit)) as capture:
        yield from _segmented(capture, engine, style, limit)


def run(
    source: Source,
    engine: Engine,
    sinks: Sequence[Sink],
    *,
    style: Style = Style(),  # noqa: B008 - frozen
    policy: Policy | None = None,
    limit: int | None = None,
    on_frame: OnFrame | None = None,
) -> Summary:
    """Stream a source into sinks until it ends, `limit` frames are done, a window is closed or Ctrl-C.

    The sinks are closed in any case. on_frame is called in this thread after each frame.

    Raises:
        BadInput: a sink cannot write, or nothing in the source can be read.
        SourceLost: the source gave not even one frame; later losses are told in `Summary.lost`.
    """
    _check_sinks(sinks)
    policy = _policy_for(source, policy)
    log = RunLog(policy, started_ns=time.monotonic_ns())
    with ExitStack() as ends:
        for sink in sinks:
            ends.callback(sink.close)
        writer = ends.enter_context(Writer(sinks))
        capture = ends.enter_context(Capture(source, policy, _checked(limit)))
        try:
            for frame, view, times in _segmented(capture, engine, style, limit):
                log.add(frame, times)
                writer.put(frame, view, times)
                if on_frame is not None:
                    on_frame(frame, view, times)
                if any(sink.is_done for sink in sinks):
                    break
        except KeyboardInterrupt:
            log.interrupted = True
        except SourceLost as error:
            if log.size is None:
                raise
            log.lost = str(error)
    return summary_from_log(log, source, engine, sinks=sinks, capture=capture, writer=writer)


def _segmented(
    capture: Capture, engine: Engine, style: Style, limit: int | None
) -> Iterator[tuple[Frame, View, Times]]:
    for frame, capture_ns in islice(capture, limit):
        view, times = segment(frame, engine, style)
        yield frame, view, replace(times, capture_ns=capture_ns)


def _policy_for(source: Source, policy: Policy | None) -> Policy:
    return policy or ("newest" if source.is_live else "every")


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise BadInput(f"a limit of {limit} frames; at least 1 is possible")
    return limit


def _check_sinks(sinks: Sequence[Sink]) -> None:
    names = [sink.uri for sink in sinks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadInput(f"{', '.join(sorted(twice))}: given twice as a sink")
