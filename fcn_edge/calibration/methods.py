"""From a histogram of magnitudes to the magnitude at the end of the integer range.

All four methods read the same histogram, so that one pass over the images serves them all.
"""

from __future__ import annotations

import functools
from typing import get_args

import numpy as np

from fcn_edge.choices import Method as Method

METHODS: tuple[Method, ...] = get_args(Method)
BINS = 2048
PERCENTILE = 99.99
LOG = np.log(np.maximum(np.arange(BINS + 1.0), 1))  # of how many bins of a group are filled
SIGNED, UNSIGNED = 127, 255  # the largest integer of symmetric int8, and of uint8 with zero point 0


def limit_from_histogram(histogram: np.ndarray, amax: float, method: Method, levels: int = SIGNED) -> float:
    """The magnitude that maps to integer `levels` (127 or 255).

    histogram: (2048,) counts of |x| in equal bins of 0..amax.
    """
    counts = histogram.astype(np.float64)
    if method == "minmax" or not counts.sum():
        return amax
    kept = {"percentile": _percentile_bins, "entropy": _entropy_bins, "mse": _mse_bins}[method](counts, levels)
    return float(kept / BINS * amax)


def _percentile_bins(counts: np.ndarray, levels: int) -> int:
    below = np.cumsum(counts)
    return int(np.searchsorted(below, below[-1] * PERCENTILE / 100)) + 1


def _entropy_bins(counts: np.ndarray, levels: int) -> int:
    """Number of bins kept whose clipped distribution P is nearest, by KL(P||Q), to its quantized form Q.

    P: the first n bins, all that lies beyond added to the last. Q: the first n bins merged into
    levels + 1 equal groups, each spread evenly over its bins that are not empty. Within a group Q
    is constant, so each divergence is a sum over groups of differences of running totals.

    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, slides 36 to 38. Bin 0 is counted as
    bin 1, as in NVIDIA's pytorch-quantization: exact zeros have no rounding to lose.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    if not counts.sum():
        return BINS
    kept = np.arange(levels + 1, BINS + 1)
    edges = _group_edges(levels + 1)
    mass = np.diff(_running(counts)[edges])
    filled = np.diff(np.concatenate([[0], np.cumsum(counts > 0)])[edges])
    density_of_last = mass[:, -1] / np.maximum(filled[:, -1], 1)
    last, beyond = counts[kept - 1], counts.sum() - _running(counts)[kept]
    p_log_p = _running(_x_log_x(counts))[kept - 1] + _x_log_x(last + beyond)
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = np.where(beyond > 0, beyond * np.log(density_of_last), 0)
        p_log_q = (_x_log_x(mass) - mass * LOG[filled]).sum(1) + cross
        divergence = (p_log_p - p_log_q) / counts.sum() + np.log(mass.sum(1) / counts.sum())
    lost = (beyond > 0) & (last == 0)  # Q is 0 where P is not: infinitely far
    return int(kept[np.argmin(np.where(lost | (mass.sum(1) == 0), np.inf, divergence))])


@functools.cache
def _group_edges(groups: int) -> np.ndarray:
    """(candidates, groups + 1): for each number of bins kept, where its equal groups begin and end."""
    return np.arange(groups, BINS + 1)[:, None] * np.arange(groups + 1) // groups


def _mse_bins(counts: np.ndarray, levels: int) -> int:
    """Number of bins kept at the least expected squared error.

    Rounding to steps of s costs s^2 / 12 a value, clipping to c costs (x - c)^2; magnitudes stand at
    the middle of their bins. Bin 0, mostly exact zeros, costs nothing.

    Source: Widrow and Kollar, "Quantization Noise", 2008, chapter 4, for s^2 / 12.
    """
    kept, middle = np.arange(1, BINS + 1), np.arange(BINS) + 0.5
    zeroth, first, second = (_running(counts * middle**power) for power in (0, 1, 2))
    clipped = (second[-1] - second[kept]) - 2 * kept * (first[-1] - first[kept]) + kept**2 * (zeroth[-1] - zeroth[kept])
    rounded = (kept / levels) ** 2 / 12 * (zeroth[kept] - counts[0])
    return int(kept[np.argmin(clipped + rounded)])


def _running(values: np.ndarray) -> np.ndarray:
    """(n + 1,) totals of the first 0, 1, ... n values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _x_log_x(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * np.log(np.maximum(x, 1)))  # counts: 0 or at least 1


def sqnr_db(histogram: np.ndarray, amax: float, limit: float, levels: int = SIGNED) -> float | None:
    """Signal to quantization noise in dB, clipping and rounding as in method "mse"; None for a tensor of zeros."""
    counts, middle = histogram.astype(np.float64), (np.arange(BINS) + 0.5) * amax / BINS
    signal = (counts[1:] * middle[1:] ** 2).sum()
    if not signal or not limit:
        return None
    over = middle > limit
    noise = (counts[over] * (middle[over] - limit) ** 2).sum() + (limit / levels) ** 2 / 12 * counts[1:][
        ~over[1:]
    ].sum()
    return float(10 * np.log10(signal / max(noise, 1e-12 * signal)))


def share_beyond(histogram: np.ndarray, amax: float, magnitude: float) -> float:
    """Share of values of at least `magnitude`; inside a bin they count as evenly spread."""
    counts = histogram.astype(np.float64)
    if not amax or not counts.sum():
        return 0.0
    below = np.interp(magnitude / amax * BINS, np.arange(BINS + 1), _running(counts))
    return float(1 - below / counts.sum())
