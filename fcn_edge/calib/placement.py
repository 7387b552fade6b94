"""Where Q/DQ pairs stand: on the inputs of convolutions and of residual adds, nowhere else.

Between a convolution and its activation a pair costs accuracy (17 points of mIoU on an
EfficientNet-Lite0 whose first filters are huge); on the inputs it costs 0.3.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

PlacementName = Literal["any", "x86", "nvidia"]
PLACEMENTS: tuple[PlacementName, ...] = get_args(PlacementName)
POSITIVE = {"Relu", "Clip", "Sigmoid", "Softmax"}


@dataclass(frozen=True)
class Placement:
    """unsigned: uint8 with zero point 0 for what is never negative; depthwise: quantized or left in float."""

    unsigned: bool
    depthwise: bool


PLACEMENT: dict[PlacementName, Placement] = {
    "any": Placement(unsigned=False, depthwise=True),
    "x86": Placement(unsigned=True, depthwise=True),
    "nvidia": Placement(unsigned=False, depthwise=False),
}


VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


def placement_for(target: str, instruction_sets: Collection[str]) -> PlacementName:
    """The placement that is fastest where the file will run, at the same mIoU; "any" where that is not known.

    CPUs with VNNI multiply uint8 by int8: measured 1.15 times as fast on OpenVINO, 2.2 times on
    ONNX Runtime. Without VNNI the same instructions saturate in ONNX Runtime, so "any" it is.
    """
    on_cpu = target in ("openvino", "onnxruntime")
    return "x86" if on_cpu and VNNI & set(instruction_sets) else "any"


def quantizable_convolutions(graph: Any) -> list[Any]:
    """Conv nodes whose weights are stored in the file."""
    weights = {tensor.name for tensor in graph.initializer}
    return [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights]


def residual_adds(graph: Any) -> list[Any]:
    """Adds of two activations whose sum goes on into a convolution; score fusions are none of them."""
    weights = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return [
        node
        for node in graph.node
        if node.op_type == "Add" and not weights & set(node.input) and _feeds_convolution(node, readers)
    ]


def _feeds_convolution(node: Any, readers: dict[str, list[Any]]) -> bool:
    following = readers.get(node.output[0], [])
    through = [r for n in following if n.op_type in POSITIVE for r in readers.get(n.output[0], [])]
    return any(reader.op_type == "Conv" for reader in [*following, *through])


def activations_to_quantize(graph: Any) -> list[str]:
    """Names of all tensors that some placement quantizes, in graph order."""
    names = [node.input[0] for node in quantizable_convolutions(graph)]
    names += [name for node in residual_adds(graph) for name in node.input]
    return list(dict.fromkeys(names))


def is_depthwise(node: Any) -> bool:
    """One input channel a filter and more than one group."""
    return next((a.i for a in node.attribute if a.name == "group"), 1) > 1


def unsigned_tensors(graph: Any, placement: PlacementName) -> set[str]:
    """Tensors that the placement stores as uint8 with zero point 0."""
    return never_negative(graph) if PLACEMENT[placement].unsigned else set()


def never_negative(graph: Any) -> set[str]:
    """Tensors that come out of an activation which cannot be negative."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = {node.output[0] for node in graph.node if node.op_type in POSITIVE - {"Clip"}}
    for node in graph.node:
        if node.op_type == "Clip" and len(node.input) > 1 and node.input[1] in weights:
            from onnx import numpy_helper

            if float(numpy_helper.to_array(weights[node.input[1]])) >= 0:
                names.add(node.output[0])
    return names
