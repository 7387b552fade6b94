"""The CUDA kernels: a frame to the network's input, and its output to class map and overlay, on the device.

Their source is `native/kernels.cu`; if nvcc was found when fcn-edge was installed, they are compiled in
`kernels.fatbin`. The classes here compute and upload once what depends on the frame size; `launch` only queues work.
Call everything inside `with cuda.active():`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import numpy as np

from fcn_edge.engines.trt.cuda import Cuda, CudaFailed, Memory, Size3, Stream
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.geometry import Axis, Sampling, letterbox_content, stretch
from fcn_edge.spec import Preprocess
from fcn_edge.transforms import nearest_cells, taps

Address = Memory | np.uint64  # own device memory, or an external address
COLUMN = 8  # as in kernels.cu: rows per thread of a view
BLOCK = (32, 4, 1)
NULL = np.uint64(0)
COUNTS, NOT_FINITE = 257, 256  # pixels per class, then the number of NaN or infinite scores
_VALUES = {"float32": "f32", "float16": "f16", "uint8": "u8"}


@dataclass(frozen=True)
class FrameLayout:
    """A frame in memory, rows without gaps: (height, width, 3) BGR, or NV12, (height * 3 / 2, width).

    Raises:
        BadInput: NV12 with odd height or width.
    """

    height: int
    width: int
    format: Literal["bgr", "nv12"] = "bgr"

    def __post_init__(self) -> None:
        if self.format == "nv12" and (self.height % 2 or self.width % 2):
            raise BadInput(f"NV12 frame of {self.height}x{self.width}; expected even height and width")

    @property
    def nbytes(self) -> int:
        return self.height * self.width * 3 // (1 if self.format == "bgr" else 2)

    @property
    def arguments(self) -> list[np.generic]:
        """Kernel arguments after the frame's address: pitch, height, width."""
        pitch = self.width * (3 if self.format == "bgr" else 1)
        return [np.int32(pitch), np.int32(self.height), np.int32(self.width)]


def kernels_image() -> bytes:
    """The compiled kernels of this installation. Raises BackendMissing if there are none."""
    try:
        return resources.files("fcn_edge").joinpath("kernels.fatbin").read_bytes()
    except OSError as error:
        raise BackendMissing(
            "the CUDA kernels are not built: nvcc was not found when fcn-edge was installed; put it on the PATH"
            " (Jetson: export PATH=/usr/local/cuda/bin:$PATH) and reinstall fcn-edge"
        ) from error


class Kernels:
    """The kernels on one GPU.

    Raises:
        BackendMissing: they were not built, or not for this GPU.
    """

    def __init__(self, cuda: Cuda, image: bytes | None = None) -> None:
        self.cuda = cuda
        image = kernels_image() if image is None else image
        try:
            self._module = cuda.module(image)
        except CudaFailed as error:
            raise BackendMissing(
                f"the CUDA kernels do not load on {cuda.gpu.name}, SM {cuda.gpu.sm} ({error}); reinstall fcn-edge"
                " on this machine, so that its own nvcc compiles them"
            ) from error

    def function(self, name: str) -> int:
        return self._module.function(name)

    def close(self) -> None:
        self._module.close()


class InputKernel:
    """Converts frames of one layout in device memory to the network's input, (1, h, w, 3) uint8 BGR.

    Raises:
        BadInput: the preprocessing resizes by area: there is no kernel for it.
    """

    def __init__(self, kernels: Kernels, stream: Stream, preprocess: Preprocess, frame: FrameLayout) -> None:
        height, width = preprocess.size
        top = left = 0
        if preprocess.resize == "letterbox":
            height, width, top, left = letterbox_content((frame.height, frame.width), preprocess.size)
        tables = [
            *_source_taps(height, frame.height, preprocess.interpolation),
            *_source_taps(width, frame.width, preprocess.interpolation),
        ]
        self._uploads = _uploaded(kernels.cuda, stream, tables)
        self._function = kernels.function(f"input_frames_{frame.format}")
        red, green, blue = (int(level) for level in np.array(preprocess.mean).round().clip(0, 255))
        self._arguments: list[Memory | np.generic] = [
            *frame.arguments,
            *(np.int32(value) for value in (top, left, height, width)),
            *self._uploads,
            np.uint32(blue | green << 8 | red << 16),
            *(np.int32(value) for value in preprocess.size),
        ]
        self._grid = _grid(preprocess.width, preprocess.height)

    def launch(self, stream: Stream, frame: Address, out: Address) -> None:
        """Queue one frame."""
        stream.launch(self._function, self._grid, BLOCK, [frame, *self._arguments, out])

    def close(self) -> None:
        for memory in self._uploads:
            memory.close()


