"""Evaluate data sets and segment recordings on many processes or machines with Ray, with identical results.

The unit of work is a range of images of a data set, or a recording. Its result depends on nothing else, and its files
are renamed when they are complete. So a unit that is repeated because its worker died gives the same result and is
counted once. All machines need data, models and result folders under the same paths.
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
BEYOND_THIS_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray reads it on every system, once, at import


def evaluate_on_ray(
    model: Path,
    data: str,
    *,
    target: Target,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    progress: Progress = SILENT,
) -> Evaluation:
    """As `evaluate` for the complete data set, computed by the workers of a Ray cluster.

    RAY_ADDRESS is the address of the cluster; without it a cluster on this machine is started and stopped.

    Raises BackendMissing without Ray or if the cluster cannot be reached, and what `evaluate` raises.
    """
    labelled = dataset_from_name(data)
    total = len(labelled.items)
    starts = range(0, total, PART)
    by_number: dict[int, Evaluation] = {}
    task = functools.partial(_evaluated, str(model.resolve()), target, options, data)
    with closing(_done_on_ray(task, starts)) as done:
        for number, part in done:
            by_number[number] = part
            progress.update("evaluating", sum(len(each.images) for each in by_number.values()), total)
    whole = joined([by_number[number] for number in range(len(starts))])
    if not whole.images:
        raise none_readable(labelled.name, total, whole.skipped[0])
    return whole


def _evaluated(model: str, target: Target, options: EngineOptions, data: str, start: int) -> Evaluation:
    """In a worker: evaluate the images from `start` on."""
    whole = dataset_from_name(data)
    items = [whole.items[index] for index in range(start, min(start + PART, len(whole.items)))]
    return evaluate(_engine(model, target, options), replace(whole, items=items), may_be_empty=True)


@functools.lru_cache(maxsize=1)
def _engine(model: str, target: Target, options: EngineOptions) -> Engine:
    """Opened once per worker process."""
    return open_engine(Path(model), target=target, options=options)


def joined(parts: list[Evaluation]) -> Evaluation:
    """The evaluation of a data set from those of its parts, in order."""
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
    """As `run_feeds` for several recordings, each segmented by one worker of a Ray cluster (`evaluate_on_ray`).

    Their files are named as `sinks_of_sources` names them. A recording whose worker died is restarted, and its
    files are overwritten. Ctrl-C ends the run: unfinished recordings keep what was written, but are not in the summary.

    Raises BackendMissing without Ray or if the cluster cannot be reached, and what `run_feeds` raises.
    """
    total = len(recordings)
    units = [
        (uri, [numbered(sink, number) if total > 1 else sink for sink in sinks])
        for number, uri in enumerate(recordings)
    ]
    require_apart(paths_of_sinks(sinks, total), [*drawn.read, *recordings])
    by_number: dict[int, SummaryPart] = {}
    interrupted = False
    task = functools.partial(_segmented, str(model.resolve()), target, options, drawn, limit)
    began = time.monotonic()
    try:
        with closing(_done_on_ray(task, units, cores=options.threads or 1)) as done:
            for number, part in done:
                by_number[number] = part
                progress.update("videos", len(by_number), total)
    except KeyboardInterrupt:
        if not by_number:
            raise
        interrupted = True
    parts = [by_number[number] for number in sorted(by_number)]
    return summary_from_parts(parts, seconds=time.monotonic() - began, interrupted=interrupted)


def _segmented(
    model: str,
    target: Target,
    options: EngineOptions,
    drawn: SinkOptions,
    limit: int | None,
    unit: tuple[str, Sequence[str]],
) -> SummaryPart:
    """In a worker: segment one recording into its own sinks."""
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
    """(number, result of `task`) of each unit, as they finish; each task reserves `cores` cores."""
    if find_spec("ray") is None:
        raise BackendMissing("`cluster=\"ray\"`: Ray is not installed (pip install 'fcn-edge[cluster]')")
    with _cluster() as ray:
        # A request for more would wait forever.
        most = max(int(node["Resources"].get("CPU", 1)) for node in ray.nodes())
        work = ray.remote(max_retries=RETRIES, num_cpus=min(cores, most))(_worked)
        running = {work.remote(task, os.getcwd(), unit): number for number, unit in enumerate(units)}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            yield running.pop(ready[0]), _result_of(ray, ready[0])


def _worked(task: Callable[[Any], Any], folder: str, unit: Any) -> Any:
    """Run in a worker, in the caller's working directory."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise BadInput(f'`cluster="ray"`: {folder} does not exist on every machine ({error.strerror})') from error
    return task(unit)


def _result_of(ray: Any, reference: Any) -> Any:
    """Raises the worker's error if it is an FcnEdgeError."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), FcnEdgeError):
            raise cause from error
        raise BackendMissing(f'`cluster="ray"`: a task failed ({first_line(error)})') from error


@contextmanager
def _cluster() -> Iterator[Any]:
    """The Ray package, connected. Usage statistics are off, and a local cluster listens on this machine only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.getsignal(signal.SIGTERM)
    address = os.environ.get("RAY_ADDRESS")
    if not address:  # otherwise Ray ignores LOOPBACK and listens on all interfaces
        os.environ[BEYOND_THIS_MACHINE] = "0"
    import ray

    own: dict[str, Any] = {} if address else {"_node_ip_address": LOOPBACK, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray also raises plain exceptions
        raise BackendMissing(f'`cluster="ray"`: cannot reach or start the cluster ({first_line(error)})') from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # Ray installs its own handler
    try:
        yield ray
    finally:
        ray.shutdown()
