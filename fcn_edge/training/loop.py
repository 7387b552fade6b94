"""One run of training: network, moving average, optimiser and schedule, and the state that survives a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fcn_edge.atomic_io import whole_file
from fcn_edge.errors import BadInput
from fcn_edge.models.fcn import Segmenter
from fcn_edge.progress import Progress
from fcn_edge.registry import TrainRecipe
from fcn_edge.training.batches import Batch, prefetched

AUXILIARY_WEIGHT = 0.5  # of an auxiliary head's loss, as torchvision trains its FCN


class TrainingRun:
    """State of a run. `network` is trained; `kept` is what is validated and saved: it, or its moving average.

    per_epoch: steps of an epoch. state: the file that carries the run over a kill. fingerprint:
    of recipe and data, so that no run goes on from another's state.
    """

    def __init__(
        self, network: Segmenter, settings: TrainRecipe, per_epoch: int, state: Path, fingerprint: str
    ) -> None:
        self.network, self.settings, self.state_path, self.fingerprint = network, settings, state, fingerprint
        self.steps, self.best, self.history = per_epoch, 0.0, list[Any]()
        self.class_weights: Tensor | None = None
        self.average = None
        if settings.average:
            blend = get_ema_multi_avg_fn(settings.average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
        groups = _parameter_groups(network, settings)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            [float(group["lr"]) for group in groups],
            total_steps=settings.epochs * per_epoch + 1,
            pct_start=settings.warm_up,
        )

    @property
    def kept(self) -> Segmenter:
        """The weights that count."""
        if self.average is None:
            return self.network
        return cast("Segmenter", self.average.module)  # declared as any Module; it is a copy of `network`

    def save(self, epoch: int) -> None:
        """Write the state after `epoch` epochs, whole or not at all."""
        state = {
            "epoch": epoch,
            "best": self.best,
            "fingerprint": self.fingerprint,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        with whole_file(self.state_path, replaces=True) as part:  # `resume` has looked at it
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
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["torch_rng"])
        self.best, self.history = state["best"], state["history"]
        return int(state["epoch"])

    def train_epoch(self, epoch: int, batches: Iterator[Batch], ignore: int, progress: Progress) -> float:
        """One pass over `batches`; the mean loss. Raises BadInput where the loss is not finite."""
        self.network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        total = 0.0
        for step, (images, labels) in enumerate(prefetched(batches)):
            loss = self._loss(images, labels, ignore)
            value = float(loss.detach())
            if not np.isfinite(value):
                raise BadInput(
                    f"the loss is {value} in epoch {epoch + 1}, step {step + 1}: lower learning_rate in the recipe"
                    f" and start anew without {self.state_path.name}; the best checkpoint so far, if any, is kept"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            total += value
            progress.update(f"epoch {epoch + 1}", step + 1, self.steps)
        return total / max(1, self.steps)

    def _loss(self, images: np.ndarray, labels: np.ndarray, ignore: int) -> Tensor:
        x = torch.from_numpy(images).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.precision == "bf16"):
            logits, *auxiliary = self.network.training_logits(x)
        y = torch.from_numpy(labels)
        loss = self._head_loss(logits, y, ignore)
        for extra in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self._head_loss(extra, y, ignore)
        return loss

    def _head_loss(self, logits: Tensor, labels: Tensor, ignore: int) -> Tensor:
        log_shares = functional.log_softmax(logits.float(), 1)
        loss = functional.nll_loss(log_shares, labels, self.class_weights, ignore_index=ignore)
        if self.settings.jaccard:
            loss = loss + self.settings.jaccard * (1 - soft_mean_iu(log_shares.exp(), labels, ignore))
        return loss


def soft_mean_iu(shares: Tensor, labels: Tensor, ignore: int) -> Tensor:
    """Mean IU of class probabilities (N, C, H, W) against labels (N, H, W), over the classes among the labels.

    The probabilities take the place of predictions, so that it has a gradient.
    Source: Rahman, Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation", ISVC 2016.
    """
    classes = shares.shape[1]
    known = labels != ignore
    targets = torch.where(known, labels, 0)
    right = shares.gather(1, targets[:, None])[:, 0] * known
    hits = torch.zeros(classes, dtype=shares.dtype).index_add(0, targets.flatten(), right.flatten())
    labelled = torch.bincount(targets.flatten(), known.flatten().to(shares.dtype), minlength=classes)
    union = torch.einsum("nchw,nhw->c", shares, known.to(shares.dtype)) + labelled - hits
    present = labelled > 0
    return (hits[present] / union[present]).mean()


def _parameter_groups(network: Segmenter, settings: TrainRecipe) -> list[dict[str, Any]]:
    """Pretrained layers at their own rate; no decay on biases and batch norms."""
    groups = []
    for is_backbone in (False, True):
        rate = settings.learning_rate * (settings.backbone_rate if is_backbone else 1.0)
        for is_decayed in (True, False):
            chosen = [
                weight
                for name, weight in network.named_parameters()
                if weight.requires_grad
                and name.startswith("backbone.") == is_backbone
                and (weight.ndim > 1) == is_decayed
            ]
            decay = settings.weight_decay if is_decayed else 0.0
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return [group for group in groups if group["params"]]
