"""Accuracy of a build: mIoU of a file and of the fp32 file that it was made from, on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcn_edge.calibration.images import spread_indices
from fcn_edge.data import Dataset
from fcn_edge.engines import EngineOptions, Target, engine_on_target
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.intervals import difference_from_images
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import NamedTask, Progress


@dataclass(frozen=True)
class Accuracy:
    """mIoU of the file and of fp32 on the same target; interval: of the drop, in points; None where not measured.

    warnings: of the labels that it was measured with.
    """

    miou: float | None
    reference: float | None
    interval: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def drop(self) -> float | None:
        """Points of mIoU lost against fp32 on the same target; None where not measured."""
        return None if self.miou is None or self.reference is None else 100 * (self.reference - self.miou)


def measured_accuracy(
    fp32: OnnxModel,
    file: OnnxModel,
    data: Dataset,
    *,
    target: Target,
    options: EngineOptions,
    precision: str,
    budget: float | None,
    progress: Progress,
) -> Accuracy:
    """Evaluate `file`, and the fp32 file that it was made from where it is another. budget: in points of mIoU.

    Raises:
        CheckFailed: more than the budget is lost.
    """

    def evaluated(model: OnnxModel, label: str, chosen: EngineOptions) -> Evaluation:
        progress.note(f"evaluating {label} on {data.name}")
        with engine_on_target(model, target, chosen) as engine:
            found = evaluate(engine, data, progress=NamedTask(progress, label))
        for text in found.skipped:
            progress.note(f"skipped: {text}")
        return found

    reached = evaluated(file, precision, options)
    for line in data.notes.lines:
        progress.note(f"{data.name}: {line}")
    warnings = tuple(f"{data.name}: {text}" for text in reached.warnings)
    if fp32.precision != "fp32":
        return Accuracy(reached.scores.miou, None, warnings=warnings)
    if precision == "fp32":
        return Accuracy(reached.scores.miou, reached.scores.miou, warnings=warnings)
    reference = evaluated(fp32, "fp32", EngineOptions("f32", options.threads))
    between = difference_from_images(reference.images, reached.images, len(data.classes)).intervals.miou
    interval = None if between is None else (100 * between[0], 100 * between[1])
    accuracy = Accuracy(reached.scores.miou, reference.scores.miou, interval, warnings)
    if budget is not None and (accuracy.drop is None or accuracy.drop > budget):
        lost = "an unknown amount" if accuracy.drop is None else f"{accuracy.drop:.2f} points"
        raise CheckFailed(
            f"{precision} loses {lost} of mIoU on {data.name}; the budget is {budget:g}. No engine was written"
        )
    return accuracy


def readable_images(scenes: Dataset, count: int) -> list[np.ndarray]:
    """At most `count` images of the set, evenly spread, (H, W, 3) uint8 BGR, without those that do not decode.

    Raises BadInput where none decodes.
    """
    images, reasons = [], []
    for index in spread_indices(len(scenes.items), count):
        try:
            images.append(scenes.items[index].image())
        except BadInput as error:
            reasons.append(error)
    if not images:
        raise reasons[0]
    return images
