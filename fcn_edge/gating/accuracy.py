"""Accuracy by the paired block bootstrap: each image's confusion matrices of both records, drawn together."""

from __future__ import annotations

from typing import Literal

from fcn_edge.errors import BadInput
from fcn_edge.gating.check import Check, judged
from fcn_edge.gating.limits import Limits
from fcn_edge.intervals import Difference, Interval, difference_from_images
from fcn_edge.records import REFERENCE, Record, RecordRow
from fcn_edge.schedule import EVERY

CERTAIN, LIKELY = 1.96, 0.84  # normal quantiles: of the interval's limits, and of 80 % power
EQUAL = 1e-12
BASELINE = "the baseline"


def accuracy_checks(row: RecordRow, base: RecordRow, limits: Limits, record: Record, same_device: bool) -> list[Check]:
    """mIoU of a row, and the IoU of each class where it has a limit, against the baseline's on the same images.

    On another device an engine computes otherwise where its instructions differ, so its row is compared with the
    record's own reference run of the same file, and that run with the baseline's. A row whose file has no
    reference run is then not judged.
    """
    against = BASELINE
    if not same_device and row.target != REFERENCE:
        own = _reference_of(row, record)
        if own is None:
            reason = "another device, and no reference run of this file"
            return [Check(f"{row.name}: miou", "miou", row.miou, base.miou, None, None, reason)]
        base, against = own, "its reference run"
    difference = _difference(row, base)
    checks = [_miou_check(row, base, difference, limits, against)]
    if limits.max_class_drop is not None:
        checks += _class_checks(row, base, difference, limits.max_class_drop, record.classes)
    if limits.min_miou is not None:
        floor = limits.min_miou / 100
        is_met = None if row.miou is None else row.miou >= floor - EQUAL
        reason = f"at least {limits.min_miou:g} points"
        checks.append(Check(f"{row.name}: miou floor", "floor", row.miou, None, floor, is_met, reason))
    return checks


def _reference_of(row: RecordRow, record: Record) -> RecordRow | None:
    """The reference run of the row's file; a bf16 row is an execution of the fp32 file."""
    wanted = (row.model, row.precision, row.height, row.width, row.model_sha256)
    for other in record.rows:
        is_same_file = (other.model, other.precision, other.height, other.width, other.model_sha256) == wanted
        if is_same_file and other.target == REFERENCE and other.key.schedule == EVERY:
            return other
    return None


def _difference(row: RecordRow, base: RecordRow) -> Difference:
    classes, theirs = len(row.scores.iou), len(base.scores.iou)
    if classes != theirs:
        raise BadInput(f"{row.name}: {classes} classes, the baseline has {theirs}: another data set")
    try:
        return difference_from_images(row.images, base.images, classes)
    except BadInput as error:
        raise BadInput(f"{row.name}: {error}") from error


def _miou_check(row: RecordRow, base: RecordRow, difference: Difference, limits: Limits, against: str) -> Check:
    name, change = f"{row.name}: miou", difference.miou
    if row.miou is None or base.miou is None or change is None:
        return Check(name, "miou", row.miou, base.miou, None, None, "no labelled pixel: mIoU was not measured")
    why_none = difference.intervals.reason
    drop = _Drop(row.miou, base.miou, change, difference.intervals.miou, against, why_none)
    return drop.check(name, "miou", limits.max_miou_drop)


def _class_checks(
    row: RecordRow, base: RecordRow, difference: Difference, limit: float, classes: tuple[str, ...]
) -> list[Check]:
    checks = []
    for number, (value, expected) in enumerate(zip(row.scores.iou, base.scores.iou, strict=True)):
        name = f"{row.name}: IU of {classes[number] if number < len(classes) else number}"
        change, interval = difference.iou[number], difference.intervals.iou[number]
        if value is None or expected is None or change is None:
            continue  # a class that one of both does not know has no IoU to lose: mIoU counts it
        why_none = difference.intervals.reason or "too few images show this class"
        checks.append(_Drop(value, expected, change, interval, BASELINE, why_none).check(name, "class", limit))
    return checks


class _Drop:
    """A score, what it was before, and the change with its interval; all fractions 0..1."""

    def __init__(
        self, value: float, expected: float, change: float, interval: Interval | None, against: str, why_none: str
    ) -> None:
        self.value, self.expected, self.change, self.interval = value, expected, change, interval
        self.against, self.why_none = against, why_none

    @property
    def _is_equal(self) -> bool:
        is_sure = self.interval is None or self.interval[1] - self.interval[0] <= EQUAL
        return abs(self.change) <= EQUAL and is_sure

    def check(self, name: str, kind: Literal["miou", "class"], limit: float) -> Check:
        """limit: in points."""
        allowed = limit / 100
        floor = self.expected - allowed
        if self._is_equal:
            reason = f"equal to {self.against}"
            return Check(name, kind, self.value, self.expected, floor, True, reason, None, self.value, self.value)
        reason = f"{100 * self.change:+.2f} points against {self.against}"
        if self.interval is None:
            return Check(name, kind, self.value, self.expected, floor, None, f"{reason}; {self.why_none}")
        low, high = self.interval
        half = (high - low) / 2
        ok = judged(-high - EQUAL, -low - EQUAL, allowed)
        power = round(100 * (allowed + half * (CERTAIN + LIKELY) / CERTAIN), 2)
        reason += f" ({100 * low:+.2f} to {100 * high:+.2f})"
        if ok is None:
            reason += f"; not sure to be within {limit:g}: more labelled images would decide it"
        lowest, highest = self.expected + low, self.expected + high
        return Check(name, kind, self.value, self.expected, floor, ok, reason, power, lowest, highest)
