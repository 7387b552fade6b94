"""Accuracy by the paired block bootstrap: each image's confusion matrices of both records, drawn together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcn_edge.errors import BadInput
from fcn_edge.gating.check import Check, judged
from fcn_edge.gating.limits import Limits
from fcn_edge.intervals import Difference, Interval, difference_from_images
from fcn_edge.metrics import ImageScore
from fcn_edge.records import Row, RowKey, key_of
from fcn_edge.schedule import EVERY
from fcn_edge.schema import from_mapping

CERTAIN, LIKELY = 1.96, 0.84  # normal quantiles: of the interval's limits, and of 4 in 5
EQUAL = 1e-12


def reference_rows(rows: Mapping[RowKey, Row]) -> list[RowKey]:
    """Those of the reference run."""
    return [key for key in rows if key[1] == "reference"]


def accuracy_checks(
    name: str, row: Row, base: Row, limits: Limits, record: Mapping[str, Any], same_device: bool
) -> list[Check]:
    """mIoU of a row, and the IU of each class where asked, against the baseline's on the same images.

    On another device an engine computes otherwise where its instructions differ, so its row is held against the
    record's own reference run of the same file, and that run against the baseline's. A row whose file has no
    reference run is then not judged.
    """
    classes = [str(each) for each in record.get("classes") or ()]
    against = "the baseline"
    if not same_device and row["target"] != "reference":
        own = _reference_of(row, record)
        if own is None:
            return [
                Check(
                    f"{name}: miou",
                    "miou",
                    row["miou"],
                    base["miou"],
                    None,
                    None,
                    "another device, and no reference run of this file",
                )
            ]
        base, against = own, "its reference run"
    difference = _difference(name, row, base)
    checks = [_miou_check(name, row, base, difference, limits, against)]
    if limits.max_class_drop is not None:
        checks += _class_checks(name, row, base, difference, limits.max_class_drop, classes)
    if limits.min_miou is not None:
        floor, value = limits.min_miou / 100, row["miou"]
        is_met = None if value is None else value >= floor - EQUAL
        checks.append(
            Check(f"{name}: miou floor", "floor", value, None, floor, is_met, f"at least {limits.min_miou:g} points")
        )
    return checks


def _reference_of(row: Row, record: Mapping[str, Any]) -> Row | None:
    """The reference run of the row's file; a bf16 row is an execution of the fp32 file."""
    for other in record["rows"]:
        same = all(other[word] == row[word] for word in ("model", "precision", "height", "width", "model_sha256"))
        if other["target"] == "reference" and same and key_of(other)[6] == EVERY:
            return other
    return None


def _difference(name: str, row: Row, base: Row) -> Difference:
    ours, theirs = (_images(each, name) for each in (row, base))
    classes = len(row["scores"]["iou"])
    if classes != len(base["scores"]["iou"]):
        raise BadInput(f"{name}: {classes} classes, the baseline has {len(base['scores']['iou'])}: another data set")
    try:
        return difference_from_images(ours, theirs, classes)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def _images(row: Row, name: str) -> list[ImageScore]:
    """Raises BadInput for counts outside the confusion matrix, which no bench writes."""
    images = [from_mapping(ImageScore, image, f"{name}: image") for image in row["scores"]["images"]]
    cells = len(row["scores"]["iou"]) ** 2
    if not all(0 <= index < cells and count >= 0 for image in images for index, count in image.cells):
        raise BadInput(f"{name}: counts outside the confusion matrix; keep record.json as bench wrote it")
    return images


def _miou_check(name: str, row: Row, base: Row, difference: Difference, limits: Limits, against: str) -> Check:
    label, value, expected = f"{name}: miou", row["miou"], base["miou"]
    change = difference.miou
    if value is None or expected is None or change is None:
        return Check(label, "miou", value, expected, None, None, "no labelled pixel: mIoU was not measured")
    return _judged_drop(
        label,
        "miou",
        value,
        expected,
        change,
        difference.intervals.miou,
        limits.max_miou_drop,
        against,
        difference.intervals.reason,
    )


def _class_checks(
    name: str, row: Row, base: Row, difference: Difference, limit: float, classes: list[str]
) -> list[Check]:
    checks = []
    for number, (value, expected) in enumerate(zip(row["scores"]["iou"], base["scores"]["iou"], strict=True)):
        label = f"{name}: IU of {classes[number] if number < len(classes) else number}"
        change, interval = difference.iou[number], difference.intervals.iou[number]
        if value is None or expected is None or change is None:
            continue  # a class that one of both does not know has no IU to lose: mIoU counts it
        reason = difference.intervals.reason or "too few images show this class"
        checks.append(_judged_drop(label, "class", value, expected, change, interval, limit, "the baseline", reason))
    return checks


def _judged_drop(
    label: str,
    kind: Any,
    value: float,
    expected: float,
    change: float,
    interval: Interval | None,
    limit: float,
    against: str,
    why_none: str,
) -> Check:
    """All in fractions, `limit` in points."""
    allowed = limit / 100
    floor = expected - allowed
    told = f"{100 * change:+.2f} points against {against}"
    if abs(change) <= EQUAL and (interval is None or interval[1] - interval[0] <= EQUAL):
        return Check(label, kind, value, expected, floor, True, f"equal to {against}", None, value, value)
    if interval is None:
        return Check(label, kind, value, expected, floor, None, f"{told}; {why_none}")
    low, high = interval
    half = (high - low) / 2
    ok = judged(-high - EQUAL, -low - EQUAL, allowed)
    power = round(100 * (allowed + half * (CERTAIN + LIKELY) / CERTAIN), 2)
    told += f" ({100 * low:+.2f} to {100 * high:+.2f})"
    if ok is None:
        told += f"; not sure to be within {limit:g}: more labelled images would tell"
    return Check(label, kind, value, expected, floor, ok, told, power, expected + low, expected + high)
