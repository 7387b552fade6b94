"""The compiler's layer report of a plan: which kernel runs which node of the file, in which precision.

With detailed profiling verbosity the builders of TensorRT 10, 11 and TensorRT-RTX log one message
that begins with "Layers:", one line per kernel. These are the compiler's decisions, not measurements.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fcn_edge.engines.base import Layer
from fcn_edge.onnxgraph import attributes, operator, producers, source_node, stored_tensors

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MARK = "Layers:"  # first word of the message
FLOATS = ("fp32", "bf16", "fp16")  # widest first

_TYPES = {
    "float": "fp32",
    "fp32": "fp32",
    "half": "fp16",
    "fp16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "fp8": "fp8",
    "int8": "int8",
    "uint8": "uint8",
    "int4": "int4",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
_LINE = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<op>[^,]*), (?P<rest>Inputs: \[.*)")
_SECTION = re.compile(r"(Inputs|Constants|Outputs): \[(?:\]|(.*?) \}\])")
_TENSOR = re.compile(r"Dimensions: \[([^\]]*)\].*?Datatype: ([^}]*)")
_TYPE = re.compile(rf"\b({'|'.join(_TYPES)})\b", re.IGNORECASE)
_CONVOLUTION = re.compile(r"correlation|convolution|gemm|^conv$", re.IGNORECASE)
_DECONVOLUTION = re.compile(r"deconv", re.IGNORECASE)
_POINTWISE = re.compile(r"kgen|pointwise|elementwise|scale", re.IGNORECASE)
_FUSED_CONVOLUTION = re.compile(r"^__myl_(?:[A-Z][a-z]*)*?(?:Corr|Fc|Gemm)(?![a-z])")  # RTX concatenates the operations


@dataclass(frozen=True)
class Tensor:
    """dims: -1 if the compiler does not report a number. type: as in `Layer.precision`."""

    dims: tuple[int, ...]
    type: str


@dataclass(frozen=True)
class Kernel:
    """A line of the report. nodes: the text with the names of the file's nodes."""

    name: str
    op: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: str

    @property
    def is_deconvolution(self) -> bool:
        return bool(_DECONVOLUTION.search(self.op))

    @property
    def is_convolution(self) -> bool:
        is_named = _CONVOLUTION.search(self.op) or _FUSED_CONVOLUTION.match(self.name)
        return bool(is_named) and not self.is_deconvolution

    @property
    def is_pointwise(self) -> bool:
        return bool(_POINTWISE.search(self.op)) and not self.is_convolution

    @property
    def precision(self) -> str:
        """Convolutions: the type of their inputs; all other kernels: their widest float type."""
        if self.inputs and (self.is_convolution or self.is_deconvolution):
            return self.inputs[0].type
        edges = [tensor.type for tensor in self.inputs + self.outputs]
        constants = [tensor.type for tensor in self.constants]
        for types in (edges, constants):
            if floats := [name for name in FLOATS if name in types]:
                return floats[0]
        return edges[0] if edges else ""

    @property
    def layer(self) -> Layer:
        return Layer(self.name, self.op, self.precision)

    def runs(self, node: str) -> bool:
        """Whether this kernel runs (part of) the file's node of that name."""
        if self.nodes:
            return f"[ONNX Layer: {node}]" in self.nodes
        return node in self.name.split(" + ")  # TensorRT 8 has no metadata; it joins the names


@dataclass(frozen=True)
class Convolution:
    """A Conv node of the file. weight: its shape (K, C / group, h, w); () if it is computed."""

    name: str
    is_quantized: bool
    group: int
    weight: tuple[int, ...]


def kernels_from_dump(text: str) -> tuple[Kernel, ...]:
    """Kernels in the order of the plan, from the message that begins with "Layers:"."""
    matches = (_LINE.match(line) for line in text.splitlines())
    return tuple(_kernel(match) for match in matches if match)


def _kernel(match: re.Match[str]) -> Kernel:
    body, _, nodes = match["rest"].partition(", Metadata: ")
    sections = {key: _tensors(text) for key, text in _SECTION.findall(body)}
    inputs, constants, outputs = (sections.get(key, ()) for key in ("Inputs", "Constants", "Outputs"))
    return Kernel(match["name"], match["op"], inputs, constants, outputs, nodes.strip())


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(Tensor(_dims(dims), _type(type_)) for dims, type_ in _TENSOR.findall(text))


def _dims(text: str) -> tuple[int, ...]:
    words = (word.strip() for word in text.split(",") if word.strip())
    return tuple(int(word) if word.lstrip("-").isdigit() else -1 for word in words)


def _type(text: str) -> str:
    match = _TYPE.search(text)
    return _TYPES[match[1].lower()] if match else ""


