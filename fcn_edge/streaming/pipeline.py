"""The loop that `run`, `stream` and `evaluate` drive: capture, engine, sinks.

Capture and sinks have threads of their own (`capture`, `writer`); all computing is done in the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput, FcnEdgeError
from fcn_edge.frame import Frame, Result, Style
from fcn_edge.streaming.capture import Capture, Captures, Policy, policy_for
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.sources.base import Source
from fcn_edge.streaming.summary import StreamLog, Summary, summary_from_logs
from fcn_edge.streaming.writer import Writer

OnFrame = Callable[[Result], None]


@dataclass(frozen=True)
class Feed:
    """A source, and the sinks that its results go to.

    policy: "every" frame, or always the "newest" (see `capture.Capture`); None takes "newest"
    for live sources.
    """

    source: Source
    sinks: Sequence[Sink]
    policy: Policy | None = None


def stream(
    source: Source,
    engine: Engine,
    *,
    style: Style = Style(),  # noqa: B008 - frozen
    policy: Policy | None = None,
    limit: int | None = None,
) -> Iterator[Result]:
    """Results of a source's frames as they come; `limit` ends it after so many.

    Errors of the source are raised here, after the frames before them.
    """
    policy = policy_for(source, policy)
    with Capture(source, policy, _checked(limit)) as capture:
        yield from segmented(capture, engine, style, _in_flight(engine, [source], [policy]))


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
    """Stream one source into sinks; see `run_feeds`."""
    return run_feeds([Feed(source, sinks, policy)], engine, style=style, limit=limit, on_frame=on_frame)


def run_feeds(
    feeds: Sequence[Feed],
    engine: Engine,
    *,
    style: Style = Style(),  # noqa: B008 - frozen
    limit: int | None = None,
    on_frame: OnFrame | None = None,
    on_end: Callable[[Sequence[StreamLog]], None] = lambda logs: None,
) -> Summary:
    """Stream sources into their sinks until all end, `limit` frames of each are done, a window is closed or Ctrl-C.

    The sources take turns on the engine, and each sink of each has a thread that writes, so that a
    slow one delays no other. A sink may serve several feeds. The sinks are closed in any case; one
    that cannot write ends the run, and `Summary.failed` tells of it. on_frame is called in this
    thread after each frame, on_end with the sources' logs once all is closed.

    Raises:
        BadInput: nothing in a source can be read.
        SourceLost: no source gave even one frame; later losses are told in `Summary.lost`.
    """
    sinks = _distinct_sinks(feeds)
    interrupted = False
    closing = _Closing(sinks)
    policies = [policy_for(feed.source, feed.policy) for feed in feeds]
    with ExitStack() as ends:
        ends.enter_context(closing)
        writers = [
            ends.enter_context(Writer(feed.sinks, may_miss=policy == "newest")) for feed, policy in zip(feeds, policies)
        ]
        captures = ends.enter_context(Captures([feed.source for feed in feeds], policies, _checked(limit)))
        logs = [StreamLog(number, captures.each[number], writer) for number, writer in enumerate(writers)]
        for sink in sinks:
            sink.begin(lambda: tuple(log.figures() for log in logs))
        try:
            in_flight = _in_flight(engine, [feed.source for feed in feeds], policies)
            for result in segmented(captures, engine, style, in_flight):
                logs[result.frame.stream].add(result)
                writers[result.frame.stream].put(result)
                if on_frame is not None:
                    on_frame(result)
                if any(sink.is_done for sink in sinks):
                    break
        except KeyboardInterrupt:
            interrupted = True
        except FcnEdgeError as error:
            if all(error is not writer.error for writer in writers):
                raise
    if captures.lost and not interrupted and all(log.size is None for log in logs):
        raise captures.lost[0]
    on_end(logs)
    failed = _failure_of([*(writer.error for writer in writers), *closing.errors])
    return summary_from_logs(logs, engine, sinks=sinks, failed=failed, interrupted=interrupted)


class _Closing:
    """Closes all sinks at the end of a block, whatever one of them says; their errors stay in `errors`."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.errors: list[Exception] = []
        self._sinks = sinks

    def __enter__(self) -> _Closing:
        return self

    def __exit__(self, *_: object) -> None:
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:
                self.errors.append(error)


def _failure_of(errors: Sequence[Exception | None]) -> str:
    """The first failure in words, "" if there was none. Raises what is a defect."""
    found = [error for error in errors if error is not None]
    for error in found:
        if not isinstance(error, FcnEdgeError):
            raise error
    return str(found[0]) if found else ""


def segmented(frames: Iterable[Frame], engine: Engine, style: Style, in_flight: int = 1) -> Iterator[Result]:
    """Results of frames, in order; up to `in_flight` frames are in the engine at once.

    What `frames` raises is raised after the results of the frames that came before it.
    """
    coming = iter(frames)
    waiting = 0
    lost: FcnEdgeError | None = None
    is_ended = False
    try:
        while waiting or not is_ended:
            if not is_ended:
                try:
                    frame = next(coming, None)
                except FcnEdgeError as error:
                    frame, lost = None, error
                is_ended = frame is None
                if frame is not None:
                    engine.start(frame, style)
                    waiting += 1
            if waiting and (is_ended or waiting == in_flight):
                waiting -= 1
                yield engine.wait()
    finally:
        for _ in range(waiting):
            with suppress(FcnEdgeError):  # of a frame whose result nobody wants
                engine.wait()
    if lost is not None:
        raise lost


def _in_flight(engine: Engine, sources: Sequence[Source], policies: Sequence[Policy]) -> int:
    """More than one frame under way only where none grows old by it: recordings of which every frame counts."""
    is_recorded = all(policy == "every" for policy in policies) and not any(source.is_live for source in sources)
    return engine.in_flight if is_recorded else 1


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise BadInput(f"a limit of {limit} frames; at least 1 is possible")
    return limit


def _distinct_sinks(feeds: Sequence[Feed]) -> list[Sink]:
    """The sinks of all feeds, each once. Raises BadInput where two write to the same place."""
    sinks = list(dict.fromkeys(sink for feed in feeds for sink in feed.sinks))
    groups = [[sink.uri for sink in sinks if sink.uri != "null:"], *([s.uri for s in feed.sinks] for feed in feeds)]
    twice = {name for group in groups for name in group if group.count(name) > 1}
    if twice:
        raise BadInput(f"{', '.join(sorted(twice))}: given twice as a sink")
    return sinks
