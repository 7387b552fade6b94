"""Run a plan on a GPU: one upload and one download per frame, no allocation per frame.

`start` copies a frame into pinned memory and queues all of its work; `wait` waits for the oldest frame and returns
its result. With two frames in flight the GPU works while the host processes a result. If the CUDA kernels were not
built, only the network runs on the device.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from fcn_edge.engines.base import Engine, Place
from fcn_edge.engines.trt.cuda import Cuda, CudaFailed
from fcn_edge.engines.trt.frames import FramePath, FrameSlot, layout_of
from fcn_edge.engines.trt.kernels import FrameLayout, Kernels, has_view_kernel
from fcn_edge.engines.trt.network import PlanNetwork, RunnablePlan
from fcn_edge.engines.trt.replay import Recorder
from fcn_edge.engines.trt.slots import NetworkSlot, free_slot
from fcn_edge.engines.trt.vendor import log_of, vendor_calls
from fcn_edge.errors import BackendMissing
from fcn_edge.frame import Frame, Result, Style, Times

log = logging.getLogger(__name__)
PATHS = 4  # buffers are kept for this many combinations of frame size and style, for sources of several sizes


class PlanEngine(Engine):
    """A deserialized plan with its context and buffers. `runtime`: name and version; `gpu`: the GPU that it runs on.

    All three stages run on the device, which also takes NV12 frames (H * 3 / 2, W). Resized pixels may differ by
    one level from OpenCV's, and the class with them if two scores are nearly equal. The stages are timed by CUDA
    events, with copies in the first and last; launching and waiting count as `infer_ns`.
    """

    def __init__(
        self, plan: RunnablePlan, trt: Any, cuda: Cuda, *, in_flight: int = 1, cuda_graph: bool = True
    ) -> None:
        """Takes ownership of `cuda`: closes it here if opening fails, otherwise in `close`.

        Raises:
            BadInput: the plan cannot be loaded or does not match its spec. BackendMissing: CUDA failed.
        """
        super().__init__(plan.spec, precision=plan.precision, execution=plan.execution, path=plan.path)
        self.target, self.runtime = plan.target, f"{plan.target} {trt.__version__}"
        self.gpu, self.in_flight = cuda.gpu, in_flight
        self._trt, self._cuda = trt, cuda
        self._network: PlanNetwork | None = None
        self._kernels: Kernels | None = None
        self._paths: OrderedDict[tuple[FrameLayout, Style], FramePath] = OrderedDict()  # most recently used last
        self._slots: list[NetworkSlot] = []
        try:
            with self._failures("be opened"):
                self._network = PlanNetwork(plan, trt)
                is_wanted = cuda_graph and cuda.driver.can_capture
                self._recorder = Recorder(cuda.stream(), plan.path.parent.name, is_wanted=is_wanted)
                self._network.take(self._network.usual_shape)
                self._kernels = self._loaded_kernels()
        except BaseException:
            with suppress(CudaFailed):
                self.close()
            raise

    @property
    def device_bytes(self) -> int:
        """Device memory of buffers and activations; TensorRT does not report that of weights."""
        return self._cuda.device_bytes + self._plan_network.activation_bytes

    @property
    def _plan_network(self) -> PlanNetwork:
        self._require_open()
        assert self._network is not None
        return self._network

    def _begin_frame(self, frame: Frame, style: Style) -> Callable[[], Result]:
        if self._kernels is None:
            return super()._begin_frame(frame, style)
        begun_ns = time.monotonic_ns()
        layout = layout_of(frame.image)
        with self._failures("run"):
            slot = self._path_for(self._kernels, layout, style).start(frame.image)
        return partial(self._result_of, frame, slot, begun_ns, time.monotonic_ns())

    def _result_of(self, frame: Frame, slot: FrameSlot, begun_ns: int, queued_ns: int) -> Result:
        try:
            with self._failures("run"):
                stages = slot.wait()
                done_ns = time.monotonic_ns()
                view = slot.view(self.workspace.take)
        finally:
            slot.is_busy = False
        drawn_ns = time.monotonic_ns()
        input_ns = queued_ns - begun_ns + stages.input_ns
        view_ns = drawn_ns - done_ns + stages.view_ns
        infer_ns = max(stages.infer_ns, drawn_ns - begun_ns - input_ns - view_ns)
        return Result(
            frame, *view, times=Times(input_ns, infer_ns, view_ns, drawn_ns - frame.captured_ns, frame.capture_ns)
        )

    def _begin_input(self, x: np.ndarray, place: Place) -> Callable[[], np.ndarray]:
        with self._failures("run"):
            self._take(x.shape)
            make = partial(NetworkSlot, self._cuda, self._plan_network, self._recorder)
            slot = free_slot(self._slots, make, self._cuda)
            slot.start(x)
        return partial(self._output_of, slot)

    def _output_of(self, slot: NetworkSlot) -> np.ndarray:
        try:
            with self._failures("run"):
                result = slot.wait()
        finally:
            slot.is_busy = False
        out = self.workspace.take(result.shape, np.uint8 if self.spec.head.kind == "classes" else np.float32)
        np.copyto(out, result, casting="unsafe")  # half precision, or wider classes
        return out

    def _path_for(self, kernels: Kernels, layout: FrameLayout, style: Style) -> FramePath:
        """The path for such frames, created if there is none."""
        self._take((1, *self.spec.preprocess.size, 3))
        path = self._paths.get((layout, style))
        if path is None:
            self._forget_old_paths()
            with self._cuda.all_or_nothing():
                path = FramePath(kernels, self._plan_network, self._recorder, self.spec, layout=layout, style=style)
            self._paths[layout, style] = path
        self._paths.move_to_end((layout, style))
        return path

    def _forget_old_paths(self) -> None:
        """Make room for one more; paths with a frame in flight are kept."""
        for key, path in list(self._paths.items()):
            if len(self._paths) >= PATHS and path.is_idle:
                del self._paths[key]
                path.close()

    def _take(self, shape: tuple[int, ...]) -> None:
        """Set the input shape; buffers for another shape are freed."""
        if shape == self._plan_network.shape:
            return
        self._cuda.rest()
        for path in self._paths.values():
            path.close()
        for slot in self._slots:
            slot.close()
        self._paths.clear()
        self._slots.clear()
        self._plan_network.take(shape)

    def _loaded_kernels(self) -> Kernels | None:
        """The CUDA kernels; without them frames are resized and views drawn on the CPU."""
        if self.spec.preprocess.interpolation == "area":
            log.warning("%s: frames are resized and drawn on the CPU (no kernel for resize by area)", self.path.name)
            return None
        network = self._plan_network
        if not has_view_kernel(network.result_shape[1:], network.result_type):
            output = f"{network.result_type}{network.result_shape}"
            log.warning("%s: frames are resized and drawn on the CPU (no kernel for %s)", self.path.name, output)
            return None
        try:
            return Kernels(self._cuda)
        except BackendMissing as error:
            log.warning("%s: frames are resized and drawn on the CPU (%s)", self.path.name, error)
            return None

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Make the GPU current inside the block; raise failures of CUDA or TensorRT with the file's name.

        After a failure the stream is synchronised, so that queued work no longer uses the frame's buffers.
        """
        try:
            with self._cuda.active(), vendor_calls(self.path, self.runtime, log_of(self._trt)):
                try:
                    yield
                except BackendMissing:
                    with suppress(CudaFailed):
                        self._cuda.rest()
                    raise
        except CudaFailed as error:
            raise BackendMissing(f"{self.path}: cannot {what} on {self.gpu.name} ({error})") from error

    def _release(self) -> None:
        """Wait, then free context, engine and runtime, then all CUDA resources."""
        try:
            with self._cuda.active():
                try:
                    self._cuda.rest()
                finally:
                    if self._network is not None:
                        self._network.release()
        finally:
            self._cuda.close()
