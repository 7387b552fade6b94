"""A verdict for CI from two records: did accuracy or latency get worse than allowed?

Knows nothing of engines, data or images: two JSON files are enough.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fcn_edge.errors import BadInput

SCHEMA = 1
ROUNDING = 1e-9  # relative: a limit that is met to the last digit is met
LARGEST = sys.float_info.max
KEY = ("model", "target", "precision", "execution", "height", "width")


@dataclass(frozen=True)
class Limits:
    """miou_drop: points. latency_ratio: p50 against the baseline's, on the same device only."""

    miou_drop: float = 0.5
    latency_ratio: float = 1.15

    def __post_init__(self) -> None:
        if not (0 <= self.miou_drop <= 100 and 0 < self.latency_ratio <= LARGEST):  # also true of NaN
            found = f"{self.miou_drop:g} points and {self.latency_ratio:g}x"
            raise BadInput(f"limits of {found}; expected 0..100 points and a ratio above 0")


@dataclass(frozen=True)
class Check:
    """One comparison. ok: None where the records cannot decide it; power: None, not estimated here."""

    name: str
    value: float | None
    baseline: float | None
    limit: float | None
    ok: bool | None
    reason: str = ""
    power: float | None = None


@dataclass(frozen=True)
class Verdict:
    """pass: every check is ok. fail: one is not. undecidable: none failed, but one could not be made."""

    verdict: Literal["pass", "fail", "undecidable"]
    checks: tuple[Check, ...]


def verdict_from_records(record: Mapping[str, Any], baseline: Mapping[str, Any], limits: Limits = Limits()) -> Verdict:
    """Compare every row of the baseline with the record's row of the same model, target and precision.

    Raises:
        BadInput: one of the two is not a benchmark record.
    """
    found, expected = _rows(record, "the record"), _rows(baseline, "the baseline")
    checks: list[Check] = []
    same_set = all(record.get(name) == baseline.get(name) is not None for name in ("data", "images"))
    same_device = _device(record) == _device(baseline) is not None
    for key, row in expected.items():
        name = _name(key)
        if key not in found:
            checks.append(Check(f"{name}: row", None, None, None, False, "missing from the record"))
            continue
        checks.append(_accuracy(name, found[key], row, limits, same_set))
        checks.append(_latency(name, found[key], row, limits, same_device))
    return Verdict(_overall(checks), tuple(checks))


def _rows(record: Mapping[str, Any], where: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    rows = record.get("rows")
    if not isinstance(rows, list) or not rows or record.get("schema") != SCHEMA:
        raise BadInput(f"{where} is not a benchmark record (schema {SCHEMA}, rows); make one with fcn-edge bench")
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        missing = [name for name in KEY if not isinstance(row, dict) or not isinstance(row.get(name), (str, int))]
        if missing:
            raise BadInput(f"{where}: row {number} says nothing of {', '.join(missing)}; make it with fcn-edge bench")
        key = tuple(row[name] for name in KEY)
        if key in found:
            raise BadInput(f"{where}: two rows are {_name(key)}; a verdict compares each by these words alone")
        found[key] = row
    return found


def _name(key: tuple[Any, ...]) -> str:
    """Such as "fcn8s openvino int8 f32 360x480"."""
    return " ".join(str(part) for part in key[:4]) + f" {key[4]}x{key[5]}"


def _device(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    device = record.get("device")
    if not isinstance(device, dict):
        return None
    return tuple(str(device.get(name)) for name in ("cpu", "cores", "instruction_sets"))


def _accuracy(name: str, row: Mapping[str, Any], base: Mapping[str, Any], limits: Limits, same_set: bool) -> Check:
    value, expected = _number(row.get("miou")), _number(base.get("miou"))
    if not same_set or value is None or expected is None:
        reason = "mIoU was not measured" if same_set else "another data set, or another number of its images"
        return Check(f"{name}: miou", value, expected, None, None, reason)
    floor = expected - limits.miou_drop / 100
    reason = f"{100 * (value - expected):+.2f} points"
    return Check(f"{name}: miou", value, expected, floor, value >= floor * (1 - ROUNDING), reason)


def _latency(name: str, row: Mapping[str, Any], base: Mapping[str, Any], limits: Limits, same: bool) -> Check:
    value, expected = (_number(_p50(part)) for part in (row, base))
    label = f"{name}: latency p50 ms"
    if not same or not value or not expected:
        reason = "another device: times of two machines do not compare" if not same else "latency was not measured"
        return Check(label, value, expected, None, None, reason)
    limit = expected * limits.latency_ratio
    return Check(label, value, expected, limit, value <= limit * (1 + ROUNDING), f"{value / expected:.2f}x")


def _p50(row: Mapping[str, Any]) -> Any:
    latency = row.get("latency_ms")
    return latency.get("p50") if isinstance(latency, dict) else None


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None  # not NaN either


def _overall(checks: list[Check]) -> Literal["pass", "fail", "undecidable"]:
    if any(check.ok is False for check in checks):
        return "fail"
    return "undecidable" if any(check.ok is None for check in checks) else "pass"
