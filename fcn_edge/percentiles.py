"""Percentiles of what was measured: one definition for benchmarks and running streams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def nearest_rank(values: Sequence[float] | np.ndarray, percents: Sequence[int]) -> list[float]:
    """For each percent the smallest value with at least that share of all values at or below it.

    Args:
        values: one or more, of any shape and unit.
        percents: 0 to 100.

    Returns:
        One of `values` for each percent, so something that was measured.

    Example:
        >>> nearest_rank([10, 20, 30, 40], (50, 99))
        [20.0, 40.0]
    """
    return [float(value) for value in np.percentile(np.asarray(values), percents, method="inverted_cdf")]
