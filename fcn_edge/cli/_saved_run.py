"""What `evaluate` compares: the scores of an engine, and scores that were saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, sha256_of_file
from fcn_edge.data import Dataset
from fcn_edge.engines import Engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import Evaluation
from fcn_edge.intervals import LEVEL, difference_from_images, intervals_from_images
from fcn_edge.metrics import ImageScore, Scores, iou_by_name
from fcn_edge.schedule import EVERY
from fcn_edge.schema import from_mapping, to_mapping

NAMING = ("model", "target", "precision", "execution")


@dataclass(frozen=True)
class SavedRun:
    """A network's scores of a set, whole and image by image. facts: what a row of a bench record says of it too."""

    facts: dict[str, Any]
    scores: Scores
    images: tuple[ImageScore, ...]
    trimap: Scores | None = None
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as "fcn8s openvino int8 f32"."""
        words = [str(self.facts[key]) for key in NAMING if key in self.facts]
        return " ".join(words + [when for when in [self.facts.get("schedule")] if when not in (None, EVERY)])


def run_from_evaluation(found: Evaluation, engine: Engine) -> SavedRun:
    """The run of an engine that is still open."""
    facts = {
        "model": engine.spec.name,
        "target": engine.target,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "execution": engine.execution,
        "schedule": engine.schedule,
        "stage_runs": to_mapping(engine.stage_runs()),
        "model_sha256": sha256_of_file(engine.path),
        "ignored_share": found.ignored_share,
        "classes_without_labels": [engine.spec.classes[index] for index in found.without_labels],
        "classes_never_predicted": [engine.spec.classes[index] for index in found.never_predicted],
        "warnings": found.warnings,
        "notes": found.notes.lines,
    }
    return SavedRun(facts, found.scores, found.images, found.trimap, found.skipped)


def is_saved_run(given: str) -> bool:
    """Whether `given` names a file that `evaluate --json` or `bench` wrote, rather than a model."""
    return Path(given.partition("#")[0]).suffix == ".json"


def run_from_json(given: str) -> SavedRun:
    """FILE.json of `evaluate --json`, or of `bench` with #ROW behind it where it has several rows.

    Raises BadInput where it holds no scores of single images, or leaves open which row is meant.
    """
    path, _, row = given.partition("#")
    saved = read_json(Path(path))
    facts = _row(saved["rows"], row, given) if isinstance(saved.get("rows"), list) else saved
    held = facts.get("scores") if isinstance(facts, dict) else None
    if not isinstance(held, dict) or "images" not in held:
        raise BadInput(f"{given}: holds no scores of single images; write it with evaluate --json, or with bench")
    scores = from_mapping(Scores, {key: value for key, value in held.items() if key != "images"}, given)
    images = tuple(from_mapping(ImageScore, image, f"{given}: image") for image in _listed(held["images"], given))
    last = len(scores.iou) ** 2
    if not all(0 <= index < last and count >= 0 for image in images for index, count in image.cells):
        raise BadInput(f"{given}: counts outside the confusion matrix of {len(scores.iou)} classes; write it again")
    return SavedRun(facts, scores, images)


def _listed(value: Any, given: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"{given}: expected a list of images, found {type(value).__name__}")
    return value


def _row(rows: list[Any], number: str, given: str) -> Any:
    if not number and len(rows) == 1:
        return rows[0]
    if number.isdecimal() and 1 <= int(number) <= len(rows):
        return rows[int(number) - 1]
    known = ", ".join(f"#{n} {_words(row)}" for n, row in enumerate(rows, 1))
    raise BadInput(f"{given}: which row? write {given.partition('#')[0]}#1 and so on; it has {known or 'none'}")


def _words(row: Any) -> str:
    return " ".join(str(row.get(key)) for key in NAMING) if isinstance(row, dict) else "nothing"


def result_of(run: SavedRun, data: Dataset, trimap: int | None) -> dict[str, Any]:
    """What `evaluate --json` prints of one run."""
    scores, intervals = run.scores, intervals_from_images(run.images, len(data.classes))
    result = {
        "miou": scores.miou,
        "miou_ci": to_mapping(intervals.miou),
        "pixel_acc": scores.pixel_acc,
        "pixel_acc_ci": to_mapping(intervals.pixel_acc),
        "mean_acc": scores.mean_acc,
        "fw_iou": scores.fw_iou,
        "iou": iou_by_name(scores, data.classes),
        "iou_ci": dict(zip(data.classes, to_mapping(intervals.iou), strict=True)),
        "interval": {"level": LEVEL, "block_length": intervals.block_length, "reason": intervals.reason},
        "images": len(run.images),
        **run.facts,
        "data": data.name,
        "skipped": list(run.skipped),
        "scores": {**to_mapping(scores), "images": to_mapping(run.images)},
    }
    if run.trimap is not None:
        near = iou_by_name(run.trimap, data.classes)
        result["trimap"] = {"pixels": trimap, "miou": run.trimap.miou, "iou": near}
    return result


def comparison_of(run: SavedRun, other: SavedRun, classes: tuple[str, ...]) -> dict[str, Any]:
    """The `against` of `evaluate --json`: the other's scores, and the run's less the other's.

    Raises BadInput where the two did not score the same images, labels and classes.
    """
    if len(other.scores.iou) != len(classes):
        raise BadInput(f"{other.name}: scored {len(other.scores.iou)} classes, this run {len(classes)}")
    difference = difference_from_images(run.images, other.images, len(classes))
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
