"""One row of the tables of small ONNX files: how the file is made, how its output is read, what is expected.

A file is a chain of operators behind an image of three channels. The numpy functions here are independent of the
package: they say what the output of the *original* file means, run by plain ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = (32, 48)
CLASSES = 5
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
GREY_MEAN, GREY_STD = (127.5, 127.5, 127.5), (64.0, 64.0, 64.0)
FLOAT, HALF, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
UINT8, INT32, INT64, BOOL = TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL

Reading = Callable[[np.ndarray], np.ndarray]  # output of the original file -> class map (H, W) of the frame's size
Expected = Literal["same", "refused", "same or refused"]


@dataclass(frozen=True)
class Op:
    """One node. Its first input is the chain's tensor; `inputs`: constants behind it, None for one left out.

    take: which of its `outputs` the chain goes on with. name: of the node; unnamed: it has none.
    """

    kind: str
    inputs: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    outputs: int = 1
    take: int = 0


def op(kind: str, *inputs: Any, outputs: int = 1, take: int = 0, domain: str = "", **attributes: Any) -> Op:
    """A node behind the chain: `op("Clip", 0.0, 6.0)`, `op("MaxPool", kernel_shape=[2, 2])`."""
    return Op(kind, inputs, attributes, domain, outputs, take)


@dataclass(frozen=True)
class Source:
    """The image input. shape: None for (1, 3, H, W) or, of layout NHWC, (1, H, W, 3)."""

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    element: int = FLOAT
    shape: tuple[int | str, ...] | None = None
    name: str = "image"
    order: Literal["rgb", "bgr", "grey"] = "rgb"
    is_normalised: bool = True

    @property
    def colours(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and std in RGB order."""
        if not self.is_normalised:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        return (GREY_MEAN, GREY_STD) if self.order == "grey" else (MEAN, STD)

    @property
    def dims(self) -> list[int | str]:
        """The shape that the file states."""
        if self.shape is not None:
            return list(self.shape)
        return [1, 3, *SIZE] if self.layout == "NCHW" else [1, *SIZE, 3]


class Net:
    """A graph under construction. last: the tensor at its end; outputs: others that it gives back, before `last`."""

    def __init__(self, opset: int, source: Source) -> None:
        self.opset, self.source, self.last = opset, source, source.name
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.functions: list[Any] = []
        self.more_outputs: list[tuple[str, int, int]] = []
        self.element = FLOAT

    def constant(self, value: Any, name: str | None = None) -> str:
        """Store an initializer; floats become float32, integers int64."""
        array = np.asarray(value)
        if isinstance(value, (float, list, tuple)) and array.dtype == np.float64:
            array = array.astype(np.float32)
        name = name or f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str] | None = None, **given: Any) -> str:
        """Append a node; gives the name of its first output."""
        number = len(self.nodes)
        outputs = outputs or [f"t{number}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, f"n{number}_{kind}", **given))
        return outputs[0]

    def then(self, *steps: Step) -> Net:
        """Put steps behind the chain."""
        for step in steps:
            if isinstance(step, Op):
                self._then_op(step)
            else:
                step(self)
        return self

    def _then_op(self, step: Op) -> None:
        inputs = [self.last, *("" if value is None else self.constant(value) for value in step.inputs)]
        outputs = [f"t{len(self.nodes)}" + (f"_{index}" if index else "") for index in range(step.outputs)]
        given = dict(step.attributes) | ({"domain": step.domain} if step.domain else {})
        self.node(step.kind, inputs, outputs, **given)
        self.last = outputs[step.take]
        if step.domain:
            return
        if step.kind == "Cast":
            self.element = step.attributes["to"]
        elif step.kind in ("ArgMax", "ArgMin"):
            self.element = INT64

    def model(self, rank: int) -> onnx.ModelProto:
        """The file: image in; `more_outputs` and `last` out, all of free sizes."""
        image = helper.make_tensor_value_info(self.source.name, self.source.element, self.source.dims)
        ends = [*self.more_outputs, (self.last, self.element, rank)]
        outputs = [helper.make_tensor_value_info(n, e, [f"{n}_{axis}" for axis in range(r)]) for n, e, r in ends]
        graph = helper.make_graph(self.nodes, "case", [image], outputs, self.weights)
        domains = sorted({node.domain for node in self.nodes} - {"", "ai.onnx"})
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=self.functions)


Step = Op | Callable[[Net], None]
Change = Callable[[onnx.ModelProto], Any]


