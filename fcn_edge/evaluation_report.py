"""What `evaluate` reports: scores of a model with their intervals, and the difference from another model.

The other model is evaluated too, or its scores are read from the JSON of an earlier evaluation or of `bench`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fcn_edge.atomic_io import read_json
from fcn_edge.choices import TargetOrAuto
from fcn_edge.cluster import evaluate_on_ray
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import Engine, EngineOptions, model_path, open_engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.exporting.runnable import runnable_file
from fcn_edge.intervals import LEVEL, difference_from_images, intervals_from_images
from fcn_edge.metrics import ImageScore, Scores, iou_by_name
from fcn_edge.progress import SILENT, NamedTask, Progress
from fcn_edge.schedule import EVERY
from fcn_edge.schema import from_mapping, to_mapping

NAME_KEYS = ("model", "target", "precision", "execution")


@dataclass(frozen=True)
class ScoredModel:
    """A network's scores of a data set, whole and image by image.

    facts: model, target, precision, execution and more, under the keys of a row of a benchmark record.
    """

    facts: dict[str, Any]
    scores: Scores
    images: tuple[ImageScore, ...]
    trimap: Scores | None = None
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as "fcn8s openvino int8 f32"."""
        words = [str(self.facts[key]) for key in NAME_KEYS if key in self.facts]
        return " ".join(words + [when for when in [self.facts.get("schedule")] if when not in (None, EVERY)])


@dataclass(frozen=True)
class EvaluationReport:
    """A model's scores of a data set, and those of the model that it is compared with.

    trimap: how near a boundary the pixels of `scored.trimap` are.
    """

    data: str
    classes: tuple[str, ...]
    scored: ScoredModel
    against: ScoredModel | None = None
    trimap: int | None = None

    def to_mapping(self) -> dict[str, Any]:
        """The object that `evaluate --json` prints.

        Raises:
            BadInput: the two models were not scored on the same images, labels and classes.
        """
        scored, scores = self.scored, self.scored.scores
        intervals = intervals_from_images(scored.images, len(self.classes))
        report = {
            "miou": scores.miou,
            "miou_ci": to_mapping(intervals.miou),
            "pixel_acc": scores.pixel_acc,
            "pixel_acc_ci": to_mapping(intervals.pixel_acc),
            "mean_acc": scores.mean_acc,
            "fw_iou": scores.fw_iou,
            "iou": iou_by_name(scores, self.classes),
            "iou_ci": dict(zip(self.classes, to_mapping(intervals.iou), strict=True)),
            "interval": {"level": LEVEL, "block_length": intervals.block_length, "reason": intervals.reason},
            "images": len(scored.images),
            **scored.facts,
            "data": self.data,
            "skipped": list(scored.skipped),
            "scores": {**to_mapping(scores), "images": to_mapping(scored.images)},
        }
        if scored.trimap is not None:
            near = iou_by_name(scored.trimap, self.classes)
            report["trimap"] = {"pixels": self.trimap, "miou": scored.trimap.miou, "iou": near}
        if self.against is not None:
            report["against"] = _difference(scored, self.against, self.classes)
        return report


def _difference(scored: ScoredModel, other: ScoredModel, classes: tuple[str, ...]) -> dict[str, Any]:
    """The other's scores, and `scored` less these. Raises BadInput where the two are of other images or classes."""
    if len(other.scores.iou) != len(classes):
        raise BadInput(f"{other.name}: scored {len(other.scores.iou)} classes, this run {len(classes)}")
    difference = difference_from_images(scored.images, other.images, len(classes))
    intervals = difference.intervals
    parts = zip(classes, other.scores.iou, difference.iou, intervals.iou, strict=True)
    verdict = "real" if difference.is_real else "not distinguishable"
    return {
        "name": other.name,
        "miou": other.scores.miou,
        "miou_ci": to_mapping(intervals_from_images(other.images, len(classes)).miou),
        "difference": difference.miou,
        "difference_ci": to_mapping(intervals.miou),
        "probability_better": difference.probability_better,
        "verdict": "undecidable" if intervals.miou is None else verdict,
        "pixel_acc": {"difference": difference.pixel_acc, "difference_ci": to_mapping(intervals.pixel_acc)},
        "classes": {
            name: {"iou": iou, "difference": value, "difference_ci": to_mapping(ci)} for name, iou, value, ci in parts
        },
    }


