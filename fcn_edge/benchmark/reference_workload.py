"""A fixed piece of work that is timed beside every frame of every variant.

A minute in which the machine is slow slows it too, so a variant's time divided by the yardstick's of the
same turn can be held against that of another minute or another day. It knows no network and no runtime,
whose changes it would hide. It multiplies matrices, because networks do: where a neighbour shares the core,
plain additions slow down by half where a network hardly does. The threads meet after each step, as a
network's do after each layer.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

NAME = "products of 64x64 float32 matrices, 8 steps of 24 a thread"  # another workload takes another name
STEPS = 8
PRODUCTS = 24
SIDE = 64  # so small that BLAS libraries leave a product to one thread


class Yardstick:
    """The work, on as many threads as the engines beside it use; the caller's is one of them."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, threads - 1), "yardstick")
        shape = (PRODUCTS, SIDE, SIDE)
        self._parts = [[np.full(shape, 1.5, np.float32) for _ in range(3)] for _ in range(threads)]

    def measured_ms(self) -> tuple[float, float]:
        """(how long the work took now, how much of a CPU each thread had for it)."""
        started, used = time.monotonic_ns(), time.process_time_ns()
        for _ in range(STEPS):
            others = [self._pool.submit(_multiply, part) for part in self._parts[1:]]
            _multiply(self._parts[0])
            for other in others:
                other.result()
        return (time.monotonic_ns() - started) / 1e6, (time.process_time_ns() - used) / 1e6 / len(self._parts)

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _multiply(part: list[np.ndarray]) -> None:
    one, other, product = part
    np.matmul(one, other, out=product)
