"""What a training leaves behind beside its weights: a record, and its curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import whole_file, write_json
from fcn_edge.outputs import MARK
from fcn_edge.registry import Recipe
from fcn_edge.schema import to_mapping

SCHEMA = 1


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. epoch: from 1. miou: on the validation set, 0..1; None without one."""

    epoch: int
    epochs: int
    loss: float
    miou: float | None
    best_miou: float | None
    seconds: float

    def __str__(self) -> str:
        score = "" if self.miou is None else f"mIoU {100 * self.miou:.1f} (best {100 * (self.best_miou or 0):.1f})  "
        return f"epoch {self.epoch}/{self.epochs}  loss {self.loss:.4g}  {score}{self.seconds:.0f} s"


@dataclass(frozen=True)
class TrainingRecord:
    """How a checkpoint was trained. data, validation, supplement, backgrounds: names of the sets.

    images: of the training set. start: name of the checkpoint it began with, whose `layers_from_start` it took.
    changes: of the network before training, each with its facts. torch: version.
    """

    recipe: Recipe
    data: str
    images: int
    validation: str | None
    supplement: str | None
    backgrounds: tuple[str, ...]
    start: str | None
    layers_from_start: tuple[str, ...]
    best_miou: float | None
    epochs: tuple[EpochReport, ...]
    torch: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `out.record.json` holds."""
        values = {"schema": SCHEMA, **to_mapping(self)}
        return {**values, **values.pop("changes")}


@dataclass(frozen=True)
class Trained:
    """A finished training. resumed_after: epochs that earlier calls had finished."""

    checkpoint: Path
    record: TrainingRecord
    resumed_after: int


def files_of_training(out: Path) -> tuple[Path, ...]:
    """What a training writes under the name `out`, its state left out."""
    return out, out.with_name(f"{out.name}.record.json"), out.with_name(f"{out.name}.record.png")


def write_record(record: TrainingRecord, out: Path) -> None:
    """Write `out.record.json` and, where matplotlib is installed, `out.record.png`."""
    _, facts, curves = files_of_training(out)
    write_json(facts, record.to_json())
    if find_spec("matplotlib") is not None:
        _draw_curves(record, curves)


def _draw_curves(record: TrainingRecord, path: Path) -> None:
    """Loss and, where there is a validation set, its mIoU by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    epochs = record.epochs
    numbers = [entry.epoch for entry in epochs]
    figure, losses = pyplot.subplots(figsize=(8, 4.5), dpi=120)
    losses.plot(numbers, [entry.loss for entry in epochs], color="tab:gray", marker=".", label="loss (training)")
    losses.set(xlabel="epoch", ylabel="loss", title=record.recipe.title or record.recipe.name)
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    losses.set_ylim(bottom=0)
    lines = list(losses.lines)
    if record.validation:
        points = losses.twinx()
        mious = [100 * (entry.miou or 0.0) for entry in epochs]
        points.plot(numbers, mious, color="tab:blue", marker=".", label=f"mIoU ({record.validation})")
        points.set_ylabel("mIoU, points")
        lines += points.lines
    losses.grid(alpha=0.3)
    losses.legend(handles=lines, loc="center right")
    figure.tight_layout()
    with whole_file(path) as part:
        figure.savefig(part, format="png", metadata={"Comment": MARK})
    pyplot.close(figure)
