"""Trainings of the tests: the recipe, from random weights, watched, and the record as it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe, TrainRecipe
from fcn_edge.training import train

SAME_WEIGHTS = 1e-5  # sums in another order, where threads share the work otherwise
PLAN = TrainRecipe(epochs=2, batch=4, crop=(64, 96), learning_rate=1e-3, class_balance=0.25, seed=1)
RECIPE = Recipe(
    "tiny",
    NetworkRecipe("efficientnet_lite0", "camvid"),
    InputRecipe(64, 96, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    PLAN,
    "drawn by us",
)


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it, and nothing is written after it."""


class Watched:
    """Calls `on_step` with (task, done, total) and `on_epoch` with the line of a finished epoch."""

    def __init__(self, on_epoch: Callable[[str], object], on_step: Callable[[str, int, int | None], object]) -> None:
        self._on_epoch, self._on_step = on_epoch, on_step

    def update(self, task: str, done: int, total: int | None = None) -> None:
        self._on_step(task, done, total)

    def note(self, text: str) -> None:
        if text.startswith("epoch "):
            self._on_epoch(text)


def train_network(
    recipe: Recipe,
    out: Path,
    *,
    on_epoch: Callable[[str], object] = lambda line: None,
    on_step: Callable[[str, int, int | None], object] = lambda task, done, total: None,
    **given: Any,
) -> dict[str, Any]:
    """What `train` writes to `out.record.json`."""
    trained = train(recipe, out=out, **{"backbone": None, **given}, progress=Watched(on_epoch, on_step))
    return trained.record.to_json()


def weights_of(checkpoint: Path) -> dict[str, Any]:
    """The tensors of a checkpoint's network."""
    from fcn_edge.models.checkpoint import checkpoint_from_file

    return checkpoint_from_file(checkpoint).network.state_dict()


def state_of(out: Path) -> dict[str, Any]:
    """What the run that writes `out` would go on from."""
    import torch

    return torch.load(str(out.with_name(out.name + ".state")), weights_only=True)
