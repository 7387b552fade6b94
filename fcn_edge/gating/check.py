"""One comparison, and how an interval of a change is judged against a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["row", "miou", "class", "latency", "size", "memory", "floor"]


@dataclass(frozen=True)
class Check:
    """One comparison. ok: None where the records cannot decide it.

    value, baseline: the two figures, mIoU as fractions. limit: what `value` must reach or not pass. low, high: the
    interval of `value`, where there is one. power: the smallest change for the worse, in the unit of the reason,
    that these records would nearly always (4 of 5 times) have failed; None where nothing is random.
    """

    name: str
    kind: Kind
    value: float | None
    baseline: float | None
    limit: float | None
    ok: bool | None
    reason: str = ""
    power: float | None = None
    low: float | None = None
    high: float | None = None


def judged(low: float, high: float, limit: float) -> bool | None:
    """A loss of between `low` and `high` against the most that is allowed; None where the two cannot be told apart."""
    if high <= limit:
        return True
    return False if low > limit else None


def number_of(value: object) -> float | None:
    """A finite number, or None."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 1e15 else None  # not NaN either
