"""Each row of the baseline against the record's row of the same name, check by check.

A relative check is judged by an interval of the change, not by its estimate: it fails where all of the interval is
beyond the limit, passes where none of it is, and is undecidable in between.
"""

from __future__ import annotations

from typing import Literal

from fcn_edge.errors import BadInput
from fcn_edge.gating.accuracy import accuracy_checks
from fcn_edge.gating.check import Check
from fcn_edge.gating.limits import LimitsByRow
from fcn_edge.gating.speed import latency_checks, size_checks
from fcn_edge.gating.verdict import Verdict
from fcn_edge.records import REFERENCE, Record


def judged_records(record: Record, baseline: Record, limits: LimitsByRow) -> Verdict:
    """The verdict on a record. Raises BadInput where the two do not compare (see `gate`)."""
    _require_same_models(record, baseline)
    _require_same_classes(record, baseline)
    same_device = is_same_device(record, baseline)
    notes = []
    if not same_device:
        _require_reference_runs(record, baseline)
        notes.append(f"another device ({_device(baseline)}): accuracy is judged on the reference run, times are not")
    checks: list[Check] = []
    for key, base in baseline.by_key.items():
        row = record.by_key.get(key)
        if row is None:
            checks.append(Check(f"{key.name}: row", "row", None, None, None, False, "missing from the record"))
            continue
        limit = limits.of(base)
        checks += accuracy_checks(row, base, limit, record, same_device)
        if key.target != REFERENCE:
            checks += latency_checks(row, base, limit, _why_times_do_not_compare(record, baseline))
        checks += size_checks(row, base, limit, memory=same_device and key.target != REFERENCE)
    notes += _changed_weights(record, baseline)
    if new := [row.name for row in record.rows if row.key not in baseline.by_key]:
        notes.append(f"not in the baseline, not judged: {', '.join(new)}")
    return Verdict(_overall(checks), tuple(checks), tuple(notes))


def is_same_device(record: Record, baseline: Record) -> bool:
    """Whether times of the two compare; not where one does not name its device."""
    if record.device is None or baseline.device is None:
        return False
    return record.device.comparable == baseline.device.comparable


def _why_times_do_not_compare(record: Record, baseline: Record) -> str:
    """Empty where they do."""
    if not is_same_device(record, baseline):
        return "another device: its times do not compare"
    if record.reference_workload != baseline.reference_workload:
        return "measured with another reference workload: make a new baseline"
    return ""


def _require_same_models(record: Record, baseline: Record) -> None:
    ours, theirs = ({row.model for row in each.rows} for each in (record, baseline))
    if not ours & theirs:
        raise BadInput(
            f"the baseline is of {', '.join(sorted(theirs))}, the record of {', '.join(sorted(ours))}:"
            " two models are no regression of each other; name the baseline of this one"
        )


def _require_same_classes(record: Record, baseline: Record) -> None:
    """By names here; by each image's content and labels where rows are paired."""
    if record.classes != baseline.classes:
        raise BadInput(
            f"the baseline was measured on {baseline.data}, the record on {record.data}, whose classes are others:"
            " measure with the same `data`, or make a new baseline"
        )


def _require_reference_runs(record: Record, baseline: Record) -> None:
    for each in (record, baseline):
        if not any(row.target == REFERENCE for row in each.rows):
            raise BadInput(
                f"the baseline was measured on {_device(baseline)}, the record on {_device(record)}: nothing in them"
                " compares. Make a baseline here, or measure both with target `reference` as well, whose accuracy does"
            )


def _changed_weights(record: Record, baseline: Record) -> list[str]:
    changed = {
        f"{row.model} {row.precision}"
        for row in record.rows
        if row.key in baseline.by_key and row.model_sha256 != baseline.by_key[row.key].model_sha256
    }
    return [f"another file than the baseline's: {', '.join(sorted(changed))}"] if changed else []


def _device(record: Record) -> str:
    return "a device that it does not name" if record.device is None else record.device.name


def _overall(checks: list[Check]) -> Literal["pass", "fail", "undecidable"]:
    if any(check.ok is False for check in checks):
        return "fail"
    return "undecidable" if any(check.ok is None for check in checks) else "pass"
