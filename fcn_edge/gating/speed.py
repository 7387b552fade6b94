"""Latency by a test that knows the noise: ratios to the yardstick of the same turn, trimmed, turn by turn.

The yardstick is a fixed piece of work timed beside each frame, so a slower day cancels. Where other processes held
the CPU in one of the records, which preemptions show, times of frames say more of them than of the network: then CPU
times are compared. Work that was added is seen either way, waiting only where nobody else was busy.
Source of the test: Yuen, "The two-sample trimmed t for unequal population variances", Biometrika 1974.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, exp, log
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np

from fcn_edge.gating.check import Check, judged, number_of
from fcn_edge.gating.limits import Limits
from fcn_edge.intervals import correlation_of, student_quantile, widening
from fcn_edge.records import Row

TRIMMED = 0.2  # share of the turns left out at either end
FEWEST_TURNS = 6
CERTAIN = 0.975
LIKELY = 0.84  # normal quantile of 4 in 5
CALM = 0.15  # preemptions in a millisecond of CPU time: 0.05 to 0.1 on a machine that is let alone, 0.3 on a busy one
MARGIN = 1e-9
MOST_TURNS = 300  # beyond that more turns are not the answer


class _Mean(NamedTuple):
    """A trimmed mean of logarithms, with the square of its standard error and the degrees of freedom of that."""

    value: float
    variance: float
    freedom: float
    turns: int


def latency_checks(
    name: str, row: Row, base: Row, limits: Limits, record: Mapping[str, Any], baseline: Mapping[str, Any], same: bool
) -> list[Check]:
    """The ratio of the two latencies against its limit, and the absolute ones."""
    p50 = number_of(row["latency_ms"].get("p50"))
    checks = []
    label, expected = f"{name}: latency", number_of(base["latency_ms"].get("p50"))
    if not same:
        checks.append(Check(label, "latency", p50, expected, None, None, "another device: its times do not compare"))
    elif record.get("yardstick") != baseline.get("yardstick"):
        checks.append(
            Check(label, "latency", p50, expected, None, None, "measured beside another yardstick: make a new baseline")
        )
    else:
        checks.append(_ratio_check(label, row, base, limits.max_latency_ratio))
    for quantile, limit in (("p50", limits.max_p50_ms), ("p99", limits.max_p99_ms)):
        if limit is not None:
            value = number_of(row["latency_ms"].get(quantile))
            checks.append(_ceiling(f"{name}: {quantile} ms", value, limit, "ms"))
    return checks


def _ratio_check(label: str, row: Row, base: Row, limit: float) -> Check:
    """value, baseline, limit: a frame in units of the yardstick, so that the three compare."""
    is_calm = _is_calm(row) and _is_calm(base)
    ours, theirs = (_turns(each, "time" if is_calm else "CPU time") for each in (row, base))
    if min(len(ours), len(theirs)) < FEWEST_TURNS:
        reason = f"{len(ours)} turns against {len(theirs)}; a test takes {FEWEST_TURNS} or more, see --rounds"
        return Check(label, "latency", None, None, None, None, reason)
    now, then = _trimmed_mean(ours), _trimmed_mean(theirs)
    change = now.value - then.value
    error = (now.variance + then.variance) ** 0.5
    half = student_quantile(CERTAIN, _freedom(now, then)) * error
    low, high = change - half, change + half
    allowed = log(limit) + MARGIN
    ok = judged(low, high, allowed)
    reached = f"{exp(change):.3f}x ({exp(low):.3f} to {exp(high):.3f})" + ("" if is_calm else " of CPU time")
    if ok is None:
        reached += f"; {_what_would_decide(now, then, change, half, allowed)}"
    expected = exp(then.value)
    return Check(
        label,
        "latency",
        round(exp(now.value), 4),
        round(expected, 4),
        round(expected * limit, 4),
        ok,
        reached,
        round(exp(allowed + half + LIKELY * error), 3),
        round(expected * exp(low), 4),
        round(expected * exp(high), 4),
    )


def _is_calm(row: Row) -> bool:
    """Whether the network had the CPU to itself, as far as the row tells."""
    taken, used = row.get("preemptions"), row.get("cpu_ms")
    if not taken or not used:
        return True
    return bool(sum(taken) <= CALM * sum(used) * len(row["latency_ms"]["raw"]) / len(used))


def _turns(row: Row, what: Literal["time", "CPU time"]) -> np.ndarray:
    """(turns,) log of what a frame of each turn took, over the same of the yardstick beside it; empty if untold."""
    suffix = "ms" if what == "time" else "cpu_ms"
    beside = np.array(row.get(f"yardstick_{suffix}") or (), float)
    raw = row["latency_ms"]["raw"]
    if not len(beside) or len(raw) % len(beside):
        return np.empty(0)
    frames = len(raw) // len(beside)
    turns = [median(raw[start : start + frames]) for start in range(0, len(raw), frames)]
    spent = np.array(turns if what == "time" else row.get("cpu_ms") or (), float)
    if len(spent) != len(beside) or min(spent.min(), beside.min()) <= 0:
        return np.empty(0)
    return np.asarray(np.log(spent / beside))


def _trimmed_mean(values: np.ndarray) -> _Mean:
    """Neighbouring turns that resemble each other, because a load stays for a while, count for fewer."""
    count = len(values)
    cut = int(TRIMMED * count)
    ordered = np.sort(values)
    kept = count - 2 * cut
    winsorised = np.clip(values, ordered[cut], ordered[count - 1 - cut])
    found = float(correlation_of(winsorised[:, None], np.ones(count - 1, bool))[0])
    rho = max(0.0, found - count**-0.5)  # less one standard error: so much is often there by chance
    variance = float(winsorised.var(ddof=1)) * (count - 1) / (kept * (kept - 1)) * widening(rho, 1) ** 2
    return _Mean(float(ordered[cut : count - cut].mean()), variance, kept - 1, count)


def _freedom(now: _Mean, then: _Mean) -> float:
    """Welch's; at least 3, as far as the quantile's series reaches."""
    total = now.variance + then.variance
    if total == 0:
        return 1e9
    return max(3.0, total**2 / (now.variance**2 / now.freedom + then.variance**2 / then.freedom))


def _what_would_decide(now: _Mean, then: _Mean, change: float, half: float, allowed: float) -> str:
    """How many turns would narrow the interval enough, if there are such."""
    distance = abs(change - allowed)
    if half == 0 or distance < half / 30:
        return "right at the limit: no number of rounds decides it"
    shares = now.variance / (now.variance + then.variance)
    wanted = (distance / half) ** 2 - (1 - shares)  # what is left for the record, as the baseline stays as it is
    turns = ceil(now.turns * shares / wanted) if wanted > 0 else MOST_TURNS + 1
    if turns <= MOST_TURNS:
        return f"undecided after {now.turns} turns; measure with --rounds {max(turns, now.turns + 1)}"
    if shares > 0.5:
        return f"undecided after {now.turns} turns, too noisy for any number of rounds: a quieter machine would tell"
    return f"undecided, and the baseline's {then.turns} turns are too few: make it again with more rounds"


def size_checks(name: str, row: Row, base: Row, limits: Limits, memory: bool) -> list[Check]:
    """Size of the file and, where `memory`, peak memory: one figure each, without noise worth a test."""
    checks = [_growth(f"{name}: MB", "size", row.get("size_mb"), base.get("size_mb"), limits.max_size_ratio)]
    if memory:
        parts = row.get("peak_rss_mb"), base.get("peak_rss_mb")
        checks.append(_growth(f"{name}: peak MB", "memory", *parts, limits.max_memory_ratio))
    for what, key, limit in (("MB", "size_mb", limits.max_size_mb), ("peak MB", "peak_rss_mb", limits.max_memory_mb)):
        if limit is not None:
            checks.append(_ceiling(f"{name}: most {what}", number_of(row.get(key)), limit, "MB"))
    return checks


def _growth(label: str, kind: Any, given: Any, base: Any, limit: float) -> Check:
    value, expected = number_of(given), number_of(base)
    if not value or not expected:
        return Check(label, kind, value, expected, None, None, "not measured on both sides")
    ok = value <= expected * limit * (1 + MARGIN)
    return Check(label, kind, value, expected, round(expected * limit, 3), ok, f"{value / expected:.3f}x")


def _ceiling(label: str, value: float | None, limit: float, unit: str) -> Check:
    ok = None if value is None else value <= limit * (1 + MARGIN)
    return Check(label, "floor", value, None, limit, ok, f"at most {limit:g} {unit}")
