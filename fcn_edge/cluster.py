"""Labelled sets scored, and recordings segmented, by many processes or machines through Ray, with the same bits.

The unit of work is a run of images of a set, or a recording. What it yields depends on nothing else, and its files get
their names once they are whole. A unit that is done again, because a worker died, therefore yields the same and is
counted once. All machines see data, models and folders for results under the same paths.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.data import dataset_from_name
from fcn_edge.data.notes import Notes
from fcn_edge.engines import Engine, EngineOptions, Target, open_engine
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError, first_line
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.metrics import scores_from_confusion
from fcn_edge.outputs import require_apart
from fcn_edge.progress import SILENT, Progress
from fcn_edge.streaming.pipeline import Feed, run_part
from fcn_edge.streaming.sinks import SinkOptions, numbered, paths_of_sinks, sinks_of_sources
from fcn_edge.streaming.sources import none_readable, source_from_uri
from fcn_edge.streaming.summary import Summary, SummaryPart, summary_from_parts

PART = 16  # images
RETRIES = 5  # of a unit whose worker died
LOOPBACK = "127.0.0.1"
BEYOND_THIS_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray asks this on every system, once, at its import


def evaluate_on_ray(
    model: Path,
    data: str,
    *,
    target: Target,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    progress: Progress = SILENT,
) -> Evaluation:
    """What `evaluate` gives for the whole set, computed by the workers of a Ray cluster.

    RAY_ADDRESS names the cluster; without it one of this machine's cores is started and stopped again.

    Raises BackendMissing without Ray or where its cluster is not there, and what `evaluate` raises.
    """
    labelled = dataset_from_name(data)
    total = len(labelled.items)
    starts = range(0, total, PART)
    found: dict[int, Evaluation] = {}
    task = functools.partial(_evaluated, str(model.resolve()), target, options, data)
    with closing(_done_on_ray(task, starts)) as done:
        for number, part in done:
            found[number] = part
            progress.update("evaluating", sum(len(each.images) for each in found.values()), total)
    whole = joined([found[number] for number in range(len(starts))])
    if not whole.images:
        raise none_readable(labelled.name, total, whole.skipped[0])
    return whole


def _evaluated(model: str, target: Target, options: EngineOptions, data: str, start: int) -> Evaluation:
    """In a worker: the images from `start` on."""
    whole = dataset_from_name(data)
    items = [whole.items[index] for index in range(start, min(start + PART, len(whole.items)))]
    return evaluate(_engine(model, target, options), replace(whole, items=items), may_be_empty=True)


@functools.lru_cache(maxsize=1)
def _engine(model: str, target: Target, options: EngineOptions) -> Engine:
    """Opened once a worker, and open as long as it lives."""
    return open_engine(Path(model), target=target, options=options)


def joined(parts: list[Evaluation]) -> Evaluation:
    """The evaluation of a set from those of its parts, in their order."""
    confusion = np.sum([part.confusion for part in parts], axis=0)
    predicted = np.sum([part.predicted for part in parts], axis=0)
    notes = Notes()
    for part in parts:
        notes.merge(part.notes)
    return Evaluation(
        scores_from_confusion(confusion),
        tuple(image for part in parts for image in part.images),
        tuple(times for part in parts for times in part.times),
        confusion,
        tuple(text for part in parts for text in part.skipped),
        ignored=sum(part.ignored for part in parts),
        predicted=tuple(predicted.tolist()),
        pairs=tuple(pair for part in parts for pair in part.pairs),
        notes=notes,
    )


def run_on_ray(
    model: Path,
    recordings: Sequence[str],
    sinks: Sequence[str],
    *,
    target: Target,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    drawn: SinkOptions = SinkOptions(),  # noqa: B008 - frozen
    limit: int | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """What `run_feeds` does with several recordings, each segmented by one worker of a Ray cluster (`evaluate_on_ray`).

    Their files are named as `sinks_of_sources` names them. A recording whose worker died is begun again, and its
    files are written over. Ctrl-C ends the run: what recordings in flight had written stays, and the summary leaves
    them out.

    Raises BackendMissing without Ray or where its cluster is not there, and what `run_feeds` raises.
    """
    total = len(recordings)
    units = [
        (uri, [numbered(sink, number) if total > 1 else sink for sink in sinks])
        for number, uri in enumerate(recordings)
    ]
    require_apart(paths_of_sinks(sinks, total), [*drawn.read, *recordings])
    found: dict[int, SummaryPart] = {}
    interrupted = False
    task = functools.partial(_segmented, str(model.resolve()), target, options, drawn, limit)
    began = time.monotonic()
    try:
        with closing(_done_on_ray(task, units, cores=options.threads or 1)) as done:
            for number, part in done:
                found[number] = part
                progress.update("videos", len(found), total)
    except KeyboardInterrupt:
        if not found:
            raise
        interrupted = True
    parts = [found[number] for number in sorted(found)]
    return summary_from_parts(parts, seconds=time.monotonic() - began, interrupted=interrupted)


def _segmented(
    model: str,
    target: Target,
    options: EngineOptions,
    drawn: SinkOptions,
    limit: int | None,
    unit: tuple[str, Sequence[str]],
) -> SummaryPart:
    """In a worker: one recording into its own sinks."""
    uri, sinks = unit
    with ExitStack() as ends:
        engine = ends.enter_context(open_engine(Path(model), target=target, options=options))
        source = ends.enter_context(source_from_uri(uri))
        own = sinks_of_sources(sinks, engine, [source], ends, options=drawn)[0]
        style = replace(drawn.style, overlay=any(sink.needs_overlay for sink in own))
        return run_part([Feed(source, own, "every")], engine, style=style, limit=limit)


def _done_on_ray(
    task: Callable[[Any], Any], units: Sequence[Any], *, cores: int = 1
) -> Generator[tuple[int, Any], None, None]:
    """(number, what `task` gives) of each unit, as they get ready; each task asks for so many cores."""
    if find_spec("ray") is None:
        raise BackendMissing("`cluster=\"ray\"`: Ray is not installed (pip install 'fcn-edge[cluster]')")
    with _cluster() as ray:
        most = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes())  # more would be waited for without end
        work = ray.remote(max_retries=RETRIES, num_cpus=min(cores, most))(_worked)
        running = {work.remote(task, os.getcwd(), unit): number for number, unit in enumerate(units)}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            yield running.pop(ready[0]), _result_of(ray, ready[0])


def _worked(task: Callable[[Any], Any], folder: str, unit: Any) -> Any:
    """In a worker, whose relative paths begin where the caller's do."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise BadInput(f'`cluster="ray"`: {folder} is not there on every machine ({error.strerror})') from error
    return task(unit)


def _result_of(ray: Any, reference: Any) -> Any:
    """Raises what the worker raised, where it is an error of ours."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), FcnEdgeError):
            raise cause from error
        raise BackendMissing(f'`cluster="ray"`: a part of the work could not be done ({first_line(error)})') from error


@contextmanager
def _cluster() -> Iterator[Any]:
    """The Ray package, connected, without usage reports; a cluster started here listens on this machine only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.getsignal(signal.SIGTERM)
    address = os.environ.get("RAY_ADDRESS")
    if not address:  # Ray takes no LOOPBACK otherwise, and listens on all interfaces
        os.environ[BEYOND_THIS_MACHINE] = "0"
    import ray

    own: dict[str, Any] = {} if address else {"_node_ip_address": LOOPBACK, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises plain ones too
        raise BackendMissing(f'`cluster="ray"`: not reached or not started ({first_line(error)})') from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # Ray puts its own there
    try:
        yield ray
    finally:
        ray.shutdown()