def evaluation_report(
    model: str | Path | None = None,
    *,
    data: str,
    against: str | None = None,
    target: TargetOrAuto = "auto",
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    spec: Path | None = None,
    recipe: str | None = None,
    limit: int | None = None,
    trimap: int | None = None,
    cluster: Literal["ray"] | None = None,
    progress: Progress = SILENT,
) -> EvaluationReport:
    """Evaluate a model, and the one that it is compared with, on a labelled data set.

    Args:
        model: a checkpoint, ONNX file, engine directory, packaged name or None (the packaged network).
        data: name of the labelled data set, such as "camvid:DIR#val".
        against: another model, or FILE.json of an earlier evaluation, or FILE.json#ROW of `bench`.
        target: the engine to run on.
        options: of the engine. Its schedule is for `model` alone, not for `against`.
        spec: TOML file that describes `model` where it was made elsewhere.
        recipe: name or TOML file of the recipe of a plain state dict.
        limit: number of images, from the first.
        trimap: also score the pixels at most this far from a boundary between labels.
        cluster: spread the images over a cluster; needs the whole set and no schedule.
        progress: receives the images done, and warnings about a model made elsewhere.

    Raises:
        BadInput: data and model have other classes, or an argument does not fit.

    Example:
        >>> report = evaluation_report("net.int8.onnx", data="camvid:camvid#val", against="net.onnx")
        >>> report.to_mapping()["against"]["verdict"]
    """
    dataset = dataset_from_name(data)
    if cluster and (limit or trimap or options.schedule != EVERY):
        raise BadInput(f"`cluster={cluster}` scores whole sets: leave out `limit`, `trimap` and `schedule`")
    is_saved = against is not None and Path(against.partition("#")[0]).suffix == ".json"
    other = scored_model_from_json(against) if against is not None and is_saved else None
    if against is not None and other is None:
        model_path(against)  # refused before minutes of evaluating

    def scored(task: str, path: Path, options: EngineOptions) -> ScoredModel:
        with open_engine(path, target=target, options=options) as engine:
            named = NamedTask(progress, task)
            if cluster:
                evaluation = evaluate_on_ray(path, data, target=engine.target, options=options, progress=named)
            else:
                evaluation = evaluate(engine, dataset, limit=limit, trimap=trimap, progress=named)
            return scored_model(evaluation, engine)

    with runnable_file(model, spec=spec, recipe=recipe, progress=progress) as path:
        first = scored("evaluating", path, options)
    if against is not None and other is None:
        with runnable_file(against, progress=progress) as path:
            other = scored("evaluating the other", path, replace(options, schedule=EVERY))
    return EvaluationReport(dataset.name, dataset.classes, first, other, trimap)


def scored_model(evaluation: Evaluation, engine: Engine) -> ScoredModel:
    """The scores of an engine that is still open."""
    facts = {
        "model": engine.spec.name,
        "target": engine.target,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "execution": engine.execution,
        "schedule": engine.schedule,
        "stage_runs": to_mapping(engine.stage_runs()),
        "model_sha256": engine.model_sha256,
        "ignored_share": evaluation.ignored_share,
        "classes_without_labels": [engine.spec.classes[index] for index in evaluation.without_labels],
        "classes_never_predicted": [engine.spec.classes[index] for index in evaluation.never_predicted],
        "warnings": evaluation.warnings,
        "notes": evaluation.notes.lines,
    }
    return ScoredModel(facts, evaluation.scores, evaluation.images, evaluation.trimap, evaluation.skipped)


def scored_model_from_json(name: str) -> ScoredModel:
    """FILE.json of `evaluate --json`, or FILE.json#ROW of `bench`, where ROW may be left out if there is only one.

    Raises:
        BadInput: the file holds no scores of single images, or leaves open which row is meant.
    """
    path, _, row = name.partition("#")
    saved = read_json(Path(path))
    facts = _row(saved["rows"], row, name) if isinstance(saved.get("rows"), list) else saved
    found = facts.get("scores") if isinstance(facts, dict) else None
    if not isinstance(found, dict) or "images" not in found:
        raise BadInput(f"{name}: holds no scores of single images; expected the JSON of evaluate or a record of bench")
    if not isinstance(found["images"], list):
        raise BadInput(f"{name}: expected a list of images, found {type(found['images']).__name__}")
    scores = from_mapping(Scores, {key: value for key, value in found.items() if key != "images"}, name)
    images = tuple(from_mapping(ImageScore, image, f"{name}: image") for image in found["images"])
    last = len(scores.iou) ** 2
    if not all(0 <= index < last and count >= 0 for image in images for index, count in image.cells):
        raise BadInput(f"{name}: counts outside the confusion matrix of {len(scores.iou)} classes; write it again")
    return ScoredModel(facts, scores, images)


def _row(rows: list[Any], number: str, name: str) -> Any:
    if not number and len(rows) == 1:
        return rows[0]
    if number.isdecimal() and 1 <= int(number) <= len(rows):
        return rows[int(number) - 1]
    known = ", ".join(f"#{n} {_row_name(row)}" for n, row in enumerate(rows, 1))
    raise BadInput(f"{name}: which row? write {name.partition('#')[0]}#1 and so on; it has {known or 'none'}")


def _row_name(row: Any) -> str:
    return " ".join(str(row.get(key)) for key in NAME_KEYS) if isinstance(row, dict) else "nothing"
