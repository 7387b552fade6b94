"""The verdict of a gate: its checks, its exit code and its reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fcn_edge.errors import CheckFailed, FcnEdgeError, Undecidable
from fcn_edge.gating.check import Check
from fcn_edge.gating.reporters import annotations_of, junit_of, summary_of
from fcn_edge.schema import to_mapping

Undecided = Literal["fail", "pass"]
NAMED = 3  # checks in an error's message; the rest are counted


@dataclass(frozen=True)
class Verdict:
    """Whether a record may follow a baseline.

    Args:
        verdict: pass: every check is ok. fail: one is not. undecidable: none failed, but one could not be decided.
        checks: every comparison, in the order of the baseline's rows.
        notes: what was not judged, and why.
        baseline: the file that the record was compared with; None where it was given as a record.
        undecided: what an undecidable verdict counts as; None for an exit code of its own.
    """

    verdict: Literal["pass", "fail", "undecidable"]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    baseline: str | None = None
    undecided: Undecided | None = None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that are not ok."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def undecided_checks(self) -> tuple[Check, ...]:
        """The checks that the records could not decide."""
        return tuple(check for check in self.checks if check.ok is None)

    @property
    def counts_as(self) -> Literal["pass", "fail", "undecidable"]:
        """The verdict, with `undecided` applied."""
        return self.undecided if self.verdict == "undecidable" and self.undecided else self.verdict

    @property
    def error(self) -> FcnEdgeError | None:
        """What a program would raise; None where the verdict counts as a pass."""
        if self.counts_as == "pass":
            return None
        parts = _named("failed", self.failed), _named("undecided", self.undecided_checks)
        text = "; ".join(part for part in parts if part)
        return CheckFailed(text) if self.counts_as == "fail" else Undecidable(text)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 5 undecidable."""
        error = self.error
        return 0 if error is None else error.exit_code

    def summary(self) -> str:
        """Markdown for a job summary: what failed, then what is undecided, then the rest."""
        return summary_of(self)

    def junit(self) -> str:
        """JUnit XML: a test case for each check."""
        return junit_of(self)

    def annotations(self) -> Iterator[str]:
        """GitHub workflow commands: an error for each failed check, a warning for each undecided one."""
        return annotations_of(self)

    def to_mapping(self) -> dict[str, Any]:
        """What `gate --json` prints."""
        return {
            "verdict": self.verdict,
            "checks": to_mapping(self.checks),
            "notes": list(self.notes),
            "baseline": self.baseline,
        }


def _named(word: str, checks: tuple[Check, ...]) -> str:
    if not checks:
        return ""
    more = f" and {len(checks) - NAMED} more" if len(checks) > NAMED else ""
    return f"{word}: {', '.join(f'{check.name} ({check.reason})' for check in checks[:NAMED])}{more}"
