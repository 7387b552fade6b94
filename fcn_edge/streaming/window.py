"""A ring buffer of a run's last measurements, allocated once, and their percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcn_edge.percentiles import nearest_rank

LENGTH = 36_000  # 20 minutes at 30 frames per second


@dataclass(frozen=True)
class Quantiles:
    """Nearest-rank percentiles in milliseconds; None if nothing was measured."""

    p50: float | None
    p99: float | None


class Window:
    """The last `length` rows of int64 numbers. One thread adds, others may read."""

    def __init__(self, columns: int, length: int = LENGTH) -> None:
        self.count = 0
        self._rows = np.full(
            (length, columns), -1, np.int64
        )  # initialised, so that resident memory does not grow later

    def add(self, *row: int) -> None:
        self._rows[self.count % len(self._rows)] = row
        self.count += 1

    def last(self, most: int = LENGTH) -> np.ndarray:
        """(N, columns) int64, oldest first; a copy."""
        count = self.count
        wanted = np.arange(count - min(count, most, len(self._rows)), count)
        return self._rows[wanted % len(self._rows)]


def quantiles_ms(durations_ns: Sequence[int] | np.ndarray) -> Quantiles:
    """Nearest-rank percentiles of durations in nanoseconds."""
    if not len(durations_ns):
        return Quantiles(None, None)
    p50, p99 = nearest_rank(durations_ns, (50, 99))
    return Quantiles(p50 / 1e6, p99 / 1e6)
