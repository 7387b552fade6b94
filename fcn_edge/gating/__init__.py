"""A verdict for CI from two records: did accuracy, speed, size or memory get worse than allowed?

Knows nothing of engines, data or images: two JSON files are enough.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fcn_edge.gating.baselines import baseline_of_record, record_from, update_baseline
from fcn_edge.gating.check import Check
from fcn_edge.gating.judgement import judged_records
from fcn_edge.gating.limits import Limits, LimitsByRow, limits_from
from fcn_edge.gating.verdict import Undecided, Verdict
from fcn_edge.records import Record

__all__ = ["Check", "Limits", "LimitsByRow", "Undecided", "Verdict", "gate", "limits_from", "update_baseline"]


def gate(
    record: Record | Path | str,
    baseline: Record | Path | str,
    *,
    limits: Limits | LimitsByRow | Path | str | None = None,
    max_miou_drop: float | None = None,
    max_class_drop: float | None = None,
    max_latency_ratio: float | None = None,
    undecided: Undecided | None = None,
) -> Verdict:
    """Compare every row of the baseline with the record's row of the same model, target, precision and size.

    mIoU is compared image by image (paired block bootstrap), latency in units of the reference workload. Between
    records of two devices times and memory are not compared, and accuracy is that of the reference run.

    Args:
        record: a record, or a record.json of `bench`.
        baseline: the same, or a folder of baselines: that of this suite and the record's device is taken, else the
            first of this suite.
        limits: what a row may lose, or a TOML file of it; None for the defaults of `Limits`.
        max_miou_drop: in points; overrides that of `limits`.
        max_class_drop: in points of a class's IoU; overrides that of `limits`.
        max_latency_ratio: to the baseline; overrides that of `limits`.
        undecided: what a verdict counts as that the records cannot give; None for a verdict of its own.

    Returns:
        The verdict, with every check, its exit code and its reports.

    Raises:
        BadInput: one of the two is no whole record, they have no model in common, were measured on other images or
            labels, or come from two devices and neither has a reference run.

    Example:
        >>> verdict = gate("bench/record.json", "baselines/", max_miou_drop=0.3)
        >>> sys.exit(verdict.exit_code)
    """
    given = {
        "max_miou_drop": max_miou_drop,
        "max_class_drop": max_class_drop,
        "max_latency_ratio": max_latency_ratio,
    }
    chosen = limits_from(limits, given)
    measured = record_from(record)
    if isinstance(baseline, Record):
        return replace(judged_records(measured, baseline, chosen), undecided=undecided)
    path = baseline_of_record(measured, Path(baseline))
    verdict = judged_records(measured, Record.from_file(path), chosen)
    return replace(verdict, baseline=str(path), undecided=undecided)