@dataclass(frozen=True)
class Case:
    """name: operator, opset and what is special. steps: behind the image. reads: what the file's output means.

    rank: of that output. spec: lines of TOML beside the classes, mean and std. facts: words of the refusal.
    change: alters the finished file in place. stored: weights inside the file or in one beside it.
    """

    name: str
    steps: tuple[Step, ...]
    opset: int = 17
    source: Source = Source()
    reads: Reading | None = None
    rank: int = 4
    spec: str = ""
    classes: int = CLASSES
    expected: Expected = "same"
    facts: tuple[str, ...] = ()
    change: Change | None = None
    stored: Literal["inside", "beside"] = "inside"

    def model(self) -> onnx.ModelProto:
        """The original file."""
        model = Net(self.opset, self.source).then(*self.steps).model(self.rank)
        if self.change is not None:
            self.change(model)
        return model

    def toml(self) -> str:
        """The spec file beside it."""
        lines = f"classes = {[f'c{number}' for number in range(self.classes)]}\n".replace("'", '"')
        if self.source.is_normalised:
            mean, std = self.source.colours
            lines += f"mean = {list(mean)}\nstd = {list(std)}\n"
        order = "" if self.source.order == "grey" else f'channels = "{self.source.order}"\n'
        return lines + order + self.spec

    def tensor(self, frame: np.ndarray) -> np.ndarray:
        """What the original file is fed for a frame (H, W, 3) uint8 BGR; of a grey one, of equal colours."""
        mean, std = self.source.colours
        colours = (frame[:, :, ::-1].astype(np.float64) - mean) / std
        colours = {"rgb": colours, "bgr": colours[:, :, ::-1], "grey": colours[:, :, :1]}[self.source.order]
        planes = colours if self.source.layout == "NHWC" else colours.transpose(2, 0, 1)
        return np.ascontiguousarray(planes[None], helper.tensor_dtype_to_np_dtype(self.source.element))


# Readings


def enlarged(scores: np.ndarray, *, corners: bool = False) -> np.ndarray:
    """(C, h, w) sampled bilinearly at (C, H, W): half-pixel centres, or first and last centres on each other."""
    for axis, size in zip((1, 2), SIZE):
        cells = scores.shape[axis]
        steps = np.arange(size)
        place = steps * (cells - 1) / (size - 1) if corners else (steps + 0.5) * cells / size - 0.5
        place = place.clip(0, cells - 1)
        low = np.floor(place).astype(int)
        weight = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        following = np.minimum(low + 1, cells - 1)
        scores = scores.take(low, axis) * (1 - weight) + scores.take(following, axis) * weight
    return scores


def scores(layout: str = "NCHW", *, size: tuple[int, int] = SIZE, corners: bool = False) -> Reading:
    """Class scores in NCHW, NHWC, CHW, HWC, NCL or NLC, where L is `size` flattened."""

    def read(output: np.ndarray) -> np.ndarray:
        planes = output[0] if layout.startswith("N") else output
        planes = planes if "C" in layout.removeprefix("N")[:1] else np.moveaxis(planes, -1, 0)
        planes = planes.reshape(len(planes), *size) if "L" in layout else planes
        return enlarged(planes.astype(np.float64), corners=corners).argmax(0)

    return read


def class_map(*, first: int = 0, ignored: int | None = None) -> Reading:
    """A class map of any rank; `first`: its value for class 0; `ignored`: its value for no class, which becomes 255."""

    def read(output: np.ndarray) -> np.ndarray:
        values = output.squeeze().astype(np.int64)
        small = values - first if ignored is None else np.where(values == ignored, 255, values - first)
        rows, columns = (
            np.clip(np.ceil((np.arange(size) + 0.5) * cells / size - 1), 0, cells - 1).astype(int)
            for size, cells in zip(SIZE, small.shape)
        )
        return small[rows[:, None], columns]

    return read


def mask(threshold: float) -> Reading:
    """One channel that is above `threshold` where the second class is."""
    return lambda output: enlarged(output.squeeze()[None].astype(np.float64))[0] > threshold


# Steps that most rows share


def random_weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32, scaled so that a convolution keeps the variance of its input."""
    fan = int(np.prod(shape[1:])) or 1
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(fan)).astype(np.float32)


def conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True, seed: int = 0, **attributes: Any) -> Op:
    """A convolution of random weights; the size stays unless `attributes` say otherwise."""
    if not {"pads", "auto_pad"} & attributes.keys():
        attributes["pads"] = [kernel // 2] * 4
    constants = [random_weights(outputs, inputs, kernel, kernel, seed=seed)]
    constants += [0.1 * random_weights(outputs, seed=seed + 1)] if bias else []
    return op("Conv", *constants, **attributes)


STEM = conv(3, CLASSES)  # scores of the image's size
POOL4 = op("AveragePool", kernel_shape=[4, 4], strides=[4, 4])
LAST = conv(CLASSES, CLASSES, 1, seed=7)
