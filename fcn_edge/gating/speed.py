"""Latency by a test that knows the noise: ratios to the reference workload of the same round, trimmed.

The reference workload is a fixed piece of work timed beside each frame, so a slower day cancels. Where other processes
used the CPU during one of the records, which preemptions show, times of frames depend more on them than on the
network: then CPU times are compared. Added work is seen either way; added waiting only on an idle machine.
Source of the test: Yuen, "The two-sample trimmed t for unequal population variances", Biometrika 1974.
"""

from __future__ import annotations

from math import ceil, exp, log
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from fcn_edge.gating.check import Check, judged
from fcn_edge.gating.limits import Limits
from fcn_edge.intervals import correlation_of, student_quantile, widening
from fcn_edge.records import RecordRow

TRIMMED = 0.2  # share of the rounds left out at either end
FEWEST_ROUNDS = 6
CERTAIN = 0.975
LIKELY = 0.84  # normal quantile of 80 % power
CALM = 0.15  # preemptions in a millisecond of CPU time: 0.05 to 0.1 on a machine that is let alone, 0.3 on a busy one
MARGIN = 1e-9
MOST_ROUNDS = 300  # beyond that more rounds are not the answer


class _Mean(NamedTuple):
    """A trimmed mean of logarithms, with the square of its standard error and the degrees of freedom of that."""

    value: float
    variance: float
    freedom: float
    rounds: int


def latency_checks(row: RecordRow, base: RecordRow, limits: Limits, why_not: str) -> list[Check]:
    """The ratio of the two latencies against its limit, and the absolute ones.

    why_not: why times of the two records do not compare; empty where they do.
    """
    name = f"{row.name}: latency"
    if why_not:
        checks = [Check(name, "latency", row.latency_ms.p50, base.latency_ms.p50, None, None, why_not)]
    else:
        checks = [_ratio_check(name, row, base, limits.max_latency_ratio)]
    if limits.max_p50_ms is not None:
        checks.append(_ceiling(f"{row.name}: p50 ms", row.latency_ms.p50, limits.max_p50_ms, "ms"))
    if limits.max_p99_ms is not None:
        checks.append(_ceiling(f"{row.name}: p99 ms", row.latency_ms.p99, limits.max_p99_ms, "ms"))
    return checks


def _ratio_check(name: str, row: RecordRow, base: RecordRow, limit: float) -> Check:
    """value, baseline, limit: a frame in units of the reference workload, so that the three compare."""
    is_calm = _is_calm(row) and _is_calm(base)
    ours, theirs = (_rounds(each, "time" if is_calm else "CPU time") for each in (row, base))
    if min(len(ours), len(theirs)) < FEWEST_ROUNDS:
        reason = f"{len(ours)} rounds against {len(theirs)}; the test needs {FEWEST_ROUNDS} or more"
        return Check(name, "latency", None, None, None, None, reason)
    now, then = _trimmed_mean(ours), _trimmed_mean(theirs)
    change = now.value - then.value
    error = (now.variance + then.variance) ** 0.5
    half = student_quantile(CERTAIN, _freedom(now, then)) * error
    low, high = change - half, change + half
    allowed = log(limit) + MARGIN
    ok = judged(low, high, allowed)
    reason = f"{exp(change):.3f}x ({exp(low):.3f} to {exp(high):.3f})" + ("" if is_calm else " of CPU time")
    if ok is None:
        reason += f"; {_what_would_decide(now, then, change, half, allowed)}"
    expected = exp(then.value)
    return Check(
        name,
        "latency",
        round(exp(now.value), 4),
        round(expected, 4),
        round(expected * limit, 4),
        ok,
        reason,
        round(exp(allowed + half + LIKELY * error), 3),
        round(expected * exp(low), 4),
        round(expected * exp(high), 4),
    )


def _is_calm(row: RecordRow) -> bool:
    """Whether the network had the CPU to itself, as far as the row shows it."""
    if not row.preemptions or not row.cpu_ms:
        return True
    return sum(row.preemptions) <= CALM * sum(row.cpu_ms) * len(row.latency_ms.raw) / len(row.cpu_ms)


