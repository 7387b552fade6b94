"""What drawing keeps from one frame to the next: threads, and arrays that nobody holds any more."""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from fcn_edge.device import usable_cpus
from fcn_edge.kernels import native_kernels

ARRAYS = 8  # of one shape: those in the queues at both ends and under way
SHAPES = 8  # folders hold pictures of many sizes


class ArrayPool:
    """Arrays that are handed out again once nobody but the pool refers to them.

    A view of an array refers to it, so whoever keeps a result, or a part of it, keeps it whole.
    """

    def __init__(self) -> None:
        self._arrays: OrderedDict[tuple[tuple[int, ...], np.dtype[Any]], list[np.ndarray]] = OrderedDict()

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """An array of that shape and type; its content is whatever was there."""
        key = shape, np.dtype(dtype)
        arrays = self._arrays.setdefault(key, [])
        self._arrays.move_to_end(key)
        if len(self._arrays) > SHAPES:
            self._arrays.popitem(last=False)
        for index in range(len(arrays)):
            if sys.getrefcount(arrays[index]) == _HELD_ONCE:
                return arrays[index]
        array = np.empty(shape, dtype)
        if len(arrays) < ARRAYS:
            arrays.append(array)
        return array


def _references_of_one_holder() -> int:
    """What `sys.getrefcount` tells of an array that a list alone holds."""
    arrays = [np.empty(0)]
    return sys.getrefcount(arrays[0])


_HELD_ONCE = _references_of_one_holder()


class Workspace(ArrayPool):
    """Threads and arrays for drawing the views of one engine.

    threads: that share a frame; None takes all that this process may run on.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or usable_cpus()

    @functools.cached_property
    def kernels(self) -> Any:
        """The native workspace, or None where the kernels were not built."""
        native = native_kernels()
        return None if native is None else native.Workspace(min(self.threads, 256))
