"""What same padding costs a network that was trained with a border of 100: both on the same labelled images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from fcn_edge.data import Dataset
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import Evaluation, evaluate_engine
from fcn_edge.exporting import Exported, ExportOptions, onnx_from_checkpoint
from fcn_edge.intervals import difference_from_images
from fcn_edge.registry import Recipe


@dataclass(frozen=True)
class PaddingPrice:
    """Mean IU, fractions, and the paired interval of their difference; None where the images are too few."""

    miou: float
    miou_original: float
    difference: float
    interval: tuple[float, float] | None
    images: int
    data: str


def same_padding_from_checkpoint(
    checkpoint: Path,
    out: Path,
    data: Dataset,
    *,
    options: ExportOptions,
    recipe: Recipe | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Exported, PaddingPrice]:
    """Export with same padding, and once more as it is to a place of its own, and evaluate both on `data`.

    on_image: (images done, of how many), both files counted. Raises BadInput as `onnx_from_checkpoint` and
    `evaluate_engine` do, and for a file without contract, which no engine takes as it is.
    """
    if options.io == "plain":
        raise BadInput(
            "--io plain leaves the contract out, by which frames are fed: give --data to the contract's file"
        )
    options = replace(options, same_padding=True)
    made = onnx_from_checkpoint(checkpoint, out, options=options, recipe=recipe)
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        original = Path(scratch) / "original.onnx"
        onnx_from_checkpoint(checkpoint, original, options=replace(options, same_padding=False), recipe=recipe)
        runs = []
        for number, path in enumerate((out, original)):

            def done(count: int, total: int, number: int = number) -> None:
                on_image(number * total + count, 2 * total)

            with open_engine(path) as engine:
                runs.append(evaluate_engine(engine, data, on_image=done))
    ours, theirs = runs
    difference = difference_from_images(ours.images, theirs.images, len(data.classes))
    miou, miou_original = _miou(ours, data), _miou(theirs, data)
    price = PaddingPrice(
        miou, miou_original, miou - miou_original, difference.intervals.miou, len(ours.images), data.name
    )
    return made, price


def _miou(run: Evaluation, data: Dataset) -> float:
    if run.scores.miou is None:
        raise BadInput(f"{data.name}: no pixel has a label, so there is no mean IU to compare; choose other images")
    return run.scores.miou