class ViewKernel:
    """Computes class map, overlay and counts of frames of one layout from the network's output in device memory.

    shape, dtype: (C, h, w) float32 or float16 scores, or (h, w) uint8 classes (`has_view_kernel`). sampling: from
    pixels of the frame to cells of the output. ink: (256, 4) uint16 from `transforms.ink_table`.
    """

    def __init__(
        self,
        kernels: Kernels,
        stream: Stream,
        sampling: Sampling,
        frame: FrameLayout,
        *,
        shape: tuple[int, ...],
        dtype: Any,
        ink: np.ndarray,
    ) -> None:
        value = _value_of(shape, dtype)
        if value is None:
            raise BadInput(
                f"no kernel for output {np.dtype(dtype).name}{shape}; expected scores (C, h, w) or classes (h, w)"
            )
        if ink.shape != (256, 4) or ink.dtype != np.uint16:
            raise BadInput(f"ink is {ink.dtype}{ink.shape}; expected uint16 (256, 4)")
        if sampling.size != (frame.height, frame.width):
            raise BadInput(f"the sampling is for frames of {sampling.size}, not ({frame.height}, {frame.width})")
        axes = list(zip((sampling.y, sampling.x), shape[-2:]))
        tables = [table for axis, cells in axes for table in _output_taps(axis, cells, value)]
        self._uploads = _uploaded(kernels.cuda, stream, [*tables, ink])
        *cells, self._ink = self._uploads
        self._function, self._clear = kernels.function(f"view_{frame.format}_{value}"), kernels.function("clear_counts")
        self._values = math.prod(shape)
        self._check = None if value == "u8" else kernels.function(f"count_not_finite_{value}")
        self._map: list[Memory | np.generic] = [
            *(np.int32(size) for size in ((1, *shape) if value == "u8" else shape)),
            *cells,
        ]
        self._frame, self._grid = frame, _grid(frame.width, -(-frame.height // COLUMN))

    def launch(
        self,
        stream: Stream,
        output: Address,
        frame: Address,
        class_map: Address,
        overlay: Address | None,
        counts: Address,
    ) -> None:
        """Queue one view: class_map (H, W) uint8, overlay (H, W, 3) uint8 BGR or None, counts (COUNTS,) uint32."""
        stream.launch(self._clear, (1, 1, 1), (256, 1, 1), [counts])
        if self._check is not None:
            blocks = (-(-self._values // 256), 1, 1)
            stream.launch(self._check, blocks, (256, 1, 1), [output, np.int32(self._values), counts])
        picture = NULL if overlay is None else overlay
        arguments = [output, *self._map, frame, *self._frame.arguments, self._ink, class_map, picture, counts]
        stream.launch(self._function, self._grid, BLOCK, arguments)

    def close(self) -> None:
        for memory in self._uploads:
            memory.close()


def has_view_kernel(shape: tuple[int, ...], dtype: Any) -> bool:
    """Whether `ViewKernel` supports a network's output of that shape (without batch) and type."""
    return _value_of(shape, dtype) is not None


def _value_of(shape: tuple[int, ...], dtype: Any) -> str | None:
    """The kernels' name for that output type; None if there is no kernel."""
    value = _VALUES.get(np.dtype(dtype).name)
    return value if len(shape) == (2 if value == "u8" else 3) else None


def _source_taps(pixels: int, source: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a resized axis: the lower pixel of the source, and the weight of the next, as in cv2."""
    if interpolation == "bilinear":
        return taps(stretch(pixels, source), source)
    if interpolation == "nearest":
        low, weight = taps(Axis(source / pixels, 0.0, pixels), source)
        return low, np.zeros_like(weight)
    raise BadInput(f"no CUDA kernel for resize by {interpolation}; expected bilinear or nearest")


def _output_taps(axis: Axis, cells: int, value: str) -> tuple[np.ndarray, np.ndarray]:
    if value != "u8":
        return taps(axis, cells)
    return nearest_cells(axis, cells).astype(np.int32), np.zeros(axis.valid, np.float32)


def _uploaded(cuda: Cuda, stream: Stream, tables: Sequence[np.ndarray]) -> list[Memory]:
    """Upload arrays to device memory and wait for the copies."""
    staged = [cuda.pinned(table.shape, table.dtype) for table in tables]
    uploads = [cuda.alloc(table.nbytes) for table in tables]
    for table, pinned, memory in zip(tables, staged, uploads):
        pinned.array[...] = table
        stream.copy_in(memory, pinned.array)
    stream.synchronize()
    for pinned in staged:
        pinned.close()
    return uploads


def _grid(width: int, rows: int) -> Size3:
    return -(-width // BLOCK[0]), -(-rows // BLOCK[1]), 1
