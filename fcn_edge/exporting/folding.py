"""A fixed bilinear upsample at the end of a graph is left out; sampling the score map draws the same classes.

Its guises: Resize (half-pixel, align_corners, asymmetric: torchvision's interpolate among them) and ConvTranspose
with one bilinear kernel a class (grouped, or diagonal), cropped or not. Softmax and arg-max behind it go too, since
they leave the order of classes as it is. A learned layer stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fcn_edge.exporting.tidy import drop_dead, static_shapes
from fcn_edge.geometry import Axis, Sampling
from fcn_edge.onnxgraph import attributes, operator, producers, stored_tensors

BILINEAR_TOLERANCE = 1e-5  # relative; kernels that were stored in half precision miss it, and stay
ORDER_KEEPING = ("Softmax", "LogSoftmax")


@dataclass(frozen=True)
class FoldedHead:
    """sampling: pixel of what the graph gave -> cell of what it gives now. layers: what was left out."""

    sampling: Sampling
    layers: tuple[str, ...]


def fold_head(model: ModelProto, size: tuple[int, int]) -> FoldedHead | None:
    """Cut a fixed bilinear upsample to `size` off the end of `model`, in place; None where there is none."""
    graph = model.graph
    if len(graph.output) != 1:
        return None
    tail = _HeadTail(model)
    tensor = _before_choice(tail, graph.output[0].name)
    tensor, crop = _before_crop(tail, tensor)
    node = tail.producers.get(tensor)
    if node is None or tail.shapes.get(tail.cropped, ())[2:] != list(size):
        return None
    axes = _axes_of(node, tail)
    cells = tail.shapes.get(node.input[0], ())
    if axes is None or len(cells) != 4:
        return None
    y, x = (Axis(axis.scale, axis.cell(start), pixels) for axis, start, pixels in zip(axes, crop, size))
    if not all(_is_covered(axis, count) for axis, count in zip((y, x), cells[2:])):
        return None
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, cells))
    drop_dead(graph)
    return FoldedHead(Sampling(y, x), tuple(tail.passed))


class _HeadTail:
    """Where the end of a graph came from. passed: nodes that were looked behind; cropped: the full-size logits."""

    def __init__(self, model: ModelProto) -> None:
        self.shapes = static_shapes(model)
        self.producers = producers(model.graph)
        self._weights = stored_tensors(model.graph)
        self.passed: list[str] = []
        self.cropped = ""

    def constant(self, node: NodeProto, position: int) -> np.ndarray | None:
        """The node's input at `position`, where it is given and known."""
        tensor = self._weights.get(node.input[position]) if position < len(node.input) else None
        return None if tensor is None else numpy_helper.to_array(tensor)

    def behind(self, node: NodeProto) -> str:
        """What the node read."""
        self.passed.insert(0, f"{operator(node)} {node.name}".strip())
        return str(node.input[0])


def _before_choice(tail: _HeadTail, tensor: str) -> str:
    """The logits behind Softmax, or behind arg-max with the casts and squeezes that follow it."""
    name, passed = tensor, list[NodeProto]()
    while (node := tail.producers.get(name)) is not None and operator(node) in ("Cast", "Squeeze", "Unsqueeze"):
        passed.append(node)
        name = node.input[0]
    if node is not None and operator(node) == "ArgMax":
        given = attributes(node)
        if given.get("axis", 0) in (1, -3) and not given.get("select_last_index", 0):
            for one in (*passed, node):
                name = tail.behind(one)
            tensor = name
    node = tail.producers.get(tensor)
    while node is not None and operator(node) in ORDER_KEEPING and attributes(node).get("axis", -1) in (1, -3):
        tensor = tail.behind(node)
        node = tail.producers.get(tensor)
    return tensor


def _before_crop(tail: _HeadTail, tensor: str) -> tuple[str, tuple[int, int]]:
    """The uncropped tensor, and its row and column where the crop begins."""
    tail.cropped, start = tensor, [0, 0]
    while (node := tail.producers.get(tensor)) is not None and operator(node) == "Slice":
        starts, axes, steps = (tail.constant(node, position) for position in (1, 3, 4))
        shape = tail.shapes.get(node.input[0], ())
        if starts is None or axes is None or len(shape) != 4:
            break
        axes = axes % 4
        if (steps is not None and (steps != 1).any()) or not set(axes.tolist()) <= {2, 3}:
            break
        for axis, begin in zip(axes.tolist(), starts.tolist()):
            start[axis - 2] += begin if begin >= 0 else shape[axis] + begin
        tensor = tail.behind(node)
    return tensor, (start[0], start[1])


