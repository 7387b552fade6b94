"""The image input of a foreign graph: what it takes, and the nodes that make it from normalised planes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from fcn_edge.errors import BadInput
from fcn_edge.exporting.foreign_spec import ForeignSpec
from fcn_edge.onnxgraph import Names, graph_inputs, rename_tensors

ELEMENTS: dict[int, type] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}
GREY_RGB = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma, as OpenCV's and Pillow's grey


@dataclass(frozen=True)
class InputForm:
    """What a graph takes: (1, channels, height, width) or (1, height, width, channels) of `element`.

    channels: 3, or 1 for grey. order: of the colours that reach it. mean, std: three values each, in RGB order.
    """

    name: str
    element: int
    layout: Literal["NCHW", "NHWC"]
    channels: int
    height: int
    width: int
    order: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def array(self, frame: np.ndarray) -> np.ndarray:
        """What the graph takes for a frame (height, width, 3) uint8 BGR, computed by numpy alone."""
        x = (frame[:, :, ::-1].astype(np.float32) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.channels == 1:
            x = (x * np.array(GREY_RGB, np.float32)).sum(2, keepdims=True)
        elif self.order == "bgr":
            x = x[:, :, ::-1]
        if self.layout == "NCHW":
            x = x.transpose(2, 0, 1)
        return np.ascontiguousarray(x[None].astype(ELEMENTS[self.element]))


def input_form(model: ModelProto, given: ForeignSpec, path: Path) -> InputForm:
    """The form of the graph's one input.

    Raises:
        BadInput: several inputs, an element type or shape that is no image, a size that nobody gave, or a mean that
            does not fit.
    """
    source = _single_input(model, path)
    element = source.type.tensor_type.elem_type
    dims = [max(0, d.dim_value) for d in source.type.tensor_type.shape.dim]  # 0: any; some exporters write -1
    if not dims and given.layout:
        dims = [0, 0, 0, 0]
    if len(dims) != 4 or element not in ELEMENTS:
        kind = TensorProto.DataType.Name(element)
        raise BadInput(f"{path}: input {source.name} is {kind} of rank {len(dims)}; expected float or uint8, rank 4")
    if dims[0] > 1:
        raise BadInput(f"{path}: fixed to batches of {dims[0]}; export it with batch 1 or a free batch")
    layout, channels = _layout(dims, given, source.name, path)
    height, width = _size(dims, layout, given, path)
    mean, std = _normalisation(given, channels, path)
    if element == TensorProto.UINT8 and (mean, std) != ((0.0,) * 3, (1.0,) * 3):
        # Bytes minus a mean would wrap round without a word.
        raise BadInput(f"{path}: takes bytes and normalises them itself; leave mean and std out of the spec")
    order = "bgr" if channels == 1 else given.channels
    return InputForm(source.name, element, layout, channels, height, width, order, mean, std)


def take_planes(model: ModelProto, form: InputForm) -> None:
    """Replace the input by float (1, 3, H, W) in the form's colour order, with nodes that make what the graph took."""
    names, nodes = Names(model.graph), list[NodeProto]()
    rename_tensors(model.graph, {form.name: (source := names.fresh("network_input"))})
    planes = tensor = names.fresh("planar")

    def then(kind: str, *extra: str, **attributes: Any) -> None:
        nonlocal tensor
        made = names.fresh(f"planar_{kind.lower()}")
        nodes.append(helper.make_node(kind, [tensor, *extra], [made], f"foreign_{kind.lower()}", **attributes))
        tensor = made

    if form.channels == 1:
        weights = np.array(GREY_RGB[::-1], np.float32).reshape(1, 3, 1, 1)
        then("Mul", names.store(model.graph, "planar_grey", weights))
        then("ReduceSum", names.store(model.graph, "planar_axis", np.array([1], np.int64)), keepdims=1)
    if form.layout == "NHWC":
        then("Transpose", perm=[0, 2, 3, 1])
    if form.element != TensorProto.FLOAT:
        then("Cast", to=form.element)
    if nodes:
        nodes[-1].output[0] = source
    else:
        rename_tensors(model.graph, {source: planes})
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.append(helper.make_tensor_value_info(planes, TensorProto.FLOAT, [1, 3, *form.size]))
    for offset, node in enumerate(nodes):
        model.graph.node.insert(offset, node)


def _single_input(model: ModelProto, path: Path) -> ValueInfoProto:
    inputs = graph_inputs(model.graph)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise BadInput(f"{path}: {len(inputs)} inputs ({names}); a segmentation network here has one, the image")
    return inputs[0]


def _layout(dims: list[int], given: ForeignSpec, name: str, path: Path) -> tuple[Literal["NCHW", "NHWC"], int]:
    """(layout, channels), by the axis of three colours, or of one; free axes by the spec."""
    first, last = dims[1], dims[3]
    for colours in (3, 1):
        fits: list[Literal["NCHW", "NHWC"]] = []
        if first == colours:
            fits.append("NCHW")
        if last == colours:
            fits.append("NHWC")
        if given.layout in fits:
            return given.layout, colours
        if fits and given.layout is None:
            return fits[0], colours
    axis = first if given.layout == "NCHW" else last
    if given.layout is not None and axis == 0:
        return given.layout, 3
    if given.layout is not None:
        raise BadInput(f"{path}: input {name} has shape {dims}; the spec's layout {given.layout} does not fit it")
    if not first or not last:
        raise BadInput(f'{path}: input {name} leaves its axes open; add layout = "NCHW" or "NHWC" to the spec')
    raise BadInput(f"{path}: input {name} has shape {dims}; no axis of 3 colours at place 1 or 3")


def _size(dims: list[int], layout: str, given: ForeignSpec, path: Path) -> tuple[int, int]:
    rows, columns = (dims[2], dims[3]) if layout == "NCHW" else (dims[1], dims[2])
    height, width = rows or given.height, columns or given.width
    if not height or not width:
        raise BadInput(f"{path}: the graph leaves its size open; add height and width to the spec")
    if (given.height or height, given.width or width) != (height, width):
        raise BadInput(f"{path}: fixed to {height}x{width}, the spec says {given.height}x{given.width}")
    return height, width


def _normalisation(
    given: ForeignSpec, channels: int, path: Path
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(mean, std), three values each; of a grey input one value, or three equal ones."""
    found = []
    for name, values in (("mean", given.mean or (0.0,) * 3), ("std", given.std or (1.0,) * 3)):
        if channels == 1 and len(set(values)) == 1:
            values = values[:1] * 3
        if channels == 1 and len(set(values)) != 1:
            raise BadInput(f"{path}: takes grey pictures; {name} in the spec must be one value, found {list(values)}")
        if len(values) != 3:
            raise BadInput(f"{path}: {name} in the spec: expected 3 values, found {len(values)}")
        if name == "std" and min(values) <= 0:
            raise BadInput(f"{path}: size and std must be positive, found std {list(values)}")
        found.append((values[0], values[1], values[2]))
    return found[0], found[1]
