"""The verb `gate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_table, say

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
        float | None, typer.Option("--max-class-drop", help="Largest loss of a class's IU, in points [no limit].")
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
    from fcn_edge.atomic_io import read_json, write_json
    from fcn_edge.errors import CheckFailed, Undecidable
    from fcn_edge.gating import limits_from_file, updated_baseline, verdict_from_records
    from fcn_edge.outputs import require_apart, require_outputs
    from fcn_edge.schema import to_mapping

    chosen = limits_from_file(
        limits, max_miou_drop=max_miou_drop, max_class_drop=max_class_drop, max_latency_ratio=max_latency_ratio
    )
    found = read_json(record)
    place = _baseline_for(found, baseline, update=update)
    if update:
        require_apart([place], [record, limits])
        verdict = verdict_from_records(found, read_json(place), chosen) if place.is_file() else None
        write_json(place, updated_baseline(found, reason, verdict), replaces=True)  # what stands there was read as one
        emit({"baseline": str(place), "reason": reason}, as_json=json, human=lambda: print(f"wrote {place}: {reason}"))
        return
    require_outputs([junit], [record, place, limits], kind="junit")
    require_apart([path for path in (junit, summary) if path is not None], [record, place, limits])
    verdict = verdict_from_records(found, read_json(place), chosen)
    _write_reports(verdict, junit, summary)
    told = to_mapping(verdict) | {"baseline": str(place)}
    emit(told, as_json=json, human=lambda: _print_verdict(verdict, place))
    mapped = undecided if undecided and verdict.verdict == "undecidable" else verdict.verdict
    codes = {"pass": 0, "fail": CheckFailed.exit_code, "undecidable": Undecidable.exit_code}
    raise typer.Exit(codes[mapped])


def _baseline_for(record: Mapping[str, Any], given: Path, *, update: bool) -> Path:
    """`given`, or in a folder the baseline of the record's suite: this device's, else the first by name.

    Raises BadInput where the folder has none.
    """
    from fcn_edge.errors import BadInput

    if not given.is_dir():
        return given
    suite, device = record.get("suite") or "bench", record.get("device")
    name = device.get("name") if isinstance(device, dict) else None
    found = sorted(given.glob(f"{suite}.*.json"))
    here = given / f"{suite}.{name}.json"
    if here in found or update:
        return here
    if not found:
        raise BadInput(f"{given}: no baseline of the suite {suite}: {here.name} is what --update would write")
    return found[0]


def _write_reports(verdict: Verdict, junit: Path | None, summary: Path | None) -> None:
    from fcn_edge.atomic_io import whole_file
    from fcn_edge.gating import annotations_of, junit_of, summary_of

    if junit is not None:
        with whole_file(junit, kind="junit") as part:
            part.write_text(junit_of(verdict), encoding="utf-8")
    if summary is None and "GITHUB_STEP_SUMMARY" in os.environ:
        summary = Path(os.environ["GITHUB_STEP_SUMMARY"])
    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(summary_of(verdict))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in annotations_of(verdict):
            print(line, file=sys.stderr)  # GitHub reads both streams; stdout may be JSON


def _print_verdict(verdict: Verdict, baseline: Path) -> None:
    from rich.table import Table

    from fcn_edge.gating.reporters import power_of

    table = Table("", "check", "value", "baseline", "limit", "change", "would have seen")
    show: Callable[[float | None], str] = lambda v: "-" if v is None else f"{v:.4g}"  # noqa: E731
    for check in verdict.checks:
        mark = {True: "ok", False: "FAIL", None: "?"}[check.ok]
        table.add_row(
            mark, check.name, show(check.value), show(check.baseline), show(check.limit), check.reason, power_of(check)
        )
    print_table(table)
    for note in verdict.notes:
        print(note)
    print(f"against {baseline}: latency in units of the yardstick; would have seen: the least loss failed 4 times in 5")
    if verdict.verdict == "undecidable":
        say("some checks could not be decided; what would decide them stands beside each")
    print(verdict.verdict)
