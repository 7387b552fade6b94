"""Buffers of one input in flight, for the network alone, from host memory to host memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from fcn_edge.engines.trt.cuda import Cuda, Memory, Pinned
from fcn_edge.engines.trt.network import PlanNetwork
from fcn_edge.engines.trt.replay import Recorder, Replay


class HostPair:
    """A pinned host array and its device memory."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any) -> None:
        self.host: Pinned = cuda.pinned(shape, dtype)
        self.device: Memory = cuda.alloc(self.host.array.nbytes)

    def close(self) -> None:
        self.device.close()
        self.host.close()


class NetworkSlot:
    """One input of the network in flight: upload, network, download.

    is_busy: its result was not fetched yet.
    """

    def __init__(self, cuda: Cuda, network: PlanNetwork, recorder: Recorder) -> None:
        """For the current input shape of the network."""
        self.is_busy = False
        self._network, self._stream = network, recorder.stream
        self._x = HostPair(cuda, network.shape, np.uint8)
        self._result = HostPair(cuda, network.result_shape, network.result_type)
        self._done = cuda.event()
        self._work = Replay(recorder, self._queue)

    def start(self, x: np.ndarray) -> None:
        """Start with x; the caller may change x afterwards."""
        np.copyto(self._x.host.array, x)
        self._work.prepare()
        self._work.start()
        self._stream.record(self._done)
        self.is_busy = True

    def wait(self) -> np.ndarray:
        """The result, in pinned memory that the next `start` overwrites."""
        self._done.wait()
        return self._result.host.array

    def close(self) -> None:
        for part in (self._work, self._done, self._result, self._x):
            part.close()

    def _queue(self) -> None:
        self._stream.copy_in(self._x.device, self._x.host.array)
        self._network.queue(self._stream, self._x.device, self._result.device)
        self._stream.copy_out(self._result.host.array, self._result.device)


class Slot(Protocol):
    """The interface that `free_slot` needs."""

    is_busy: bool


SlotKind = TypeVar("SlotKind", bound=Slot)


def free_slot(slots: list[SlotKind], make: Callable[[], SlotKind], cuda: Cuda) -> SlotKind:
    """A slot whose result was fetched, or a new one."""
    for slot in slots:
        if not slot.is_busy:
            return slot
    with cuda.all_or_nothing():
        slots.append(make())
    return slots[-1]