def convolutions_from_onnx(model: ModelProto) -> tuple[Convolution, ...]:
    """The Conv nodes of a ModelProto; quantized: data and weights both come from DequantizeLinear, ignoring Casts."""
    makers = producers(model.graph)
    shapes = {name: tuple(tensor.dims) for name, tensor in stored_tensors(model.graph).items()}
    return tuple(_convolution(node, makers, shapes) for node in model.graph.node if operator(node) == "Conv")


def _convolution(node: NodeProto, makers: dict[str, NodeProto], shapes: dict[str, tuple[int, ...]]) -> Convolution:
    sources = [source_node(name, makers, {"Cast"}) for name in node.input[:2]]  # a Cast may prevent INT8
    is_quantized = all(source is not None and operator(source) == "DequantizeLinear" for source in sources)
    group = attributes(node).get("group", 1)
    weight = node.input[1]
    while weight not in shapes and weight in makers and makers[weight].input:
        weight = makers[weight].input[0]
    return Convolution(node.name or f"node_of_{node.output[0]}", is_quantized, group, shapes.get(weight, ()))


@dataclass(frozen=True)
class Int8Coverage:
    """How the plan runs the file's quantized convolutions, by node name. unseen: not in the report."""

    quantized: tuple[str, ...]
    kept_float: tuple[str, ...]
    unseen: tuple[str, ...]


def int8_verdict(convolutions: Iterable[Convolution], kernels: tuple[Kernel, ...]) -> Int8Coverage:
    """Check that the plan runs every quantized convolution of the file in int8."""
    quantized = tuple(convolution.name for convolution in convolutions if convolution.is_quantized)
    types = {name: {kernel.precision for kernel in _runners(name, kernels)} - {""} for name in quantized}
    kept_float = tuple(name for name in quantized if types[name] - {"int8"})
    unseen = tuple(name for name in quantized if not types[name])
    return Int8Coverage(quantized, kept_float, unseen)


def _runners(node: str, kernels: tuple[Kernel, ...]) -> list[Kernel]:
    return [kernel for kernel in kernels if kernel.is_convolution and kernel.runs(node)]


def padded_depthwise(convolutions: Iterable[Convolution], kernels: tuple[Kernel, ...]) -> tuple[str, ...]:
    """Grouped convolutions that the plan runs with more channels per group than the file has.

    The compiler then writes inputs several times as large, and the plan contains zeros.
    """
    grouped = [convolution for convolution in convolutions if convolution.group > 1 and len(convolution.weight) == 4]
    return tuple(convolution.name for convolution in grouped if _is_padded(convolution, kernels))


def _is_padded(convolution: Convolution, kernels: tuple[Kernel, ...]) -> bool:
    outputs, channels, *window = convolution.weight
    candidates = [
        tensor.dims for kernel in _runners(convolution.name, kernels) for tensor in kernel.constants + kernel.inputs
    ]
    return any(
        len(dims) == 4 and dims[0] == outputs and dims[1] > channels and list(dims[2:]) == window for dims in candidates
    )


def kinds_of_kernels(kernels: tuple[Kernel, ...]) -> dict[str, int]:
    """ "int8 correlation": how many, the most frequent first."""
    counts = Counter(f"{kernel.precision} {kernel.op}".strip() for kernel in kernels)
    return dict(counts.most_common())


def counts_from_kernels(kernels: tuple[Kernel, ...], convolutions: tuple[Convolution, ...]) -> dict[str, int]:
    """Counts that show how well a plan was fused.

    pointwise: kernels that only move, scale, add or clip. requantizing: those of them that read
    float and write int8, which should have been fused into a convolution.
    weights_dequantized: kernels that convert int8 weights to float on every frame.
    """
    convolving = [kernel for kernel in kernels if kernel.is_convolution]
    pointwise = [kernel for kernel in kernels if kernel.is_pointwise]
    int8 = sum(kernel.precision == "int8" for kernel in convolving)
    return {
        "kernels": len(kernels),
        "convolutions_int8": int8,
        "convolutions_float": len(convolving) - int8,
        "deconvolutions": sum(kernel.is_deconvolution for kernel in kernels),
        "pointwise": len(pointwise),
        "requantizing": sum(_reads_float(kernel) and _has_int8(kernel.outputs) for kernel in pointwise),
        "weights_dequantized": sum(not kernel.inputs and _has_int8(kernel.constants) for kernel in pointwise),
        "depthwise_padded": len(padded_depthwise(convolutions, kernels)),
    }


def _reads_float(kernel: Kernel) -> bool:
    return any(tensor.type in FLOATS for tensor in kernel.inputs)


def _has_int8(tensors: tuple[Tensor, ...]) -> bool:
    return any(tensor.type == "int8" for tensor in tensors)
