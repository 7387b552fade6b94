"""What a calibration set covers: the classes it shows, what each tensor loses, and whether more images would help."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from fcn_edge.calibration.images import named
from fcn_edge.calibration.methods import SIGNED, UNSIGNED, Method, share_beyond, sqnr_db
from fcn_edge.calibration.table import CalibrationTable, TensorRange

OUTLIER = 8  # times the median of the tensor's channels
MOVES = 0.10  # relative: a scale that is wrong by less costs under 1 dB
SETTLED = 0.9  # share of tensors that must move by less
WORST = 5


@dataclass(frozen=True)
class TensorCoverage:
    """One tensor at its scale. limit: magnitude at integer `levels` (127, or 255 unsigned).

    clipped: share of values beyond the limit. saturated: share at the last integer, clipped ones
    included. dead: channels that round to zero throughout. outliers: channels that reach 8 times the median
    of those alive. moved: how far apart the limits of two halves of the images are, relative to the larger;
    None for one image. sqnr_db: signal to quantization noise; None where all is zero.
    """

    limit: float
    levels: int
    amax: float
    clipped: float
    saturated: float
    dead: tuple[int, ...]
    outliers: tuple[int, ...]
    channels: int
    moved: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class Coverage:
    """The report. predicted, labelled: class -> share of cells or pixels. worst: tensors of the lowest SQNR.

    settled: whether the scales of both halves agree, so that more images would hardly move them;
    None for one image. verdict: what a person should know, a sentence each.
    """

    predicted: Mapping[str, float]
    labelled: Mapping[str, float] | None
    never_predicted: tuple[str, ...]
    never_labelled: tuple[str, ...]
    tensors: Mapping[str, TensorCoverage]
    worst: tuple[str, ...]
    settled: bool | None
    verdict: tuple[str, ...]


def coverage_from_table(table: CalibrationTable, unsigned: Collection[str] = ()) -> Coverage:
    """The report of a table by its method. unsigned: tensors that are stored as uint8."""
    tensors = {
        name: _of_tensor(entry, table.method, UNSIGNED if name in unsigned else SIGNED)
        for name, entry in table.tensors.items()
    }
    moved = [tensor.moved for tensor in tensors.values() if tensor.moved is not None]
    settled = bool(np.mean(np.array(moved) < MOVES) >= SETTLED) if moved else None
    heard = {name: tensor.sqnr_db for name, tensor in tensors.items() if tensor.sqnr_db is not None}
    never_predicted = tuple(name for name, count in table.predicted.items() if not count)
    never_labelled = tuple(name for name, count in (table.labelled or {}).items() if not count)
    return Coverage(
        predicted=_shares(table.predicted),
        labelled=None if table.labelled is None else _shares(table.labelled),
        never_predicted=never_predicted,
        never_labelled=never_labelled,
        tensors=tensors,
        worst=tuple(sorted(heard, key=lambda name: heard[name])[:WORST]),
        settled=settled,
        verdict=_verdict(table, never_predicted, never_labelled, settled, moved),
    )


def _of_tensor(entry: TensorRange, method: Method, levels: int) -> TensorCoverage:
    limit, counts, channels = entry.limit(method, levels), np.array(entry.histogram), np.array(entry.channels)
    step = limit / levels
    alive = channels[channels > step / 2]
    outlying = channels > OUTLIER * np.median(alive) if alive.size else np.zeros(len(channels), bool)
    return TensorCoverage(
        limit=limit,
        levels=levels,
        amax=entry.amax,
        clipped=share_beyond(counts, entry.amax, limit),
        saturated=share_beyond(counts, entry.amax, limit - step / 2),
        dead=tuple(np.flatnonzero(channels <= step / 2).tolist()),
        outliers=tuple(np.flatnonzero(outlying).tolist()),
        channels=len(channels),
        moved=_apart(*entry.halves[method]) if entry.halves else None,
        sqnr_db=sqnr_db(counts, entry.amax, limit, levels),
    )


def _apart(first: float, second: float) -> float:
    return abs(first - second) / max(first, second) if first or second else 0.0


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = max(1, sum(counts.values()))
    return {name: count / total for name, count in counts.items()}


def _verdict(
    table: CalibrationTable,
    never_predicted: tuple[str, ...],
    never_labelled: tuple[str, ...],
    settled: bool | None,
    moved: list[float],
) -> tuple[str, ...]:
    said = []
    if never_labelled:
        said.append(f"no image shows {', '.join(never_labelled)}: add some that do")
    if unseen := [name for name in never_predicted if name not in never_labelled]:
        said.append(f"the network never says {', '.join(unseen)} here")
    if table.flat:
        said.append(f"{len(table.flat)} of one colour throughout ({named(table.flat)}): they teach no range")
    if settled is None:
        said.append("one image only: nothing tells whether more would move the scales; take 50 or more")
    elif settled:
        said.append(f"the scales are settled (halves of the set differ by {np.median(moved):.1%} in the median)")
    else:
        share = np.mean(np.array(moved) >= MOVES)
        said.append(f"more images would still move the scales: {share:.0%} of them by {MOVES:.0%} or more; add images")
    return tuple(said)
