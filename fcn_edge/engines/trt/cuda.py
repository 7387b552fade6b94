"""CUDA resources: device memory, pinned host memory, streams, events, modules and graphs.

`Cuda` owns all resources of one engine; `close` synchronises every stream, then frees them, newest first.
It calls a `Driver`, a flat list of driver calls, with two implementations: `cuda-python` and `pycuda`. Tests have a
third, in numpy, that checks order and lifetime. Use a `Cuda` from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from fcn_edge.errors import BackendMissing, FcnEdgeError

Size3 = tuple[int, int, int]
REMEDY = "pip install cuda-python (on Jetson: pip install pycuda)"


class CudaFailed(BackendMissing):
    """A call of the CUDA driver failed; the message has its name and the driver's error."""


@dataclass(frozen=True)
class Gpu:
    """sm: compute capability, 87 for 8.7. driver: the newest CUDA version that the driver supports, such as "12.6"."""

    name: str
    sm: int
    memory_bytes: int
    driver: str


class Driver(Protocol):
    """Driver calls on plain integers (addresses and handles). Every failure is a CudaFailed.

    `enter` makes the device's primary context, which TensorRT also uses, current in the calling
    thread, and `leave` restores the previous one; make all other calls between them.
    Arrays to copy are contiguous, and pinned for asynchronous copies.
    Arguments of `launch` are numpy scalars of exactly the kernel's types. `record_in_graph` records an event in
    a stream that is being captured, so that each run of the graph records it again.
    """

    name: str  # with version: "cuda-python 12.9.1"
    can_capture: bool  # whether it supports CUDA graphs

    def gpu(self) -> Gpu: ...
    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def free_bytes(self) -> int: ...
    def alloc(self, nbytes: int) -> int: ...
    def free(self, address: int) -> None: ...
    def alloc_host(self, nbytes: int) -> np.ndarray: ...
    def free_host(self, array: np.ndarray) -> None: ...
    def create_stream(self) -> int: ...
    def destroy_stream(self, stream: int) -> None: ...
    def synchronize(self, stream: int) -> None: ...
    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None: ...
    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None: ...
    def create_event(self) -> int: ...
    def destroy_event(self, event: int) -> None: ...
    def record(self, event: int, stream: int) -> None: ...
    def record_in_graph(self, event: int, stream: int) -> None: ...
    def hold(self, stream: int, event: int) -> None: ...
    def wait_for(self, event: int) -> None: ...
    def elapsed_ms(self, start: int, end: int) -> float: ...
    def load_module(self, image: bytes) -> int: ...
    def unload_module(self, module: int) -> None: ...
    def function(self, module: int, name: str) -> int: ...
    def launch(
        self, function: int, grid: Size3, block: Size3, shared_bytes: int, stream: int, args: Sequence[np.generic]
    ) -> None: ...
    def begin_capture(self, stream: int) -> None: ...
    def end_capture(self, stream: int) -> int: ...
    def launch_graph(self, graph: int, stream: int) -> None: ...
    def destroy_graph(self, graph: int) -> None: ...
    def close(self) -> None: ...


class _Owned:
    """A resource of the driver; `close` frees it once."""

    def __init__(self, cuda: Cuda, close: Callable[[], None]) -> None:
        self._cuda, self._close = cuda, close
        cuda._owned[self] = None

    def close(self) -> None:
        if self in self._cuda._owned:
            del self._cuda._owned[self]
            self._close()


class Memory(_Owned):
    """Device memory. address: for kernels and TensorRT."""

    def __init__(self, cuda: Cuda, nbytes: int) -> None:
        self.nbytes, self.address = nbytes, cuda.driver.alloc(nbytes)
        super().__init__(cuda, lambda: cuda.driver.free(self.address))


