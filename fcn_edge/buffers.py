"""What drawing keeps from one frame to the next: threads, and arrays that nobody holds any more."""

from __future__ import annotations

import ctypes
import functools
import math
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fcn_edge.device import usable_cpus
from fcn_edge.kernels import native_kernels

if TYPE_CHECKING:
    from fcn_edge.kernels import NativeWorkspace

ARRAYS = 8  # of one size: those in the queues at both ends and under way
SIZES = 8  # folders hold pictures of many sizes


class ArrayPool:
    """Arrays whose memory is used again once they have been freed.

    A view of an array refers to it, so whoever keeps a result, or a part of it, keeps it whole.
    """

    def __init__(self) -> None:
        self._free: OrderedDict[int, list[Any]] = OrderedDict()  # number of bytes -> memory of freed arrays

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """An array of that shape and type; its content is whatever was there."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        free = self._free.setdefault(size, [])
        self._free.move_to_end(size)
        if len(self._free) > SIZES:
            self._free.popitem(last=False)
        memory = free.pop() if free else _memory_of(size)
        array: np.ndarray = np.ndarray(shape, dtype, memory)
        weakref.finalize(array, _give_back, free, memory).atexit = False
        return array


def _memory_of(size: int) -> Any:
    """So many bytes, as numpy allocates them (in huge pages where they are many).

    No array itself: views of an array in this memory then refer to that array, and keep it.
    """
    memory: Any = np.empty(size, np.uint8)
    return (ctypes.c_ubyte * size).from_buffer(memory)


def _give_back(free: list[Any], memory: Any) -> None:
    if len(free) < ARRAYS:
        free.append(memory)


class Buffers(ArrayPool):
    """Threads and arrays for drawing the views of one engine.

    threads: that share a frame; None takes all that this process may run on.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or usable_cpus()

    @functools.cached_property
    def kernels(self) -> NativeWorkspace | None:
        """The native workspace, or None where the kernels were not built."""
        native = native_kernels()
        return None if native is None else native.Workspace(min(self.threads, 256))
