"""The reference workload: a fixed piece of work that is timed beside every frame of every variant.

Where the machine is slower for a while, so is this work; a variant's time divided by the workload's of the same round
therefore compares with that of another minute or another day. It runs no network and no runtime, whose changes it
would hide. It multiplies matrices, because networks do: where a neighbour shares the core, plain additions slow down
by half where a network hardly does. The threads wait for each other after each step, as a network's do after each
layer.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

NAME = "products of 64x64 float32 matrices, 8 steps of 24 a thread"  # another workload takes another name
STEPS = 8
PRODUCTS = 24
SIDE = 64  # so small that BLAS libraries leave a product to one thread


class ReferenceWorkload:
    """The work, on as many threads as the engines beside it use; the caller's is one of them."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max(1, threads - 1), "reference workload")
        shape = (PRODUCTS, SIDE, SIDE)
        self._parts = [[np.full(shape, 1.5, np.float32) for _ in range(3)] for _ in range(threads)]

    def measured_ms(self) -> tuple[float, float]:
        """(time of the work in ms, CPU time of each thread in ms)."""
        started, used = time.monotonic_ns(), time.process_time_ns()
        for _ in range(STEPS):
            others = [self._pool.submit(_multiply, part) for part in self._parts[1:]]
            _multiply(self._parts[0])
            for other in others:
                other.result()
        return (time.monotonic_ns() - started) / 1e6, (time.process_time_ns() - used) / 1e6 / len(self._parts)

    def __enter__(self) -> ReferenceWorkload:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def _multiply(part: list[np.ndarray]) -> None:
    one, other, product = part
    np.matmul(one, other, out=product)
