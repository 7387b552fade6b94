"""What same padding changes in a network that was trained with a border of 100: both on the same labelled images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fcn_edge.data import Dataset
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.exporting.checkpoints import GraphOptions, onnx_from_checkpoint
from fcn_edge.intervals import difference_from_images
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import NamedTask, Progress
from fcn_edge.registry import Recipe


@dataclass(frozen=True)
class PaddingEffect:
    """mIoU, fractions, and the paired interval of their difference; None where the images are too few."""

    miou: float
    miou_original: float
    difference: float
    interval: tuple[float, float] | None
    images: int
    data: str


def effect_of_padding(
    padded: OnnxModel,
    checkpoint: Path,
    data: Dataset,
    *,
    options: GraphOptions,
    recipe: Recipe | None,
    progress: Progress,
) -> PaddingEffect:
    """Evaluate `padded`, which was exported with `options`, and the checkpoint's original padding on `data`.

    Raises BadInput as `onnx_from_checkpoint` and `evaluate` do, and for a file without contract, which no
    engine takes as it is.
    """
    if options.io == "plain":
        raise BadInput("`io` plain leaves the contract out, by which frames are fed: evaluate the contract's file")
    original, _ = onnx_from_checkpoint(checkpoint, options=replace(options, same_padding=False), recipe=recipe)
    runs = []
    for part, model in enumerate((padded, original)):
        with open_engine(model) as engine:
            task = NamedTask(progress, "evaluating both", part=part, parts=2)
            runs.append(evaluate(engine, data, progress=task))
    ours, theirs = runs
    difference = difference_from_images(ours.images, theirs.images, len(data.classes))
    miou, miou_original = _miou(ours, data), _miou(theirs, data)
    return PaddingEffect(
        miou, miou_original, miou - miou_original, difference.intervals.miou, len(ours.images), data.name
    )


def _miou(run: Evaluation, data: Dataset) -> float:
    if run.scores.miou is None:
        raise BadInput(f"{data.name}: no pixel has a label, so there is no mIoU to compare; choose other images")
    return run.scores.miou
