"""Trainings of the tests: from random weights, watched, and their record as it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcn_edge.registry import Recipe
from fcn_edge.training import train


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
