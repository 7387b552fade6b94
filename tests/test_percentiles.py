"""Percentiles are nearest rank, in bench as in run."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.percentiles import nearest_rank
from fcn_edge.records import Percentiles
from fcn_edge.streaming.window import quantiles_ms

PERCENTS = (50, 90, 95, 99)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 200, 36_000])
def test_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(count):
    values = np.random.default_rng(count).permutation(count) + 1  # 1 to count: a value is its own rank
    ranks = [-(-percent * count // 100) for percent in PERCENTS]  # rounded up, in whole numbers
    assert nearest_rank(values, PERCENTS) == ranks


def test_bench_and_run_report_the_same_percentiles():
    times_ms = np.arange(1, 101, dtype=float)
    bench, run = Percentiles.of(times_ms), quantiles_ms((1e6 * times_ms).astype(np.int64))
    assert bench == Percentiles(50.0, 90.0, 95.0, 99.0)
    assert (bench.p50, bench.p99) == (run.p50, run.p99)


def test_middle_of_two_values_is_the_lower_one():
    assert nearest_rank([7.0, 3.0], (50,)) == [3.0]
