"""A GPU of numpy arrays that is as asynchronous as a real one may be, and strict about order and lifetime.

Nothing put into a stream happens before the stream, or an event behind the work, is waited for. Until
then the target of a copy to the host is poison. AssertionError tells of what a real GPU would punish at
random: a source changed before its copy, memory freed while work is queued on it, an unknown or freed
address, a call outside of `active`. `fail` makes one call fail as the real drivers say it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fcn_edge.engines.trt.cuda import CudaFailed, Gpu, Size3

POISON = 0xA5
AMPERE = Gpu("NumPy A1", 86, 8 << 30, "12.6")


@dataclass
class Work:
    """One thing to do in a stream. addresses: what must not be freed before.

    source: an array that is read, and must stay what it was when this was queued (`held`).
    target: an array that is written, and is poison until then.
    """

    act: Callable[[], None]
    addresses: tuple[int, ...] = ()
    source: np.ndarray | None = None
    target: np.ndarray | None = None
    event: int | None = None
    held: bytes = b""


@dataclass
class NumpyDriver:
    """`cuda.Driver` for tests. kernels: name -> function(driver, grid, block, args) for `launch`."""

    can_capture: bool = True
    device: Gpu = AMPERE
    kernels: dict[str, Callable[..., None]] = field(default_factory=dict)
    name: str = "numpy 1"

    def __post_init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.hosts: dict[int, np.ndarray] = {}
        self.streams: dict[int, list[Work]] = {}
        self.recording: dict[int, list[Work]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.events: dict[int, bool] = {}
        self.functions: dict[int, str] = {}
        self.modules: dict[int, bytes] = {}
        self.calls: list[str] = []
        self.entered = 0
        self.clock_ms = 0.0  # of the device: each piece of work takes a millisecond
        self.marked_ms: dict[int, float] = {}
        self.is_closed = False
        self._failing: tuple[str, int] | None = None
        self._next = 0x1000

    def fail(self, call: str, after: int = 0) -> None:
        """The call of that name fails, once, after it was made `after` times from now."""
        self._failing = (call, after)

    @property
    def leaks(self) -> list[str]:
        """What was made and not given back."""
        kinds = {
            "memory": self.memory,
            "pinned": self.hosts,
            "stream": self.streams,
            "event": self.events,
            "graph": self.graphs,
            "module": self.modules,
        }
        return [f"{len(held)} {kind}" for kind, held in kinds.items() if held]

    def _called(self, name: str) -> None:
        assert not self.is_closed, f"{name} after close"
        assert self.entered > 0 or name == "enter", f"{name} outside of active()"
        self.calls.append(name)
        if self._failing is not None and self._failing[0] == name:
            left = self._failing[1]
            self._failing = (name, left - 1) if left else None
            if not left:
                raise CudaFailed(f"CUDA: {name} failed (out of memory)")

    def _handle(self, nbytes: int = 0) -> int:
        handle, self._next = self._next, self._next + (nbytes // 256 + 2) * 256
        return handle

    def gpu(self) -> Gpu:
        return self.device

    def enter(self) -> None:
        self._called("enter")
        self.entered += 1

    def leave(self) -> None:
        self.entered -= 1

    def free_bytes(self) -> int:
        return self.device.memory_bytes - sum(array.nbytes for array in self.memory.values())

    def alloc(self, nbytes: int) -> int:
        self._called("alloc")
        assert not any(self.recording), "memory is taken while a graph is recorded"
        address = self._handle(nbytes)
        self.memory[address] = np.full(nbytes, POISON, np.uint8)
        return address

    def free(self, address: int) -> None:
        assert not self._is_used(address), "device memory is freed while work is queued on it"
        array = self.memory.pop(address)
        array[...] = POISON
        self._called("free")

    def _is_used(self, address: int) -> bool:
        return any(address in work.addresses for queue in self.streams.values() for work in queue)

    def at(self, address: int, nbytes: int) -> np.ndarray:
        """The device's bytes, for kernels and engines of tests; only inside of queued work."""
        for start, array in self.memory.items():
            if start <= address and address + nbytes <= start + array.nbytes:
                return array[address - start : address - start + nbytes]
        raise AssertionError(f"address {address:#x} with {nbytes} bytes is not allocated")

    def base(self, address: int) -> int:
        """The start of the allocation that an address lies in."""
        return next(start for start, array in self.memory.items() if start <= address < start + max(array.nbytes, 1))

    def alloc_host(self, nbytes: int) -> np.ndarray:
        self._called("alloc_host")
        array = np.full(nbytes, POISON, np.uint8)
        self.hosts[array.ctypes.data] = array
        return array

    def free_host(self, array: np.ndarray) -> None:
        assert not self._is_read(array), "freed while read"
        self.hosts.pop(array.ctypes.data)[...] = POISON
        self._called("free_host")

    def create_stream(self) -> int:
        self._called("create_stream")
        stream = self._handle()
        self.streams[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        assert not self.streams[stream], "a stream is destroyed with work in it"
        del self.streams[stream]
        self._called("destroy_stream")

    def queue(self, stream: int, work: Work) -> None:
        """Put work into a stream, or into the graph that it is recording."""
        if stream in self.recording:
            self.recording[stream].append(work)
            return
        if work.target is not None and not self._is_read(work.target):
            work.target[...] = POISON
        held = b"" if work.source is None or self._is_written(work.source) else work.source.tobytes()
        self.streams[stream].append(replace(work, held=held))

    def _is_read(self, array: np.ndarray) -> bool:
        queued = [work.source for queue in self.streams.values() for work in queue]
        return any(np.shares_memory(source, array) for source in queued if source is not None)

    def _is_written(self, array: np.ndarray) -> bool:
        queued = [work.target for queue in self.streams.values() for work in queue]
        return any(np.shares_memory(target, array) for target in queued if target is not None)

    def synchronize(self, stream: int) -> None:
        assert stream not in self.recording, "a stream is waited for while its graph is recorded"
        queue = self.streams[stream]
        while queue:
            self._do(queue.pop(0))
        self._called("synchronize")

    def _do(self, work: Work) -> None:
        for address in work.addresses:
            assert address in self.memory, "work is done on freed memory"
        if work.source is not None and work.held:
            assert work.source.tobytes() == work.held, "a source was changed before its copy was done"
        work.act()
        self.clock_ms += work.event is None

    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None:
        self._called("copy_in")
        self._require_pinned(array)
        self.at(address, array.nbytes)
        raw = array.reshape(-1).view(np.uint8)

        def act() -> None:
            self.at(address, raw.nbytes)[...] = raw

        self.queue(stream, Work(act, (self.base(address),), source=raw))

    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None:
        self._called("copy_out")
        self._require_pinned(array)
        self.at(address, array.nbytes)
        raw = array.reshape(-1).view(np.uint8)

        def act() -> None:
            raw[...] = self.at(address, raw.nbytes)

        self.queue(stream, Work(act, (self.base(address),), target=raw))

    def _require_pinned(self, array: np.ndarray) -> None:
        assert any(np.shares_memory(host, array) for host in self.hosts.values()), "a copy with memory that moves"

    def create_event(self) -> int:
        self._called("create_event")
        event = self._handle()
        self.events[event] = True
        return event

    def destroy_event(self, event: int) -> None:
        del self.events[event]
        self._called("destroy_event")

    def record(self, event: int, stream: int) -> None:
        self._called("record")
        assert stream not in self.recording, "an event of a graph that nobody outside can see"
        self.events[event] = False
        self.queue(stream, Work(lambda: self._mark(event), event=event))

    def record_in_graph(self, event: int, stream: int) -> None:
        self._called("record_in_graph")
        self.queue(stream, Work(lambda: self._mark(event), event=event))

    def _mark(self, event: int) -> None:
        self.events[event], self.marked_ms[event] = True, self.clock_ms

    def hold(self, stream: int, event: int) -> None:
        self._called("hold")
        assert event in self.events, "an unknown event"
        self.queue(stream, Work(lambda: self.wait_for(event)))

    def wait_for(self, event: int) -> None:
        self._called("wait_for")
        for queue in self.streams.values():
            while not self.events[event] and any(work.event == event for work in queue):
                self._do(queue.pop(0))
        assert self.events[event], "an event that never comes"

    def elapsed_ms(self, start: int, end: int) -> float:
        assert self.events[start] and self.events[end], "a time between marks that are not reached"
        return self.marked_ms[end] - self.marked_ms[start]

    def load_module(self, image: bytes) -> int:
        self._called("load_module")
        module = self._handle()
        self.modules[module] = image
        return module

    def unload_module(self, module: int) -> None:
        del self.modules[module]
        self._called("unload_module")

    def function(self, module: int, name: str) -> int:
        self._called("function")
        assert module in self.modules
        if name not in self.kernels:
            raise CudaFailed("CUDA: cuModuleGetFunction failed (named symbol not found)")
        handle = self._handle()
        self.functions[handle] = name
        return handle

    def launch(
        self, function: int, grid: Size3, block: Size3, shared_bytes: int, stream: int, args: Sequence[np.generic]
    ) -> None:
        self._called("launch")
        assert min(grid) >= 1 and min(block) >= 1 and np.prod(block) <= 1024
        assert all(isinstance(arg, np.generic) for arg in args), "kernel arguments are numpy scalars"
        kernel = self.kernels[self.functions[function]]
        pointers = [int(arg) for arg in args if isinstance(arg, np.uint64)]
        used = tuple(self.base(address) for address in pointers if address)
        self.queue(stream, Work(lambda: kernel(self, grid, block, args), used))

    def begin_capture(self, stream: int) -> None:
        self._called("begin_capture")
        assert not self.streams[stream], "a capture begins with work in the stream"
        self.recording[stream] = []

    def end_capture(self, stream: int) -> int:
        recorded = self.recording.pop(stream)
        self._called("end_capture")
        graph = self._handle()
        self.graphs[graph] = recorded
        return graph

    def launch_graph(self, graph: int, stream: int) -> None:
        self._called("launch_graph")
        for work in self.graphs[graph]:
            if work.event is not None:
                self.events[work.event] = False
            self.queue(stream, work)

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]
        self._called("destroy_graph")

    def close(self) -> None:
        self.entered += 1
        self._called("close")
        self.entered -= 1
        self.is_closed = True