def _axes_of(node: NodeProto, tail: _HeadTail) -> tuple[Axis, Axis] | None:
    """Pixel of the layer's output -> cell of its input, rows and columns, where it is fixed and bilinear."""
    read = {"Resize": _resize_axes, "ConvTranspose": _deconvolution_axes}.get(operator(node))
    axes = read(node, tail) if read else None
    if axes is not None:
        tail.behind(node)
    return axes


def _resize_axes(node: NodeProto, tail: _HeadTail) -> tuple[Axis, Axis] | None:
    given, before, after = attributes(node), tail.shapes.get(node.input[0]), tail.shapes.get(node.output[0])
    is_bilinear = given.get("mode") == b"linear" and not given.get("antialias") and not given.get("exclude_outside")
    if not is_bilinear or before is None or after is None or len(before) != 4 or before[:2] != after[:2]:
        return None
    scales = _resize_scales(node, given, tail, before, after)
    mode = given.get("coordinate_transformation_mode", b"half_pixel")
    axes = [_resize_axis(mode, scale, b, a) for scale, b, a in zip(scales, before[2:], after[2:])]
    return None if axes[0] is None or axes[1] is None else (axes[0], axes[1])


def _resize_scales(
    node: NodeProto, given: dict[str, Any], tail: _HeadTail, before: list[int], after: list[int]
) -> tuple[float, float]:
    """Output pixels a cell: those that the node names, or by its sizes."""
    scales = tail.constant(node, 2)
    if scales is not None and len(scales) == 4 and "axes" not in given:
        return float(scales[2]), float(scales[3])
    return after[2] / before[2], after[3] / before[3]


def _resize_axis(mode: bytes, scale: float, cells: int, pixels: int) -> Axis | None:
    if mode in (b"half_pixel", b"pytorch_half_pixel") and pixels > 1:
        return Axis(1 / scale, 0.5 / scale - 0.5, pixels)
    if mode == b"align_corners" and pixels > 1:
        return Axis((cells - 1) / (pixels - 1), 0.0, pixels)
    return Axis(1 / scale, 0.0, pixels) if mode == b"asymmetric" else None


def _deconvolution_axes(node: NodeProto, tail: _HeadTail) -> tuple[Axis, Axis] | None:
    given, kernel = attributes(node), _kernel_of_each_class(node, tail)
    if kernel is None or given.get("auto_pad", b"NOTSET") != b"NOTSET" or set(given.get("dilations", [1])) != {1}:
        return None
    after, pads = tail.shapes.get(node.output[0], [0] * 4), given.get("pads", [0, 0, 0, 0])
    axes = []
    for way, step in enumerate(given.get("strides", [1, 1])):
        size = kernel.shape[way]
        if not _is_triangle(kernel.sum(1 - way), step):
            return None
        axes.append(Axis(1 / step, (pads[way] - (size - 1) / 2) / step, after[2 + way]))
    rows, columns = kernel.sum(1), kernel.sum(0)
    is_separable = np.allclose(
        kernel * kernel.sum(), np.outer(rows, columns), rtol=0, atol=_bound(kernel) * kernel.sum()
    )
    return (axes[0], axes[1]) if is_separable else None


def _kernel_of_each_class(node: NodeProto, tail: _HeadTail) -> np.ndarray | None:
    """(k, k) where every class has this kernel, no class another's, and all biases are equal."""
    weights, bias = tail.constant(node, 1), tail.constant(node, 2)
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if weights is None or weights.ndim != 4 or (has_bias and (bias is None or np.ptp(bias) > 0)):
        return None
    weights = weights.astype(np.float64)
    group, (inputs, outputs) = attributes(node).get("group", 1), weights.shape[:2]
    if group == inputs and outputs == 1:
        kernels = weights[:, 0]
    elif group == 1 and inputs == outputs:
        kernels = weights[range(inputs), range(inputs)].copy()
        weights[range(inputs), range(inputs)] = 0
        if weights.any():
            return None
    else:
        return None
    kernel = np.asarray(kernels[0])
    return kernel if kernel.min() >= 0 and np.abs(kernels - kernel).max() <= _bound(kernel) else None


def _is_triangle(profile: np.ndarray, step: int) -> bool:
    """Whether a kernel's sums along one way are those of bilinear interpolation by `step`, times any factor."""
    size = len(profile)
    if size not in (2 * step, 2 * step - 1):
        return False
    wanted = 1 - np.abs(np.arange(size) - (size - 1) / 2) / step
    scale = profile.sum() / wanted.sum()
    return bool(scale > 0 and np.abs(profile - scale * wanted).max() <= BILINEAR_TOLERANCE * scale)


def _bound(kernel: np.ndarray) -> float:
    return BILINEAR_TOLERANCE * float(np.abs(kernel).max())


def _is_covered(axis: Axis, cells: int) -> bool:
    """Whether every pixel lies less than a cell beyond the map: further out a deconvolution gives nothing."""
    return axis.cell(0) > -1 and axis.cell(axis.valid - 1) < cells
