"""A whole frame on the device: the frame goes up, class map and overlay come down, nothing in between.

Resize, network, sampling, arg-max and blending are queued one after the other in one stream, as one
CUDA graph from the second frame on; what depends on the frame's size or the style is made once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fcn_edge.engines.trt.cuda import Cuda, CudaGraph, Memory, Pinned, Stream
from fcn_edge.engines.trt.kernels import FrameLayout, InputKernel, Kernels, ViewKernel
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import View, ink_table, output_sampling

COUNTS = 256


def layout_of(image: np.ndarray) -> FrameLayout:
    """Of (H, W, 3) uint8 BGR, or (H * 3 / 2, W) uint8 NV12. Raises BadInput for anything else."""
    if not isinstance(image, np.ndarray):
        raise BadInput(f"the image is {type(image).__name__}; expected a numpy array (H, W, 3) uint8 BGR")
    if image.dtype == np.uint8 and image.size and image.ndim == 3 and image.shape[2] == 3:
        return FrameLayout(image.shape[0], image.shape[1])
    if image.dtype == np.uint8 and image.size and image.ndim == 2 and image.shape[0] % 3 == 0:
        return FrameLayout(image.shape[0] * 2 // 3, image.shape[1], "nv12")
    raise BadInput(
        f"frame of shape {image.shape} and type {image.dtype}; expected uint8 BGR (H, W, 3) or NV12 (1.5 H, W)"
    )


class FramePath:
    """Frames of one layout, drawn in one style. network: device memory of its input and of its output.

    run_network queues it between the two kernels; captured records work as a graph, or gives None. result: the
    output's shape without batch, and its type.
    """

    def __init__(
        self,
        kernels: Kernels,
        stream: Stream,
        spec: ModelSpec,
        layout: FrameLayout,
        style: Style,
        *,
        network: tuple[Memory, Memory],
        result: tuple[tuple[int, ...], np.dtype[np.generic]],
        run_network: Callable[[], None],
        captured: Callable[[Callable[[], None]], CudaGraph | None],
    ) -> None:
        cuda, size = kernels.cuda, (layout.height, layout.width)
        self.layout, self.style, self._classes = layout, style, spec.num_classes
        self._stream, self._network, self._run_network, self._captured = stream, network, run_network, captured
        shape, dtype = result
        self._input = InputKernel(kernels, stream, spec.preprocess, layout)
        self._view = ViewKernel(
            kernels,
            stream,
            output_sampling(spec, size),
            layout,
            shape=shape,
            dtype=dtype,
            ink=ink_table(spec.palette, style),
        )
        self._frame = _Pair(cuda, (layout.nbytes,), np.uint8)
        self._class_map, self._counts = _Pair(cuda, size, np.uint8), _Pair(cuda, (COUNTS,), np.uint32)
        self._overlay = _Pair(cuda, (*size, 3), np.uint8) if style.overlay else None
        self._graph: CudaGraph | None = None
        self._runs = 0

    def segment(self, image: np.ndarray) -> View:
        """The view of one frame; its arrays belong to the caller."""
        np.copyto(self._frame.host.array, image.reshape(-1))
        if self._runs == 1:
            self._graph = self._captured(self._queue)
        if self._graph is not None:
            self._stream.run(self._graph)
        else:
            self._queue()
        self._stream.synchronize()
        self._runs += 1
        counts = self._counts.host.array[: self._classes].astype(np.int64)
        overlay = None if self._overlay is None else self._overlay.host.array.copy()
        return View(self._class_map.host.array.copy(), overlay, counts, True)

    def _queue(self) -> None:
        stream, (source, output), frame = self._stream, self._network, self._frame.device
        stream.copy_in(frame, self._frame.host.array)
        self._input.launch(stream, frame, source)
        self._run_network()
        overlay = None if self._overlay is None else self._overlay.device
        self._view.launch(stream, output, frame, self._class_map.device, overlay, self._counts.device)
        for pair in (self._class_map, self._counts, self._overlay):
            if pair is not None:
                stream.copy_out(pair.host.array, pair.device)

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()
        for part in (self._overlay, self._counts, self._class_map, self._frame, self._view, self._input):
            if part is not None:
                part.close()


class _Pair:
    """An array on the host, pinned, and its place on the device."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self.host: Pinned = cuda.pinned(shape, dtype)
        self.device: Memory = cuda.alloc(self.host.array.nbytes)

    def close(self) -> None:
        self.device.close()
        self.host.close()
