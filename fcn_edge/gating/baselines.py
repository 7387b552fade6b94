"""Where baselines are: the one of a record in a folder, and how a record becomes the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from fcn_edge.errors import BadInput
from fcn_edge.gating.judgement import judged_records
from fcn_edge.gating.limits import Limits, LimitsByRow, limits_from
from fcn_edge.gating.verdict import Verdict
from fcn_edge.outputs import require_apart
from fcn_edge.records import Acceptance, Record

SHORTEST_REASON = 10  # characters that explain something
NO_SUITE = "bench"  # in the names of baselines whose record has no suite


def record_from(given: Record | Path | str) -> Record:
    """A record, read from its file where that is given. Raises BadInput."""
    return given if isinstance(given, Record) else Record.from_file(given)


def baseline_of_record(record: Record, baseline: Path) -> Path:
    """`baseline` itself, or in a folder the baseline of the record's suite: its device's, else the first by name.

    Raises:
        BadInput: the folder has no baseline of this suite.
    """
    if not baseline.is_dir():
        return baseline
    own, suite = own_baseline(record, baseline), record.suite or NO_SUITE
    found = sorted(baseline.glob(f"{suite}.*.json"))
    if own in found:
        return own
    if not found:
        raise BadInput(f"{baseline}: no baseline of the suite {suite}; `update` with a `reason` writes {own.name}")
    return found[0]


def own_baseline(record: Record, baseline: Path) -> Path:
    """`baseline` itself, or in a folder the place of the record's suite and device."""
    if not baseline.is_dir():
        return baseline
    device = None if record.device is None else record.device.name
    return baseline / f"{record.suite or NO_SUITE}.{device}.json"


def update_baseline(
    record: Record | Path | str,
    baseline: Path | str,
    *,
    reason: str,
    limits: Limits | LimitsByRow | Path | str | None = None,
) -> Path:
    """Make the record the baseline, with why, when, and which checks against the one before it accepts.

    Args:
        record: a record, or a record.json of `bench`.
        baseline: the file to write, or a folder of baselines.
        reason: why the new figures are right, in a sentence; it stays in the baseline.
        limits: as of `gate`, for the checks that are accepted.

    Returns:
        The file that was written.

    Raises:
        BadInput: a reason that says nothing, and what `gate` raises where a baseline is there.
    """
    if len(reason.strip()) < SHORTEST_REASON:
        raise BadInput("`reason`: write in a sentence why the new figures are right; it stays in the baseline")
    measured = record_from(record)
    path = own_baseline(measured, Path(baseline))
    read = [part for part in (record, limits) if isinstance(part, (str, Path))]
    require_apart([path], read)
    before = judged_records(measured, Record.from_file(path), limits_from(limits)) if path.is_file() else None
    accepted_record(measured, reason, before).save(path, replaces=True)  # what is there was read as a record
    return path


def accepted_record(record: Record, reason: str, before: Verdict | None) -> Record:
    """The record as a baseline. before: the verdict on it against the one that it replaces."""
    acceptance = Acceptance(
        reason=reason.strip(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        verdict_before=before.verdict if before else None,
        accepted=tuple(check.name for check in before.failed) if before else (),
    )
    return replace(record, acceptance=acceptance)