class Pinned(_Owned):
    """Page-locked host memory as `array`; do not access the array after `close`."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        raw = cuda.driver.alloc_host(max(1, int(np.prod(shape)) * dtype.itemsize))
        self.array: np.ndarray = raw[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
        super().__init__(cuda, lambda: cuda.driver.free_host(raw))


class Event(_Owned):
    """A position in a stream."""

    def __init__(self, cuda: Cuda) -> None:
        self.handle = cuda.driver.create_event()
        super().__init__(cuda, lambda: cuda.driver.destroy_event(self.handle))

    def wait(self) -> None:
        """Wait until all work before the event is done."""
        self._cuda.driver.wait_for(self.handle)

    def ms_since(self, start: Event) -> float:
        """Milliseconds on the device between two completed events."""
        return self._cuda.driver.elapsed_ms(start.handle, self.handle)


class CudaGraph(_Owned):
    """Work recorded from a stream, started by one call."""

    def __init__(self, cuda: Cuda, handle: int) -> None:
        self.handle = handle
        super().__init__(cuda, lambda: cuda.driver.destroy_graph(handle))


class Module(_Owned):
    """Compiled kernels: the bytes of a fatbin, a cubin or PTX."""

    def __init__(self, cuda: Cuda, image: bytes) -> None:
        self.handle = cuda.driver.load_module(image)
        super().__init__(cuda, lambda: cuda.driver.unload_module(self.handle))

    def function(self, name: str) -> int:
        """The kernel of that (extern "C") name."""
        return self._cuda.driver.function(self.handle, name)


class Stream(_Owned):
    """A queue of work in order. Work is complete only after `synchronize` or after waiting for a later event."""

    def __init__(self, cuda: Cuda) -> None:
        self.handle = cuda.driver.create_stream()
        self._is_captured = False
        super().__init__(cuda, self._end)

    def _end(self) -> None:
        try:
            self.synchronize()
        finally:
            self._cuda.driver.destroy_stream(self.handle)

    def copy_in(self, memory: Memory, array: np.ndarray) -> None:
        """Host to device; do not change `array` until the copy is done."""
        _require_room(memory, array)
        self._cuda.driver.copy_in(memory.address, array, self.handle)

    def copy_out(self, array: np.ndarray, memory: Memory) -> None:
        """Device to host; `array` is valid after the copy is done."""
        _require_room(memory, array)
        self._cuda.driver.copy_out(array, memory.address, self.handle)

    def record(self, event: Event) -> None:
        """Record an event here; during capture, in each run of the graph."""
        record = self._cuda.driver.record_in_graph if self._is_captured else self._cuda.driver.record
        record(event.handle, self.handle)

    def hold(self, event: Event) -> None:
        """Make later work in this stream wait for the event, without blocking the host."""
        self._cuda.driver.hold(self.handle, event.handle)

    def launch(
        self, function: int, grid: Size3, block: Size3, args: Sequence[Memory | np.generic], *, shared_bytes: int = 0
    ) -> None:
        """Start a kernel. args: device memory, and numpy scalars of exactly the kernel's types."""
        values = [np.uint64(arg.address) if isinstance(arg, Memory) else arg for arg in args]
        self._cuda.driver.launch(function, grid, block, shared_bytes, self.handle, values)

    def run(self, graph: CudaGraph) -> None:
        self._cuda.driver.launch_graph(graph.handle, self.handle)

    def synchronize(self) -> None:
        """Wait until all work of this stream is done."""
        self._cuda.driver.synchronize(self.handle)

    @contextmanager
    def captured(self) -> Iterator[list[CudaGraph]]:
        """Capture the work queued inside the block instead of running it; the list then contains its CudaGraph."""
        made: list[CudaGraph] = []
        self._cuda.driver.begin_capture(self.handle)
        self._is_captured = True
        try:
            yield made
        except BaseException:
            self._drop_capture()
            raise
        finally:
            self._is_captured = False
        made.append(CudaGraph(self._cuda, self._cuda.driver.end_capture(self.handle)))

    def _drop_capture(self) -> None:
        """End a capture that failed, so that the stream can be used again."""
        try:
            graph = self._cuda.driver.end_capture(self.handle)
        except CudaFailed:  # it was invalid: nothing to drop
            return
        self._cuda.driver.destroy_graph(graph)


class Cuda:
    """One GPU for one engine. Call everything except `close` inside `with cuda.active():`."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.gpu = driver, driver.gpu()
        self._owned: dict[_Owned, None] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this GPU current in the calling thread inside the block."""
        self.driver.enter()
        try:
            yield
        finally:
            self.driver.leave()

    @property
    def device_bytes(self) -> int:
        """Device memory allocated by this object and not freed."""
        return sum(owned.nbytes for owned in self._owned if isinstance(owned, Memory))

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Free what was allocated inside if the block fails."""
        before = set(self._owned)
        try:
            yield
        except BaseException:
            with suppress(CudaFailed):
                self.rest()
            for owned in reversed([owned for owned in self._owned if owned not in before]):
                with suppress(CudaFailed):
                    owned.close()
            raise

    def alloc(self, nbytes: int) -> Memory:
        return Memory(self, nbytes)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> Pinned:
        return Pinned(self, shape, np.dtype(dtype))

    def stream(self) -> Stream:
        return Stream(self)

    def event(self) -> Event:
        return Event(self)

    def module(self, image: bytes) -> Module:
        return Module(self, image)

    def rest(self) -> None:
        """Synchronise all streams of this object. Raises the first failure."""
        failed: list[FcnEdgeError] = []
        for owned in self._owned:
            if isinstance(owned, Stream):
                with _kept(failed):
                    owned.synchronize()
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Wait for all streams, then free everything, newest first, even if some calls fail.

        Raises the first failure at the end.
        """
        failed: list[FcnEdgeError] = []
        with _kept(failed), self.active():
            with _kept(failed):
                self.rest()
            for each in list(reversed(self._owned)):
                with _kept(failed):
                    each.close()
        with _kept(failed):
            self.driver.close()
        if failed:
            raise failed[0]


@contextmanager
def _kept(failed: list[FcnEdgeError]) -> Iterator[None]:
    """Collect a failure so that the rest is still freed."""
    try:
        yield
    except FcnEdgeError as error:
        failed.append(error)


def _require_room(memory: Memory, array: np.ndarray) -> None:
    if array.nbytes > memory.nbytes:
        raise CudaFailed(f"a copy of {array.nbytes} bytes does not fit device memory of {memory.nbytes} bytes")
    if not array.flags.c_contiguous:
        raise CudaFailed("a copy between host and device needs a contiguous array")


def open_cuda() -> Cuda:
    """The first GPU, through cuda-python if it is installed, otherwise through pycuda.

    Raises:
        BackendMissing: neither is installed, or CUDA cannot start here.
    """
    if _has("cuda.bindings"):
        from fcn_edge.engines.trt.cuda_python import CudaPython

        return Cuda(CudaPython())
    if _has("pycuda"):
        from fcn_edge.engines.trt.cuda_pycuda import PyCuda

        return Cuda(PyCuda())
    raise BackendMissing(f"using the GPU needs cuda-python or pycuda, neither is installed; {REMEDY}")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
