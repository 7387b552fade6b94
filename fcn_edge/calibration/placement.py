"""Where Q/DQ pairs stand: on the inputs of convolutions and of residual adds, or before the pooling and
padding that these come out of, nowhere else.

Between a convolution and its activation a pair costs accuracy (17 points of mIoU on an
EfficientNet-Lite0 whose first filters are huge); on the inputs it costs 0.3.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import get_args

from onnx import GraphProto, NodeProto

from fcn_edge.choices import PlacementName as PlacementName
from fcn_edge.device import Device
from fcn_edge.onnxgraph import attributes, consumers, operator, producers, stored_tensors, stored_values
from fcn_edge.onnxpairs import has_concat

PLACEMENTS: tuple[PlacementName, ...] = get_args(PlacementName)
POSITIVE = {"Relu", "Clip", "Sigmoid", "Softmax"}
AGAIN_POSITIVE = {"Add", "AveragePool", "Concat", "GlobalAveragePool"}  # of what is so


@dataclass(frozen=True)
class Placement:
    """unsigned: uint8 with zero point 0 for what is never negative. depthwise: quantized or left in float.

    shifted: uint8 with zero point 128 for all else in graphs with a Concat, of which OpenVINO gets int8 wrong.
    early: pairs stand before pooling and borders of zeros, to which rounding makes no difference; behind
    them OpenVINO would pool and pad in float.
    """

    unsigned: bool
    depthwise: bool
    early: bool
    shifted: bool


PLACEMENT: dict[PlacementName, Placement] = {
    "any": Placement(unsigned=False, depthwise=True, early=False, shifted=False),
    "x86": Placement(unsigned=True, depthwise=True, early=True, shifted=True),
    "nvidia": Placement(unsigned=False, depthwise=False, early=False, shifted=False),
}


def placement_for(target: str, device: Device) -> PlacementName:
    """The placement that is fastest where the file will run, at the same mIoU; "any" where that is not known.

    CPUs with VNNI multiply uint8 by int8: measured 1.15 times as fast on OpenVINO, 2.2 times on
    ONNX Runtime. Without VNNI the same instructions saturate in ONNX Runtime, so "any" it is.
    """
    on_cpu = target in ("openvino", "onnxruntime")
    return "x86" if on_cpu and device.has_vnni else "any"


def quantizable_convolutions(graph: GraphProto) -> list[NodeProto]:
    """Conv nodes whose weights are stored in the file."""
    weights = set(stored_tensors(graph))
    return [node for node in graph.node if operator(node) == "Conv" and node.input[1] in weights]


def residual_adds(graph: GraphProto) -> list[NodeProto]:
    """Adds of two activations whose sum goes on into a convolution; score fusions are none of them."""
    weights, readers = set(stored_tensors(graph)), consumers(graph)
    return [
        node
        for node in graph.node
        if operator(node) == "Add" and not weights & set(node.input) and _feeds_convolution(node, readers)
    ]


def _feeds_convolution(node: NodeProto, readers: dict[str, list[NodeProto]]) -> bool:
    following = readers.get(node.output[0], [])
    through = [r for n in following if operator(n) in POSITIVE for r in readers.get(n.output[0], [])]
    return any(operator(reader) == "Conv" for reader in [*following, *through])


def early_tensors(graph: GraphProto, quantized: Collection[str]) -> dict[str, str]:
    """Tensor -> the one before the pooling and borders of zeros that it comes out of.

    quantized: what the nodes that will read integers make; what any other node reads keeps its place.
    """
    makers, readers = producers(graph), consumers(graph)
    outputs, zeros = {value.name for value in graph.output}, _zeros(graph)

    def is_passed(name: str) -> bool:
        node = makers.get(name)
        if node is None or name in outputs or not _keeps_values(node, zeros):
            return False
        return all(r.output[0] in quantized or is_passed(r.output[0]) for r in readers.get(name, []))

    found = {}
    for name in makers:
        source = name
        while is_passed(source):
            source = makers[source].input[0]
        if source != name and source in makers:
            found[name] = source
    return found


def _keeps_values(node: NodeProto, zeros: set[str]) -> bool:
    """Whether each output value is one of the inputs, or 0."""
    if operator(node) == "MaxPool":
        return len(node.output) == 1
    mode = attributes(node).get("mode", b"constant")
    filled = [*node.input, "", ""][2]
    return bool(operator(node) == "Pad" and mode == b"constant" and (not filled or filled in zeros))


def _zeros(graph: GraphProto) -> set[str]:
    return {name for name, value in stored_values(graph).items() if not value.any()}


def activations_to_quantize(graph: GraphProto) -> list[str]:
    """Names of all tensors that some placement quantizes, in graph order."""
    names = [node.input[0] for node in quantizable_convolutions(graph)]
    names += [name for node in residual_adds(graph) for name in node.input]
    return list(dict.fromkeys(names))


def is_depthwise(node: NodeProto) -> bool:
    """One input channel a filter and more than one group."""
    return attributes(node).get("group", 1) > 1


def unsigned_tensors(graph: GraphProto, placement: PlacementName) -> set[str]:
    """Tensors that the placement stores as uint8 with zero point 0."""
    return never_negative(graph) if PLACEMENT[placement].unsigned else set()


def is_shifted(graph: GraphProto, placement: PlacementName) -> bool:
    """Whether the placement stores signed activations as uint8 with zero point 128, which has the range of int8."""
    return PLACEMENT[placement].shifted and has_concat(graph)


def never_negative(graph: GraphProto) -> set[str]:
    """Tensors that come out of an activation which cannot be negative, or are made of nothing else."""
    floors = {name: value for name, value in stored_values(graph).items() if not value.ndim}
    zeros, names = _zeros(graph), set[str]()
    for node in graph.node:
        is_born = operator(node) in POSITIVE
        if operator(node) == "Clip":
            floor = floors.get([*node.input, ""][1])
            is_born = floor is not None and bool(floor >= 0)
        is_made = operator(node) in AGAIN_POSITIVE and all(name in names for name in node.input)
        if is_born or is_made or (_keeps_values(node, zeros) and node.input[0] in names):
            names.add(node.output[0])
    return names
