"""A labelled archive evaluated by many processes or machines through Ray, with the same result bit for bit.

The unit of work is a run of images, named by their indices, and what it yields is each image's confusion matrix. A
unit that is done twice, because a worker died, therefore yields the same and is counted once. All machines see the
data and the model under the same paths.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.data import dataset_from_name
from fcn_edge.engines import Engine, EngineOptions, Target, open_engine
from fcn_edge.errors import BackendMissing, FcnEdgeError, first_line
from fcn_edge.evaluate import Evaluation, evaluate_engine
from fcn_edge.metrics import scores_from_confusion

PART = 16  # images
RETRIES = 5  # of a unit whose worker died
LOOPBACK = "127.0.0.1"


def evaluate_on_ray(
    model: Path,
    data: str,
    *,
    target: Target,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """What `evaluate_engine` gives for the whole set, computed by the workers of a Ray cluster.

    RAY_ADDRESS names the cluster; without it one of this machine's cores is started and stopped again.

    Raises BackendMissing without Ray or where its cluster is not there, and what `evaluate_engine` raises.
    """
    if find_spec("ray") is None:
        raise BackendMissing("--cluster ray: Ray is not installed (pip install 'fcn-edge[cluster]')")
    total = len(dataset_from_name(data).items)
    starts = range(0, total, PART)
    found: dict[int, Evaluation] = {}
    with _cluster() as ray:
        work = ray.remote(max_retries=RETRIES, num_cpus=1)(_evaluated)
        running = {work.remote(str(model.resolve()), target, options, data, start): start for start in starts}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            found[running.pop(ready[0])] = _result_of(ray, ready[0])
            on_image(sum(len(each.images) for each in found.values()), total)
    return _joined([found[start] for start in starts])


def _evaluated(model: str, target: Target, options: EngineOptions, data: str, start: int) -> Evaluation:
    """In a worker: the images from `start` on."""
    whole = dataset_from_name(data)
    items = [whole.items[index] for index in range(start, min(start + PART, len(whole.items)))]
    return evaluate_engine(_engine(model, target, options), replace(whole, items=items))


@functools.lru_cache(maxsize=1)
def _engine(model: str, target: Target, options: EngineOptions) -> Engine:
    """Opened once a worker, and open as long as it lives."""
    return open_engine(Path(model), target=target, options=options)


def _joined(parts: list[Evaluation]) -> Evaluation:
    confusion = np.sum([part.confusion for part in parts], axis=0)
    return Evaluation(
        scores_from_confusion(confusion),
        tuple(image for part in parts for image in part.images),
        tuple(times for part in parts for times in part.times),
        confusion,
        tuple(text for part in parts for text in part.skipped),
    )


def _result_of(ray: Any, reference: Any) -> Evaluation:
    """Raises what the worker raised, where it is an error of ours."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), FcnEdgeError):
            raise cause from error
        raise BackendMissing(f"--cluster ray: a part of the set could not be done ({first_line(error)})") from error


@contextmanager
def _cluster() -> Iterator[Any]:
    """The Ray package, connected; it tells nobody of its use, and one of our own listens on this machine only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.getsignal(signal.SIGTERM)
    import ray

    address = os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if address else {"_node_ip_address": LOOPBACK, "include_dashboard": False}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises plain ones too
        raise BackendMissing(f"--cluster ray: not reached or not started ({first_line(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # Ray leaves its own there
