"""A fixed piece of work that is timed beside every frame of every variant.

A minute in which the machine is slow slows it too, so a variant's time divided by the yardstick's of the
same turn can be held against that of another minute or another day. It knows no network and no runtime,
whose changes it would hide. The threads meet after each step, as a network's do after each layer.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

NAME = "float32 multiply-adds, 64 KB a thread, 8 steps"  # another workload takes another name
STEPS = 8
PASSES = 60
VALUES = 8192  # of each of two arrays: together they fit a second-level cache


class Yardstick:
    """The work, on as many threads as the engines beside it use."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "yardstick")
        self._parts = [(np.full(VALUES, 1.5, np.float32), np.full(VALUES, 0.5, np.float32)) for _ in range(threads)]

    def measured_ms(self) -> tuple[float, float]:
        """(how long the work took now, how much of a CPU each thread had for it)."""
        started, used = time.monotonic_ns(), time.process_time_ns()
        for _ in range(STEPS):
            list(self._pool.map(_multiply_and_add, self._parts))
        return (time.monotonic_ns() - started) / 1e6, (time.process_time_ns() - used) / 1e6 / len(self._parts)

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _multiply_and_add(part: tuple[np.ndarray, np.ndarray]) -> None:
    """Halves and adds back, so that the values stay what they are and none becomes subnormal."""
    values, half = part
    for _ in range(PASSES):
        np.multiply(values, half, out=values)
        np.add(values, 0.75, out=values)
