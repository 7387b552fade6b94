"""A plan on a GPU: pinned buffers, one stream, one CUDA graph a buffer, and nothing allocated per frame.

`start` copies a frame into pinned memory and queues copy, network and copy; `wait` waits for the oldest
frame and hands its result over. With two in flight the GPU works while the host looks at a result.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.engines.base import Engine, Execution, Place
from fcn_edge.engines.trt.cuda import Cuda, CudaFailed, CudaGraph, Event, Memory, Pinned
from fcn_edge.engines.trt.frames import FramePath, layout_of
from fcn_edge.engines.trt.kernels import FrameLayout, Kernels
from fcn_edge.engines.trt.plan_options import NvidiaTarget
from fcn_edge.engines.trt.vendor import heard, made, recorded, vendor_calls
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Frame, Result, Style, Times
from fcn_edge.spec import ModelSpec, Precision

log = logging.getLogger(__name__)


@dataclass
class _Slot:
    """Buffers of one frame in flight. result: as the network writes it, before it is copied to the caller."""

    device_in: Memory
    device_out: Memory
    frame: Pinned
    result: Pinned
    done: Event
    graph: CudaGraph | None = None


class PlanEngine(Engine):
    """A deserialized plan with its context and buffers. `runtime`: name and version; `gpu`: where it runs."""

    def __init__(
        self,
        plan: bytes,
        *,
        trt: Any,
        cuda: Cuda,
        target: NvidiaTarget,
        spec: ModelSpec,
        precision: Precision,
        execution: Execution,
        path: Path,
        in_flight: int = 1,
        allow_host_code: bool = False,
        cuda_graph: bool = True,
    ) -> None:
        """Takes `cuda` over and closes it, here where opening fails and in `close` otherwise.

        Raises:
            BadInput: the plan cannot be loaded, or is not of this spec. BackendMissing: CUDA failed.
        """
        super().__init__(spec, precision=precision, execution=execution, path=path)
        self.target, self.runtime = target, f"{target} {trt.__version__}"
        self.gpu = cuda.gpu
        self._trt, self._cuda = trt, cuda
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self.in_flight = in_flight
        self._use_graph = cuda_graph and cuda.driver.can_capture
        self._slots: deque[_Slot] = deque()  # the next first
        self._shape: tuple[int, ...] = ()
        self._kernels: Kernels | None = None
        self._path: FramePath | None = None
        try:
            with self._told("be opened"):
                self._load(plan, allow_host_code)
                self._stream = cuda.stream()
                self._reserve(self._first_shape())
                self._kernels = self._loaded_kernels()
        except BaseException:
            with suppress(CudaFailed):
                self.close()
            raise

    @property
    def device_bytes(self) -> int:
        """Device memory of buffers and of the network's activations; of its weights TensorRT tells nothing."""
        name = "device_memory_size_v2" if hasattr(self._engine, "device_memory_size_v2") else "device_memory_size"
        return self._cuda.device_bytes + int(getattr(self._engine, name))

    def _begin_input(self, x: np.ndarray, place: Place) -> Callable[[], np.ndarray]:
        with self._told("run"):
            if x.shape != self._shape:
                self._reserve(x.shape)
            slot = self._slots[0]
            np.copyto(slot.frame.array, x)
            self._queue(slot)
        self._slots.rotate(-1)
        return partial(self._output_of, slot)

    def _output_of(self, slot: _Slot) -> np.ndarray:
        with self._told("run"):
            slot.done.wait()
        return slot.result.array.astype(np.uint8 if self.spec.head.kind == "classes" else np.float32)

    def _begin_frame(self, frame: Frame, style: Style) -> Callable[[], Result]:
        """As `Engine.segment`, on the device where the kernels were built; there NV12 (H * 3 / 2, W) is taken too.

        Resized pixels may differ by one level from OpenCV's, and so a class where two are nearly equal.
        """
        if self._started or self._kernels is None or self.spec.preprocess.interpolation == "area":
            return super()._begin_frame(frame, style)
        begun = time.monotonic_ns()
        layout = layout_of(frame.image)
        with self._told("run"):
            if self._path is None or (self._path.layout, self._path.style) != (layout, style):
                self._make_path(self._kernels, layout, style)
            assert self._path is not None
            view = self._path.segment(frame.image)
        done = time.monotonic_ns()
        times = Times(0, done - begun, 0, done - frame.captured_ns, frame.capture_ns)
        return lambda: Result(frame, *view, times=times)

    def _make_path(self, kernels: Kernels, layout: FrameLayout, style: Style) -> None:
        """For frames like these, in place of what was there."""
        self._drop_path()
        shape = (1, *self.spec.preprocess.size, 3)
        if shape != self._shape:
            self._reserve(shape)
        slot = self._slots[0]
        result = slot.result.array
        self._path = FramePath(
            kernels,
            self._stream,
            self.spec,
            layout,
            style,
            network=(slot.device_in, slot.device_out),
            result=(result.shape[1:], result.dtype),
            run_network=lambda: self._run_network(slot),
            captured=self._captured,
        )

    def _drop_path(self) -> None:
        if self._path is not None:
            self._path.close()
            self._path = None

    def _load(self, plan: bytes, allow_host_code: bool) -> None:
        with recorded(self._trt) as (logger, said), vendor_calls(self.path, self.runtime, said):
            self._runtime = self._trt.Runtime(logger)
            if allow_host_code:
                self._runtime.engine_host_code_allowed = True
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                reason = said.reason("it gives no reason")
                raise BadInput(f"{self.path}: {self.runtime} cannot load this plan ({reason}); build it anew")
            self._input, self._output = self._tensors()
            context = self._engine.create_execution_context()
            self._context = made(context, f"an execution context of {self.path}", self.runtime, said)

    def _tensors(self) -> tuple[str, str]:
        """Names of the input and the output, after both are held against the spec."""
        engine, mode = self._engine, self._trt.TensorIOMode.INPUT
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == mode]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise BadInput(
                f"{self.path}: the plan has {len(inputs)} inputs and {len(outputs)} outputs; expected one each"
            )
        found, wanted = tuple(engine.get_tensor_shape(inputs[0])), (1, *self.spec.preprocess.size, 3)
        if len(found) != 4 or any(size not in (-1, wish) for size, wish in zip(found, wanted, strict=True)):
            raise BadInput(
                f"{self.path}: the plan takes {_by_x(found)}, and spec.json says {_by_x(wanted)}: they are of different"
                " networks; build the engine anew"
            )
        if (kind := self._numpy_type(inputs[0])) != np.uint8:
            raise BadInput(f"{self.path}: the plan takes {kind} and not uint8 frames: it is not from a file of ours")
        channels = tuple(engine.get_tensor_shape(outputs[0]))[1]
        if self.spec.head.kind != "classes" and channels not in (-1, self.spec.num_classes):
            raise BadInput(f"{self.path}: the plan has {channels} classes, and spec.json {self.spec.num_classes}")
        return inputs[0], outputs[0]

    def _numpy_type(self, name: str) -> np.dtype[Any]:
        kind = self._engine.get_tensor_dtype(name)
        try:
            return np.dtype(self._trt.nptype(kind))
        except TypeError as error:
            raise BadInput(
                f"{self.path}: {name} is of type {kind}, which numpy has not; build from another file"
            ) from error

    def _loaded_kernels(self) -> Kernels | None:
        """Our own kernels; without them frames are resized and views drawn on the CPU."""
        try:
            return Kernels(self._cuda)
        except BackendMissing as error:
            log.warning("%s: frames are resized and drawn on the CPU (%s)", self.path.name, error)
            return None

    def _first_shape(self) -> tuple[int, ...]:
        """What buffers are made for before the first frame: the usual shape of a network of free size."""
        if not self.spec.dynamic:
            return (1, *self.spec.preprocess.size, 3)
        return tuple(self._engine.get_tensor_profile_shape(self._input, 0)[1])

    def _reserve(self, shape: tuple[int, ...]) -> None:
        """Buffers for frames of that shape, in place of the ones there are."""
        self._drop_path()
        for slot in self._slots:
            for part in (slot.graph, slot.done, slot.result, slot.frame, slot.device_out, slot.device_in):
                if part is not None:
                    part.close()
        self._slots, self._shape = deque(), ()
        if not self._context.set_input_shape(self._input, shape):
            reason = self._range() or self._said()
            raise BadInput(f"{self.path}: the plan does not take frames of {_by_x(shape)}: {reason}")
        result_shape, kind = tuple(self._context.get_tensor_shape(self._output)), self._numpy_type(self._output)
        if min(result_shape, default=0) < 1:
            raise BadInput(f"{self.path}: the plan does not say how large its result is ({_by_x(result_shape)})")
        cuda = self._cuda
        for _ in range(self.in_flight):
            frame, result = cuda.pinned(shape, np.uint8), cuda.pinned(result_shape, kind)
            memories = cuda.alloc(frame.array.nbytes), cuda.alloc(result.array.nbytes)
            self._slots.append(_Slot(*memories, frame, result, cuda.event()))
        self._shape = shape

    def _range(self) -> str:
        if not self.spec.dynamic:
            return ""
        low, _, high = self._engine.get_tensor_profile_shape(self._input, 0)
        return f"it was built for {_by_x(tuple(low))} to {_by_x(tuple(high))}"

    def _queue(self, slot: _Slot) -> None:
        """Copy in, run, copy out, mark; as one graph from the second frame of a slot on."""
        if slot.graph is not None:
            self._stream.run(slot.graph)
        else:
            self._enqueue(slot)
            if self._use_graph:
                self._stream.synchronize()  # TensorRT sets itself up in a first run, which a graph must not hold
                slot.graph = self._captured(lambda: self._enqueue(slot))
        self._stream.record(slot.done)

    def _enqueue(self, slot: _Slot) -> None:
        self._stream.copy_in(slot.device_in, slot.frame.array)
        self._run_network(slot)
        self._stream.copy_out(slot.result.array, slot.device_out)

    def _run_network(self, slot: _Slot) -> None:
        context = self._context
        for name, memory in ((self._input, slot.device_in), (self._output, slot.device_out)):
            if not context.set_tensor_address(name, memory.address):
                raise BackendMissing(f"{self.runtime} does not take the address of {name}: {self._said()}")
        if not context.execute_async_v3(self._stream.handle):
            raise BackendMissing(f"{self.runtime} cannot run this plan: {self._said()}")

    def _captured(self, queue: Callable[[], None]) -> CudaGraph | None:
        """What `queue` puts into the stream as a graph; None where that is not allowed, and frames go on without."""
        if not self._use_graph:
            return None
        try:
            with self._stream.captured() as made:
                queue()
        except BackendMissing as error:
            self._use_graph = False
            log.warning("%s: runs without a CUDA graph (%s)", self.path.parent.name, error)
            return None
        return made[0]

    def _said(self) -> str:
        return heard(self._trt).reason("it gives no reason")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """The GPU is current inside; a failure of CUDA or the vendor is told with the file's name.

        After one the stream is at rest: what was queued of a frame uses its buffers no longer.
        """
        try:
            with self._cuda.active(), vendor_calls(self.path, self.runtime, heard(self._trt)):
                try:
                    yield
                except BackendMissing:
                    with suppress(CudaFailed):
                        self._cuda.rest()
                    raise
        except CudaFailed as error:
            raise BackendMissing(f"{self.path}: cannot {what} on {self.gpu.name} ({error})") from error

    def _release(self) -> None:
        """Wait, then free: context, engine and runtime in that order, then everything of CUDA."""
        try:
            with self._cuda.active():
                try:
                    self._cuda.rest()
                finally:
                    self._context = None
                    self._engine = None
                    self._runtime = None
        finally:
            self._cuda.close()


def _by_x(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)
