"""One comparison, and how an interval of a change is judged against a limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["row", "miou", "class", "latency", "size", "memory", "floor"]


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        value, baseline: the two figures; mIoU as fractions, latency in units of the reference workload.
        limit: what `value` must reach or not pass.
        ok: None where the records cannot decide it.
        reason: the change, or why there is none.
        power: minimum detectable change for the worse (80 % power), in the unit of the reason; None where nothing is
            random.
        low, high: the 95 % interval of `value`, where there is one.
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
    """Whether a loss between `low` and `high` is within the limit; None where the limit is between the two."""
    if high <= limit:
        return True
    return False if low > limit else None
