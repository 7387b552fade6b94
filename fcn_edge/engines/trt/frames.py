"""Process a frame on the device: upload the frame, download class map, counts and overlay, no copies in between.

Resize, network, sampling, arg-max and blending are queued in order in one stream, as one CUDA graph
from the second frame of a slot on; what depends on the frame's size or the style is computed once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fcn_edge.engines.base import Take, filled
from fcn_edge.engines.trt.cuda import Memory
from fcn_edge.engines.trt.kernels import COUNTS, NOT_FINITE, FrameLayout, InputKernel, Kernels, ViewKernel
from fcn_edge.engines.trt.network import PlanNetwork
from fcn_edge.engines.trt.replay import Recorder, Replay
from fcn_edge.engines.trt.slots import HostPair, free_slot
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import View, ink_table, output_sampling


def layout_of(image: np.ndarray) -> FrameLayout:
    """Layout of (H, W, 3) uint8 BGR or (H * 3 / 2, W) uint8 NV12. Raises BadInput for anything else."""
    is_picture = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size > 0
    if is_picture and image.ndim == 3 and image.shape[2] == 3:
        return FrameLayout(image.shape[0], image.shape[1])
    if is_picture and image.ndim == 2 and image.shape[0] % 3 == 0:
        return FrameLayout(image.shape[0] * 2 // 3, image.shape[1], "nv12")
    kind = f"{image.dtype}{image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise BadInput(f"the image is {kind}; expected uint8 (H, W, 3) BGR, or (1.5 H, W) NV12")


class StageTimes(NamedTuple):
    """Device time of each stage of a frame in nanoseconds; uploads are in the first, downloads in the last."""

    input_ns: int
    infer_ns: int
    view_ns: int


class FramePath:
    """Frames of one layout, drawn in one style: the kernels with their tables, and slots for frames in flight."""

    def __init__(
        self,
        kernels: Kernels,
        network: PlanNetwork,
        recorder: Recorder,
        spec: ModelSpec,
        *,
        layout: FrameLayout,
        style: Style,
    ) -> None:
        """For the current input shape of the network, one input of `spec`."""
        self.cuda, self.network, self.recorder = kernels.cuda, network, recorder
        self.layout, self.has_overlay, self.classes = layout, style.overlay, spec.num_classes
        stream, size = recorder.stream, (layout.height, layout.width)
        self.input_kernel = InputKernel(kernels, stream, spec.preprocess, layout)
        self.view_kernel = ViewKernel(
            kernels,
            stream,
            output_sampling(spec, size),
            layout,
            shape=network.result_shape[1:],
            dtype=network.result_type,
            ink=ink_table(spec.palette, style),
        )
        self._slots: list[FrameSlot] = []

    @property
    def is_idle(self) -> bool:
        """Whether no frame is in flight."""
        return not any(slot.is_busy for slot in self._slots)

    def start(self, image: np.ndarray) -> FrameSlot:
        """Start a frame of this layout; returns its slot. The caller may change the image afterwards."""
        slot = free_slot(self._slots, lambda: FrameSlot(self), self.cuda)
        slot.start(image)
        return slot

    def close(self) -> None:
        for slot in self._slots:
            slot.close()
        self.view_kernel.close()
        self.input_kernel.close()


class FrameSlot:
    """One frame in flight in a `FramePath`. is_busy: its view was not fetched yet."""

    def __init__(self, path: FramePath) -> None:
        cuda, size = path.cuda, (path.layout.height, path.layout.width)
        self.is_busy = False
        self._path, self._stream = path, path.recorder.stream
        self._frame = HostPair(cuda, (path.layout.nbytes,), np.uint8)
        self.x: Memory = cuda.alloc(int(np.prod(path.network.shape)))
        result_bytes = int(np.prod(path.network.result_shape)) * path.network.result_type.itemsize
        self._output: Memory = cuda.alloc(result_bytes)
        self._class_map, self._counts = HostPair(cuda, size, np.uint8), HostPair(cuda, (COUNTS,), np.uint32)
        self._overlay = HostPair(cuda, (*size, 3), np.uint8) if path.has_overlay else None
        self._begun, self._fed, self._inferred, self._done = (cuda.event() for _ in range(4))
        self._work = Replay(path.recorder, self._queue)

    def start(self, image: np.ndarray) -> None:
        """Start a frame; the caller may change the image afterwards."""
        np.copyto(self._frame.host.array.reshape(image.shape), image)
        self._work.prepare()
        self._stream.record(self._begun)
        self._work.start()
        self._stream.record(self._done)
        self.is_busy = True

    def wait(self) -> StageTimes:
        """Wait until the frame is done."""
        self._done.wait()
        marks = (self._begun, self._fed, self._inferred, self._done)
        return StageTimes(*(round(1e6 * end.ms_since(start)) for start, end in zip(marks, marks[1:])))

    def view(self, take: Take) -> View:
        """The view of the completed frame, in arrays allocated by `take`."""
        overlay = None if self._overlay is None else filled(take, self._overlay.host.array)
        counts = self._counts.host.array
        pixels = counts[: self._path.classes].astype(np.int64)
        return View(filled(take, self._class_map.host.array), overlay, pixels, is_finite=not counts[NOT_FINITE])

    def close(self) -> None:
        parts = (self._work, self._done, self._inferred, self._fed, self._begun, self._overlay, self._counts)
        for part in (*parts, self._class_map, self._output, self.x, self._frame):
            if part is not None:
                part.close()

    def _queue(self) -> None:
        stream, path, frame = self._stream, self._path, self._frame.device
        stream.copy_in(frame, self._frame.host.array)
        path.input_kernel.launch(stream, frame, self.x)
        stream.record(self._fed)
        path.network.queue(stream, self.x, self._output)
        stream.record(self._inferred)
        overlay = None if self._overlay is None else self._overlay.device
        path.view_kernel.launch(stream, self._output, frame, self._class_map.device, overlay, self._counts.device)
        for pair in (self._class_map, self._counts, self._overlay):
            if pair is not None:
                stream.copy_out(pair.host.array, pair.device)
