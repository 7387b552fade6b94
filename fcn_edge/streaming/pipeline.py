"""The loop of `run`, `stream` and `evaluate`: capture, engine, sinks.

Capture and sinks have their own threads (`capture`, `writer`); the engine runs in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass

from fcn_edge.engines.base import FRAMES_IN_FLIGHT, Engine
from fcn_edge.errors import BadInput, FcnEdgeError
from fcn_edge.frame import Frame, Result, Style
from fcn_edge.progress import SILENT, Progress
from fcn_edge.streaming.capture import Captures, Policy, policy_for
from fcn_edge.streaming.sinks.base import Sink
from fcn_edge.streaming.sources.base import Source
from fcn_edge.streaming.summary import StreamLog, Summary, SummaryPart, part_from_logs, summary_from_logs
from fcn_edge.streaming.writer import Writer


@dataclass(frozen=True)
class Feed:
    """A source and the sinks of its results.

    policy: "every" frame, or only the "newest" (see `capture.Capture`); None is "newest"
    for live sources. open_sinks: also get the results, but are not closed at the end.
    """

    source: Source
    sinks: Sequence[Sink]
    policy: Policy | None = None
    open_sinks: Sequence[Sink] = ()

    @property
    def all_sinks(self) -> list[Sink]:
        return [*self.sinks, *self.open_sinks]


def results_of_sources(
    sources: Sequence[Source], engine: Engine, *, style: Style, policy: Policy | None = None, limit: int | None = None
) -> Iterator[Result]:
    """Yield the results of all sources; `limit` is the maximum number of frames of each.

    Errors of a source are raised here, after the results of earlier frames.
    """
    policies = [policy_for(source, policy) for source in sources]
    with (
        _prepared(engine, sources, policies) as in_flight,
        Captures(sources, policies, _checked(limit)) as captures,
        closing(segmented(captures, engine, style, in_flight)) as results,
    ):
        yield from results
        if captures.lost:
            raise captures.lost[0]


def run_feeds(
    feeds: Sequence[Feed],
    engine: Engine,
    *,
    style: Style = Style(),  # noqa: B008 - frozen
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Stream sources to their sinks until all end, `limit` frames of each are done, a window is closed or Ctrl-C.

    The frames of the sources are interleaved on the engine. Each sink writes in its own thread, so that a
    slow one does not delay others. Feeds can share a sink. All sinks except `Feed.open_sinks` are closed at the end;
    one that cannot write ends the run with `Summary.failed`. progress: receives each frame count.

    Raises:
        BadInput: nothing in a source can be read.
        SourceLost: no source gave a frame; later losses are in `Summary.lost`.
    """
    return _run(feeds, engine, style, limit, progress)[0]


def run_part(feeds: Sequence[Feed], engine: Engine, *, style: Style, limit: int | None = None) -> SummaryPart:
    """As `run_feeds` for a part of a larger run, with the times of its frames."""
    return part_from_logs(*_run(feeds, engine, style, limit, SILENT))


def _run(
    feeds: Sequence[Feed], engine: Engine, style: Style, limit: int | None, progress: Progress
) -> tuple[Summary, list[StreamLog]]:
    sinks = _distinct_sinks(feeds)
    left_open = [sink for feed in feeds for sink in feed.open_sinks]
    closed = _Closing([sink for sink in sinks if sink not in left_open])
    sources, limit = [feed.source for feed in feeds], _checked(limit)
    policies = [policy_for(feed.source, feed.policy) for feed in feeds]
    interrupted = False
    with ExitStack() as ends:
        ends.enter_context(closed)
        in_flight = ends.enter_context(_prepared(engine, sources, policies))
        writers = [
            ends.enter_context(Writer(feed.all_sinks, may_miss=policy == "newest"))
            for feed, policy in zip(feeds, policies, strict=True)
        ]
        captures = ends.enter_context(Captures(sources, policies, limit))
        logs = [StreamLog(number, captures.each[number], writer) for number, writer in enumerate(writers)]
        for sink in sinks:
            sink.begin(lambda: tuple(log.figures() for log in logs))
        try:
            with closing(segmented(captures, engine, style, in_flight)) as results:
                for result in results:
                    number, index = result.frame.stream, result.frame.index
                    logs[number].add(result)
                    writers[number].put(result)
                    progress.update(sources[number].uri, index + 1, limit or sources[number].length)
                    if any(sink.is_done for sink in sinks):
                        break
        except KeyboardInterrupt:
            interrupted = True
        except FcnEdgeError as error:
            if all(error is not writer.error for writer in writers):
                raise
    if captures.lost and not interrupted and all(log.size is None for log in logs):
        raise captures.lost[0]
    failed = _failure_of([*(writer.error for writer in writers), *closed.errors])
    return summary_from_logs(logs, engine, sinks=sinks, failed=failed, interrupted=interrupted), logs


class _Closing:
    """Closes all sinks at the end of a block, even if one fails; collects their errors in `errors`."""

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
    """The first failure as text, "" if none. Raises errors that are not FcnEdgeError."""
    failures = [error for error in errors if error is not None]
    for error in failures:
        if not isinstance(error, FcnEdgeError):
            raise error
    return str(failures[0]) if failures else ""


def segmented(
    frames: Iterable[Frame], engine: Engine, style: Style, in_flight: int = 1
) -> Generator[Result, None, None]:
    """Results of frames, in order, with up to `in_flight` frames in the engine.

    Exceptions of `frames` are raised after the results of earlier frames.
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
            with suppress(FcnEdgeError):  # of a frame whose result is dropped
                engine.wait()
    if lost is not None:
        raise lost


def frames_in_flight(sources: Sequence[Source], policies: Sequence[Policy]) -> int:
    """How many frames to keep in flight: several only for recordings with policy "every"."""
    is_recorded = all(source.is_recorded and not source.is_live for source in sources)
    return FRAMES_IN_FLIGHT if is_recorded and all(policy == "every" for policy in policies) else 1


@contextmanager
def _prepared(engine: Engine, sources: Sequence[Source], policies: Sequence[Policy]) -> Iterator[int]:
    """Prepare the engine for these sources inside the block; yields the number of frames in flight."""
    requested = frames_in_flight(sources, policies)
    available = engine.prepare(requested)
    try:
        yield available if requested > 1 else 1
    finally:
        with suppress(BadInput):  # it was closed in the block
            engine.prepare(1)


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise BadInput(f"`limit` is {limit} frames; expected at least 1")
    return limit


def _distinct_sinks(feeds: Sequence[Feed]) -> list[Sink]:
    """The sinks of all feeds, each once. Raises BadInput if two write to the same place."""
    sinks = list(dict.fromkeys(sink for feed in feeds for sink in feed.all_sinks))
    shared = [sink.uri for sink in sinks if sink.uri != "null:"]
    groups = [shared, *([sink.uri for sink in feed.all_sinks] for feed in feeds)]
    twice = {name for group in groups for name in group if group.count(name) > 1}
    if twice:
        raise BadInput(f"{', '.join(sorted(twice))}: passed twice as a sink")
    return sinks
