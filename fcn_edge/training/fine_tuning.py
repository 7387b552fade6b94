"""One training from its first check to its last epoch.

An epoch is a function of (seed, epoch): its order, crops and colours are drawn from a
generator of its own, so a run that was killed goes on from the last whole epoch.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fcn_edge.atomic_io import sha256_of_file, sha256_of_json
from fcn_edge.data import Dataset, class_set
from fcn_edge.errors import BadInput
from fcn_edge.models.checkpoint import header_from_recipe, network_from_recipe, save_checkpoint
from fcn_edge.models.fcn import Segmenter
from fcn_edge.outputs import require_outputs
from fcn_edge.progress import Progress
from fcn_edge.registry import Recipe
from fcn_edge.schema import from_mapping, to_mapping
from fcn_edge.streaming.sinks.base import require_writable
from fcn_edge.training.batches import EpochBatches, balance_weights
from fcn_edge.training.loop import TrainingRun
from fcn_edge.training.record import EpochReport, Trained, TrainingRecord, files_of_training, write_record
from fcn_edge.training.settings import require_settings
from fcn_edge.training.starting_weights import layers_from_checkpoint, load_backbone
from fcn_edge.training.validation import validation_miou

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


@dataclass(frozen=True)
class TrainingData:
    """The sets of one training; see `fcn_edge.training.train`."""

    images: Dataset
    val: Dataset | None = None
    supplement: Dataset | None = None
    backgrounds: tuple[Dataset, ...] = ()


@dataclass(frozen=True)
class NetworkChange:
    """A change of the network that training begins with. name: its key in the record, which holds `facts`.

    apply: makes the change, in place. key: tells this change from others; training goes on only with the same one.
    """

    name: str
    key: str
    apply: Callable[[Segmenter], None]
    facts: Mapping[str, Any]


def fine_tune(
    recipe: Recipe,
    out: Path,
    data: TrainingData,
    *,
    backbone: Path | None,
    start: Path | None,
    change: NetworkChange | None,
    progress: Progress,
) -> Trained:
    """As `fcn_edge.training.train`, of what is open already. backbone: a file of ImageNet weights."""
    settings = require_settings(recipe)
    state = _state_of(out, [start, backbone])
    _check_recipe_classes(recipe, data.images)
    for other in (data.val, data.supplement):
        _check_classes(data.images, other)
    require_writable(out.parent)
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    network = network_from_recipe(recipe.network, len(data.images.classes))
    if backbone is not None:
        load_backbone(network, recipe, backbone)
    taken = [] if start is None else layers_from_checkpoint(network, data.images.classes, start)
    if change is not None:
        change.apply(network)
    batches = EpochBatches(recipe, data.images, data.supplement, data.backgrounds)
    key = [change.key] if change else []
    origin = [recipe, data.images, data.supplement, data.val, start, *data.backgrounds, *key]
    run = TrainingRun(network, settings, batches.per_epoch, state, _fingerprint(origin))
    weights = balance_weights(batches.frequency, settings.class_balance)
    run.class_weights = None if weights is None else torch.from_numpy(weights)
    done = run.resume()
    if done and not out.is_file():
        raise BadInput(f"{run.state_path}: {done} epochs are done, but {out} is gone; delete the state to start anew")
    record = TrainingRecord(
        recipe=recipe,
        data=data.images.name,
        images=len(data.images.items),
        validation=data.val.name if data.val else None,
        supplement=data.supplement.name if data.supplement else None,
        backgrounds=tuple(each.name for each in data.backgrounds),
        start=start.name if start else None,
        layers_from_start=tuple(taken),
        best_miou=run.best if data.val else None,
        epochs=tuple(from_mapping(EpochReport, entry, str(state)) for entry in run.history),
        torch=torch.__version__,
        changes={} if change is None else {change.name: dict(change.facts)},
    )
    header = header_from_recipe(recipe, data.images.classes, data.images.palette, data.images.ignore_index)
    for epoch in range(done, settings.epochs):
        started = time.monotonic()
        loss = run.train_epoch(epoch, batches.epoch(epoch), data.images.ignore_index, progress)
        miou = validation_miou(run.kept, header, data.val) if data.val else None
        if miou is None or miou >= run.best:
            run.best = miou or 0.0
            save_checkpoint(out, run.kept, header)
        best = run.best if data.val else None
        report = EpochReport(epoch + 1, settings.epochs, loss, miou, best, time.monotonic() - started)
        run.history.append(to_mapping(report))
        run.save(epoch + 1)
        record = replace(record, best_miou=best, epochs=(*record.epochs, report))
        write_record(record, out)
        progress.note(str(report))
    return Trained(out, record, resumed_after=done)


def _state_of(out: Path, inputs: list[Path | None]) -> Path:
    """The file that training goes on from. Raises BadInput where `out` is an input, or no checkpoint of this run."""
    require_outputs(files_of_training(out), inputs)
    state = out.with_name(f"{out.name}.state")
    if out.is_file() and out.stat().st_size and not state.is_file():
        raise BadInput(
            f"{out}: exists, and {state.name}, which its training could go on from, does not;"
            " move it away, or choose another name"
        )
    return state


def _check_recipe_classes(recipe: Recipe, data: Dataset) -> None:
    """A recipe's classes are a public set's, or "data": whatever the data has."""
    name = recipe.network.classes
    if name != "data" and class_set(name).classes != data.classes:
        raise BadInput(
            f"{data.name} has {len(data.classes)} classes, {data.classes[0]} to {data.classes[-1]}; {recipe.name} is"
            f" for {name}'s {len(class_set(name).classes)}. For classes of your own copy the recipe and set"
            ' classes = "data"'
        )


def _check_classes(data: Dataset, other: Dataset | None) -> None:
    if other is not None and data.classes != other.classes:
        raise BadInput(f"{other.name} has other classes than {data.name}: {', '.join(other.classes)}")


def _fingerprint(origin: list[Any]) -> str:
    """Of what makes a run the run it is: recipe, sets by name and size, the checkpoint it starts from."""
    parts = [
        [value.name, len(value.items)]
        if isinstance(value, Dataset)
        else sha256_of_file(value)
        if isinstance(value, Path)
        else value
        if isinstance(value, str)
        else to_mapping(value)
        for value in origin
    ]
    return sha256_of_json(parts)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, in the whole process; other C libraries are left as they are.

    A step allocates its feature maps and frees them. Handed back to the kernel, gigabytes of pages
    are zeroed again in the next step, which took half of the time of FCN-4s on Lite0 in fp32.
    Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)
