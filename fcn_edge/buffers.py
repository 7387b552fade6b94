"""Threads and a pool of arrays that drawing reuses between frames."""

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

ARRAYS = 8  # of one size: for frames in both queues and in flight
SIZES = 8  # folders contain images of many sizes


class ArrayPool:
    """Arrays whose memory is reused after they are freed.

    A view of an array holds a reference to it, so its memory is not reused while any part of it is in use.
    """

    def __init__(self) -> None:
        self._free: OrderedDict[int, list[Any]] = OrderedDict()  # number of bytes -> memory of freed arrays

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """An array of that shape and type, not initialised."""
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
    """`size` bytes, allocated by numpy (large blocks in huge pages).

    Not an array itself: so views of an array in this memory refer to that array and keep it alive.
    """
    memory: Any = np.empty(size, np.uint8)
    return (ctypes.c_ubyte * size).from_buffer(memory)


def _give_back(free: list[Any], memory: Any) -> None:
    if len(free) < ARRAYS:
        free.append(memory)


class Buffers(ArrayPool):
    """Threads and arrays for drawing the views of one engine.

    threads: number of threads per frame; None for all cores that this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.threads = threads or usable_cpus()

    @functools.cached_property
    def kernels(self) -> NativeWorkspace | None:
        """The native workspace, or None if the kernels were not built."""
        native = native_kernels()
        return None if native is None else native.Workspace(min(self.threads, 256))
