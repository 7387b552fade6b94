"""How far two records of one suite agree, row by row: what a figure is worth when it is measured again.

    python benchmarks/again.py first/record.json second/record.json --out again.json

Of each row the ratio of its p50 (second by first), the same in units of the reference workload with its 95 % interval,
which is the noise that gate states, and whether mIoU came out the same. Exit 1 where a row differs for sure by more
than `--limit`, or in mIoU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.errors import FcnEdgeError
from fcn_edge.gating import Check, gate
from fcn_edge.records import Record, RecordRow
from fcn_edge.schema import to_mapping

SCHEMA = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="record.json, or packed by xz")
    parser.add_argument("second", type=Path)
    parser.add_argument("--limit", type=float, default=1.1, help="a ratio either way that no row may surely pass [1.1]")
    parser.add_argument("--out", type=Path, help="where the comparison is written as JSON")
    given = parser.parse_args()
    try:
        found = comparison(Record.from_file(given.first), Record.from_file(given.second), given.limit)
    except FcnEdgeError as error:
        print(f"again: {error}", file=sys.stderr)
        return error.exit_code
    if given.out is not None:
        write_json(given.out, found)
    for row in found["rows"]:
        print(f"{row['name']}: {row['first_ms']:.1f} and {row['second_ms']:.1f} ms, {in_words(row)}")
    for word, value in found["summary"].items():
        print(f"{word}: {value}")
    return 0 if found["agrees"] else 1


def comparison(first: Record, second: Record, limit: float) -> dict[str, Any]:
    """Row by row, and whether they agree. Raises BadInput where the two cannot be compared, or have other rows."""
    theirs, ours = first.by_key, second.by_key
    checks = {check.name: check for check in gate(second, first).checks}
    rows = []
    for key, row in theirs.items():
        check = checks[f"{key.name}: {'latency' if key in ours else 'row'}"]
        if key in ours:
            rows.append(_compared(row, ours[key], check))
    missing = [key.name for key in theirs.keys() ^ ours.keys()]
    agrees = not missing and all(row["same_miou"] and _may_be_within(row["interval"], limit) for row in rows)
    return {
        "schema": SCHEMA,
        "suite": first.suite,
        "device": to_mapping(first.device),
        "limit": limit,
        "records": [first.sha256, second.sha256],
        "dates": [first.date, second.date],
        "missing": missing,
        "agrees": agrees,
        "summary": summary_of(rows),
        "rows": rows,
    }


def _compared(first: RecordRow, second: RecordRow, check: Check) -> dict[str, Any]:
    one, other = first.latency_ms.p50, second.latency_ms.p50
    ratios = [
        value / check.baseline if value and check.baseline else None for value in (check.value, check.low, check.high)
    ]
    ratio, *interval = (None if value is None else round(value, 4) for value in ratios)
    return {
        "name": first.name,
        "first_ms": one,
        "second_ms": other,
        "p50_ratio": round(other / one, 4),
        "ratio": ratio,
        "interval": interval,
        "same_miou": first.miou == second.miou,
        "miou": [first.miou, second.miou],
        "same_file": first.model_sha256 == second.model_sha256,
    }


def _may_be_within(interval: list[float | None], limit: float) -> bool:
    low, high = interval
    return low is None or high is None or (low <= limit and high >= 1 / limit)


def in_words(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return f"{row['p50_ratio']:.3f}x; too few rounds for an interval"
    low, high = row["interval"]
    words = f"{row['p50_ratio']:.3f}x; in units of the reference workload {row['ratio']:.3f}x ({low:.3f} to {high:.3f})"
    return words if row["same_miou"] else words + "; mIoU differs"


def summary_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far rows differ, in percent either way: half of them within, nine in ten within, all within."""
    judged = [row for row in rows if row["ratio"] is not None]
    halves = [100 * (row["interval"][1] - row["interval"][0]) / 2 for row in judged]
    return {
        "rows": len(rows),
        "same_miou": sum(row["same_miou"] for row in rows),
        "p50_away": _away([row["p50_ratio"] for row in rows]),
        "judged": len(judged),
        "ratio_away": _away([row["ratio"] for row in judged]),
        "noise": round(float(np.median(halves)), 2) if judged else None,
        "intervals_holding_1": sum(row["interval"][0] <= 1 <= row["interval"][1] for row in judged),
    }


def _away(ratios: Sequence[float]) -> list[float] | None:
    if not ratios:
        return None
    percent = 100 * (np.exp(np.abs(np.log(ratios))) - 1)
    return [round(float(np.quantile(percent, share)), 2) for share in (0.5, 0.9, 1.0)]


if __name__ == "__main__":
    sys.exit(main())
