"""Each row of the baseline against the record's row of the same name, check by check.

A relative check is judged by an interval of the change, not by its estimate: it fails where all of the
interval lies beyond the limit, passes where none of it does, and is undecidable in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from fcn_edge.errors import BadInput
from fcn_edge.gating.accuracy import accuracy_checks, reference_rows
from fcn_edge.gating.check import Check
from fcn_edge.gating.limits import Limits, LimitsFile
from fcn_edge.gating.speed import latency_checks, size_checks
from fcn_edge.records import Row, RowKey, device_of, name_of, rows_of, sealed

REASON_LEAST = 10  # characters of a reason that tells the next reader something


@dataclass(frozen=True)
class Verdict:
    """pass: every check is ok. fail: one is not. undecidable: none failed, but one could not be decided."""

    verdict: Literal["pass", "fail", "undecidable"]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()


def verdict_from_records(
    record: Mapping[str, Any],
    baseline: Mapping[str, Any],
    limits: LimitsFile | Limits = Limits(),  # noqa: B008 - frozen
) -> Verdict:
    """Compare every row of the baseline with the record's row of the same model, target, precision and size.

    Records of two devices: times and memory are not compared, and accuracy is that of the reference run.

    Raises BadInput: one of the two is no whole record (see `records.rows_of`), they have no model in common,
    were measured on other images or labels, or come from two devices and neither has a reference run.
    """
    found, expected = rows_of(record, "the record"), rows_of(baseline, "the baseline")
    _require_same_models(found, expected)
    _require_same_data(record, baseline)
    chosen = LimitsFile(limits) if isinstance(limits, Limits) else limits
    same_device = device_of(record) == device_of(baseline) is not None
    notes = []
    if not same_device:
        if not reference_rows(found) or not reference_rows(expected):
            raise BadInput(
                f"the baseline was measured on {_device(baseline)}, the record on {_device(record)}: nothing in them"
                " compares. Make a baseline here, or measure both with --target reference as well, whose accuracy does"
            )
        notes.append(f"another device ({_device(baseline)}): accuracy is judged on the reference run, times are not")
    checks: list[Check] = []
    for key, base in expected.items():
        if key not in found:
            checks.append(Check(f"{name_of(key)}: row", "row", None, None, None, False, "missing from the record"))
            continue
        row, limit = found[key], chosen.of(base)
        checks += accuracy_checks(name_of(key), row, base, limit, record, same_device)
        if key[1] != "reference":
            checks += latency_checks(name_of(key), row, base, limit, record, baseline, same_device)
        checks += size_checks(name_of(key), row, base, limit, same_device and key[1] != "reference")
    notes += _changed_weights(found, expected)
    if new := [name_of(key) for key in found if key not in expected]:
        notes.append(f"not in the baseline, not judged: {', '.join(new)}")
    return Verdict(_overall(checks), tuple(checks), tuple(notes))


def updated_baseline(record: Mapping[str, Any], reason: str, verdict: Verdict | None) -> dict[str, Any]:
    """The record as the new baseline, with why, when, and what it makes acceptable.

    Raises BadInput: the record is not whole, or the reason says nothing.
    """
    rows_of(record, "the record")
    if len(reason.strip()) < REASON_LEAST:
        raise BadInput("--reason: write in a sentence why the new figures are right; it stays in the baseline")
    failed = [check.name for check in verdict.checks if check.ok is False] if verdict else []
    accepted = {
        "reason": reason.strip(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "verdict_before": verdict.verdict if verdict else None,
        "accepted": failed,
    }
    return sealed({**record, "baseline": accepted})


def _require_same_models(found: Mapping[RowKey, Row], expected: Mapping[RowKey, Row]) -> None:
    ours, theirs = ({key[0] for key in rows} for rows in (found, expected))
    if not ours & theirs:
        raise BadInput(
            f"the baseline is of {', '.join(sorted(theirs))}, the record of {', '.join(sorted(ours))}:"
            " two models are no regression of each other; name the baseline of this one"
        )


def _require_same_data(record: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    """By classes here; by each image's content and labels where rows are paired."""
    ours, theirs = record.get("classes"), baseline.get("classes")
    if ours != theirs:
        raise BadInput(
            f"the baseline was measured on {baseline.get('data')}, the record on {record.get('data')}, whose classes"
            " are others: measure with the same --data, or make a new baseline"
        )


def _changed_weights(found: Mapping[RowKey, Row], expected: Mapping[RowKey, Row]) -> list[str]:
    changed = sorted(
        {
            f"{key[0]} {key[2]}"
            for key, row in found.items()
            if key in expected and row.get("model_sha256") != expected[key].get("model_sha256")
        }
    )
    return [f"another file than the baseline's: {', '.join(changed)}"] if changed else []


def _device(record: Mapping[str, Any]) -> str:
    device = record.get("device")
    return str(device.get("name")) if isinstance(device, dict) else "a device that it does not name"


def _overall(checks: list[Check]) -> Literal["pass", "fail", "undecidable"]:
    if any(check.ok is False for check in checks):
        return "fail"
    return "undecidable" if any(check.ok is None for check in checks) else "pass"
