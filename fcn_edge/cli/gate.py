"""The verb `gate`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_table, say, show, with_option_names

if TYPE_CHECKING:
    from fcn_edge.gating import Verdict


@verb
def gate(
    record: Annotated[Path, typer.Argument(help="record.json of fcn-edge bench.")],
    baseline: Annotated[Path, typer.Option("--baseline", help="Record to compare with, or a folder of baselines.")],
    limits: Annotated[Path | None, typer.Option("--limits", help="TOML file of limits and floors.")] = None,
    max_miou_drop: Annotated[
        float | None, typer.Option("--max-miou-drop", help="Largest loss of mIoU, in points [0.5].")
    ] = None,
    max_class_drop: Annotated[
        float | None, typer.Option("--max-class-drop", help="Largest loss of a class's IoU, in points [no limit].")
    ] = None,
    max_latency_ratio: Annotated[
        float | None, typer.Option("--max-latency-ratio", help="Largest latency relative to the baseline [1.1].")
    ] = None,
    undecided: Annotated[
        Literal["fail", "pass"] | None, typer.Option("--undecided", help="Result in place of undecidable.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="JUnit XML file to write.")] = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", help="File to append Markdown to [$GITHUB_STEP_SUMMARY].")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Make the record the new baseline; needs --reason.")] = False,
    reason: Annotated[
        str, typer.Option("--reason", help="Why the new figures are right; stored in the baseline.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Compare two benchmark records; exit 0, 1 or 5 for CI.

    Exit code 0: nothing is worse than the limits allow. 1: something is, or a row is missing. 5: undecidable;
    the reason says what would decide it, such as more rounds. --undecided turns 5 into 0 or 1.

    mIoU is compared image by image (paired block bootstrap), latency relative to a reference workload that is
    timed in each round, so a baseline of another day is valid. Against a baseline of another device accuracy
    is compared on the reference engine, and latency is not. From a folder the baseline of this device is
    taken, else any of the same suite. In GitHub Actions failed checks are also printed as annotations.

    \b
    Examples:
      fcn-edge gate bench/record.json --baseline baseline.json --undecided pass
      fcn-edge gate bench/record.json --baseline baselines/ --limits limits.toml --junit gate.xml
      fcn-edge gate bench/record.json --baseline baseline.json --update --reason "new backbone, see CHANGELOG"
    """
    from fcn_edge import gating
    from fcn_edge.outputs import require_apart, require_outputs

    if update:
        overrides = {
            "max_miou_drop": max_miou_drop,
            "max_class_drop": max_class_drop,
            "max_latency_ratio": max_latency_ratio,
        }
        path = gating.update_baseline(record, baseline, reason=reason, limits=gating.limits_from(limits, overrides))
        emit({"baseline": str(path), "reason": reason}, as_json=json, human=lambda: print(f"wrote {path}: {reason}"))
        return
    verdict = gating.gate(
        record,
        baseline,
        limits=limits,
        max_miou_drop=max_miou_drop,
        max_class_drop=max_class_drop,
        max_latency_ratio=max_latency_ratio,
        undecided=undecided,
    )
    read = [record, verdict.baseline, limits]
    require_outputs([junit], read, kind="junit")
    require_apart([path for path in (junit, summary) if path is not None], read)
    _write_reports(verdict, junit, summary)
    emit(verdict.to_mapping(), as_json=json, human=lambda: _print_verdict(verdict))
    raise typer.Exit(verdict.exit_code)


def _write_reports(verdict: Verdict, junit: Path | None, summary: Path | None) -> None:
    from fcn_edge.atomic_io import whole_file

    if junit is not None:
        with whole_file(junit, kind="junit") as part:
            part.write_text(verdict.junit(), encoding="utf-8")
    if summary is None and "GITHUB_STEP_SUMMARY" in os.environ:
        summary = Path(os.environ["GITHUB_STEP_SUMMARY"])
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(verdict.summary())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in verdict.annotations():
            print(line, file=sys.stderr)  # GitHub reads both streams; stdout may be JSON


def _print_verdict(verdict: Verdict) -> None:
    from rich.table import Table

    from fcn_edge.gating.reporters import power_of

    table = Table("", "check", "value", "baseline", "limit", "change", "detectable")
    for check in verdict.checks:
        mark = {True: "ok", False: "FAIL", None: "?"}[check.ok]
        figures = (_figure(value) for value in (check.value, check.baseline, check.limit))
        table.add_row(mark, check.name, *figures, with_option_names(check.reason), power_of(check))
    print_table(table)
    for note in verdict.notes:
        show(note)
    print(f"baseline: {verdict.baseline}; latency is relative to the reference workload")
    print("detectable: the smallest loss that would fail with a probability of 80 % (power)")
    if verdict.verdict == "undecidable":
        say("some checks are undecidable; the change column says what would decide them")
    print(verdict.verdict)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
