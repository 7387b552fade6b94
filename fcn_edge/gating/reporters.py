"""A verdict for machines and pull requests: JUnit XML, a job summary in Markdown, annotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from fcn_edge.gating.check import Check

if TYPE_CHECKING:
    from fcn_edge.gating.verdict import Verdict

MARKS = {True: "✅", False: "❌", None: "❔"}
HEADINGS = {"pass": "passed", "fail": "**failed**", "undecidable": "could not be decided"}


def junit_of(verdict: Verdict) -> str:
    """A test case a check: a failed one is a failure, an undecided one is skipped, with the reason."""
    suite = ElementTree.Element(
        "testsuite",
        name="fcn-edge gate",
        tests=str(len(verdict.checks)),
        failures=str(len(verdict.failed)),
        skipped=str(len(verdict.undecided_checks)),
        errors="0",
    )
    for check in verdict.checks:
        row, _, what = check.name.rpartition(": ")
        case = ElementTree.SubElement(suite, "testcase", classname=row.replace(".", "_"), name=what)
        if check.ok is False:
            ElementTree.SubElement(case, "failure", message=check.reason).text = _figures(check)
        elif check.ok is None:
            ElementTree.SubElement(case, "skipped", message=check.reason)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def summary_of(verdict: Verdict) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY: what failed first, then what is undecided, then the rest."""
    failed, undecided = len(verdict.failed), len(verdict.undecided_checks)
    lines = [
        f"## fcn-edge gate {HEADINGS[verdict.verdict]}",
        "",
        f"{len(verdict.checks) - failed - undecided} checks ok, {failed} failed, {undecided} undecided.",
        "",
        "| | check | change | minimum detectable change (80 % power) |",
        "|---|---|---|---|",
    ]
    order: dict[bool | None, int] = {False: 0, None: 1, True: 2}
    for check in sorted(verdict.checks, key=lambda check: order[check.ok]):
        lines.append(f"| {MARKS[check.ok]} | {_cell(check.name)} | {_cell(check.reason)} | {power_of(check)} |")
    lines += ["", *(f"- {note}" for note in verdict.notes)]
    return "\n".join(lines).rstrip() + "\n"


def annotations_of(verdict: Verdict) -> Iterator[str]:
    """Workflow commands that GitHub shows on the pull request: an error for what failed, a warning for what is
    undecided."""
    for check in verdict.checks:
        if check.ok is not True:
            level = "error" if check.ok is False else "warning"
            yield f"::{level} title=fcn-edge gate::{_escaped(f'{check.name}: {check.reason}')}"


def power_of(check: Check) -> str:
    """The minimum detectable change, in points or as a ratio; "" where nothing is random."""
    if check.power is None:
        return ""
    return f"{check.power:.2f}x" if check.kind == "latency" else f"-{check.power:.2f} points"


def _figures(check: Check) -> str:
    return f"value {check.value}, baseline {check.baseline}, limit {check.limit}: {check.reason}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """Source: GitHub's toolkit, packages/core/src/command.ts."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