def _rounds(row: RecordRow, what: Literal["time", "CPU time"]) -> np.ndarray:
    """(rounds,) log of a frame's time over that of the reference workload beside it; empty where not recorded."""
    workload = np.array(row.workload_ms if what == "time" else row.workload_cpu_ms, float)
    raw = row.latency_ms.raw
    if not len(workload) or len(raw) % len(workload):
        return np.empty(0)
    frames = len(raw) // len(workload)
    medians = [median(raw[start : start + frames]) for start in range(0, len(raw), frames)]
    spent = np.array(medians if what == "time" else row.cpu_ms, float)
    if len(spent) != len(workload) or min(spent.min(), workload.min()) <= 0:
        return np.empty(0)
    return np.asarray(np.log(spent / workload))


def _trimmed_mean(values: np.ndarray) -> _Mean:
    """Neighbouring rounds that resemble each other, because a load stays for a while, count for fewer."""
    count = len(values)
    cut = int(TRIMMED * count)
    ordered = np.sort(values)
    kept = count - 2 * cut
    winsorised = np.clip(values, ordered[cut], ordered[count - 1 - cut])
    correlation = float(correlation_of(winsorised[:, None], np.ones(count - 1, bool))[0])
    rho = max(0.0, correlation - count**-0.5)  # less one standard error: so much is often there by chance
    variance = float(winsorised.var(ddof=1)) * (count - 1) / (kept * (kept - 1)) * widening(rho, 1) ** 2
    return _Mean(float(ordered[cut : count - cut].mean()), variance, kept - 1, count)


def _freedom(now: _Mean, then: _Mean) -> float:
    """Welch's; at least 3, as far as the quantile's series reaches."""
    total = now.variance + then.variance
    if total == 0:
        return 1e9
    return max(3.0, total**2 / (now.variance**2 / now.freedom + then.variance**2 / then.freedom))


def _what_would_decide(now: _Mean, then: _Mean, change: float, half: float, allowed: float) -> str:
    """How many rounds would narrow the interval enough, if there are such."""
    distance = abs(change - allowed)
    if half == 0 or distance < half / 30:
        return "right at the limit: no number of rounds decides it"
    shares = now.variance / (now.variance + then.variance)
    wanted = (distance / half) ** 2 - (1 - shares)  # what is left for the record, as the baseline stays as it is
    rounds = ceil(now.rounds * shares / wanted) if wanted > 0 else MOST_ROUNDS + 1
    if rounds <= MOST_ROUNDS:
        return f"undecided after {now.rounds} rounds; {max(rounds, now.rounds + 1)} rounds would decide it"
    if shares > 0.5:
        return f"undecided after {now.rounds} rounds, too noisy for any number of rounds: measure on a quieter machine"
    return f"undecided, and the baseline's {then.rounds} rounds are too few: make it again with more rounds"


def size_checks(row: RecordRow, base: RecordRow, limits: Limits, *, memory: bool) -> list[Check]:
    """Size of the file and, where `memory`, peak memory: one figure each, without noise worth a test."""
    checks = [_growth(f"{row.name}: MB", "size", row.size_mb, base.size_mb, limits.max_size_ratio)]
    if memory:
        name = f"{row.name}: peak MB"
        checks.append(_growth(name, "memory", row.peak_rss_mb, base.peak_rss_mb, limits.max_memory_ratio))
    if limits.max_size_mb is not None:
        checks.append(_ceiling(f"{row.name}: most MB", row.size_mb, limits.max_size_mb, "MB"))
    if limits.max_memory_mb is not None:
        checks.append(_ceiling(f"{row.name}: most peak MB", row.peak_rss_mb, limits.max_memory_mb, "MB"))
    return checks


def _growth(
    name: str, kind: Literal["size", "memory"], value: float | None, expected: float | None, limit: float
) -> Check:
    if not value or not expected:
        return Check(name, kind, value, expected, None, None, "not measured on both sides")
    ok = value <= expected * limit * (1 + MARGIN)
    return Check(name, kind, value, expected, round(expected * limit, 3), ok, f"{value / expected:.3f}x")


def _ceiling(name: str, value: float | None, limit: float, unit: str) -> Check:
    ok = None if value is None else value <= limit * (1 + MARGIN)
    return Check(name, "floor", value, None, limit, ok, f"at most {limit:g} {unit}")
