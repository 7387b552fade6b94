"""The four methods against what they are defined by, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.calibration.methods import BINS, METHODS, SIGNED, UNSIGNED, limit_from_histogram, share_beyond, sqnr_db

NEAR_BEST_MSE = 1.02  # the noise model against real rounding; 1.004 is seen
SQNR_DB = 0.3  # the same in dB


def values_of(kind, seed, count=50_000):
    random = np.random.default_rng(seed)
    values = {
        "normal": random.standard_normal,
        "laplace": lambda n: random.laplace(size=n),
        "uniform": lambda n: random.uniform(-1, 1, n),
    }[kind.split("+")[0]](count)
    if kind.endswith("+relu"):
        values = np.maximum(values, 0)
    return np.abs(values)


def histogram_of(magnitudes):
    return np.histogram(magnitudes, BINS, (0, magnitudes.max()))[0]


KINDS = ["normal", "laplace", "uniform", "normal+relu", "laplace+relu"]


def divergence(counts, kept, groups):
    """KL(P||Q) of the first `kept` bins as Migacz's slides write it, bin by bin."""
    p = counts[:kept].copy()
    p[-1] += counts[kept:].sum()
    q = np.zeros(kept)
    for group in range(groups):
        bins = slice(group * kept // groups, (group + 1) * kept // groups)
        filled = counts[bins] > 0
        q[bins][filled] = counts[bins].sum() / max(1, filled.sum())
    p, q = p / p.sum(), q / max(q.sum(), 1)
    seen = p > 0
    return np.inf if (q[seen] == 0).any() else float((p[seen] * np.log(p[seen] / q[seen])).sum())


@pytest.mark.slow
@pytest.mark.parametrize("levels", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("kind", ["normal", "laplace+relu"])
def test_entropy_finds_the_least_divergence(kind, levels):
    magnitudes = values_of(kind, 3)
    counts = histogram_of(magnitudes).astype(float)
    limit = limit_from_histogram(counts, BINS, "entropy", levels)
    counts[0] = counts[1]
    all_of_them = {kept: divergence(counts, kept, levels + 1) for kept in range(levels + 1, BINS + 1, 7)}
    found = divergence(counts, round(limit), levels + 1)
    assert found <= min(all_of_them.values()) + 1e-9


@pytest.mark.parametrize("levels", [SIGNED, UNSIGNED])
@pytest.mark.parametrize("kind", KINDS)
def test_mse_is_near_the_least_squared_error_of_real_rounding(kind, levels):
    magnitudes = values_of(kind, 5)

    def error(limit):
        step = limit / levels
        return float(np.square(magnitudes - step * np.minimum(np.rint(magnitudes / step), levels)).mean())

    amax = float(magnitudes.max())
    least = min(error(amax * share) for share in np.linspace(0.02, 1, 200))
    limit = limit_from_histogram(histogram_of(magnitudes), amax, "mse", levels)
    assert error(limit) <= NEAR_BEST_MSE * least
    measured = 10 * np.log10(np.square(magnitudes).mean() / error(limit))
    assert sqnr_db(histogram_of(magnitudes), amax, limit, levels) == pytest.approx(measured, abs=SQNR_DB)


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(METHODS), st.floats(1e-6, 1e6))
@settings(max_examples=30)
def test_limits_scale_with_the_values_and_stay_inside_them(seed, kind, method, factor):
    magnitudes = values_of(kind, seed, 5000)
    counts, amax = histogram_of(magnitudes), float(magnitudes.max())
    limit = limit_from_histogram(counts, amax, method)
    assert 0 < limit <= amax * (1 + 1e-9)
    assert limit_from_histogram(counts, amax * factor, method) == pytest.approx(limit * factor)


@pytest.mark.parametrize("method", METHODS)
def test_tensors_of_one_value_or_none_have_a_limit(method):
    assert limit_from_histogram(np.zeros(BINS, np.int64), 0.0, method) == 0.0
    one = np.zeros(BINS, np.int64)
    one[-1] = 100
    assert limit_from_histogram(one, 3.0, method) == pytest.approx(3.0, rel=1 / BINS)
    assert sqnr_db(one * 0, 0.0, 0.0) is None


def test_more_levels_clip_less():
    counts = histogram_of(values_of("laplace", 1))
    assert limit_from_histogram(counts, 1.0, "mse", UNSIGNED) > limit_from_histogram(counts, 1.0, "mse", SIGNED)


def test_share_beyond_is_counted():
    magnitudes = values_of("uniform", 2)
    counts, amax = histogram_of(magnitudes), float(magnitudes.max())
    for limit in (0.3, 0.9):
        assert share_beyond(counts, amax, limit) == pytest.approx((magnitudes > limit).mean(), abs=1e-3)
    assert share_beyond(counts, amax, amax) == pytest.approx(0, abs=1e-12) and share_beyond(counts, 0.0, 1.0) == 0
