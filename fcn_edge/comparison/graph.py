"""What `compare` asks of an ONNX graph: where the network begins and ends, what two share, cuts with tensors held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import attributes, graph_inputs, operator, source_node, stored_tensors
from fcn_edge.onnxmodel import OnnxModel

HELD = "__held"
ROUNDING = {"QuantizeLinear", "DequantizeLinear"}
BEFORE_FIRST_LAYER = ROUNDING | {"Pad"}
UPSAMPLING = {"Resize", "Upsample"}
BEHIND_SCORES = UPSAMPLING | {"ArgMax", "Cast", "ConvTranspose", "Identity", "Pad", "Slice", "Squeeze", "Transpose"}
BEHIND_ARGMAX = {"Cast", "Identity", "Reshape", "Squeeze", "Transpose"}
EXPORT_SCOPE = "/network"  # in front of names where the exported graph has a head of its own behind the network


def network_input(model: OnnxModel, where: str) -> str:
    """The tensor that the network begins with: what the first convolution reads, before padding and rounding.

    Everything in front of it is preprocessing. Raises BadInput where no convolution reads the frame.
    """
    reached = descendants(model, model.inputs[0].name)
    writer = model.producers
    for node in model.graph.node:
        if operator(node) == "Conv" and node.input[0] in reached:
            tensor = node.input[0]
            while tensor in writer and operator(writer[tensor]) in BEFORE_FIRST_LAYER:
                tensor = writer[tensor].input[0]
            return str(tensor)
    raise BadInput(f"{where}: no convolution reads the frame; compare looks into convolutional networks")


def first_convolution(model: OnnxModel, begin: str) -> NodeProto:
    """The first Conv node behind `begin`."""
    reached = descendants(model, begin)
    return next(node for node in model.graph.node if operator(node) == "Conv" and node.input[0] in reached)


def descendants(model: OnnxModel, tensor: str) -> set[str]:
    """`tensor` and all tensors that are computed from it."""
    reached = {tensor}
    for node in model.graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
    return reached


def preprocessing_nodes(model: OnnxModel, begin: str) -> list[NodeProto]:
    """The nodes that make `begin` from the frame, in graph order."""
    return _leading_to(model.graph, {begin})


def argmax_node(model: OnnxModel) -> NodeProto | None:
    """The ArgMax that the graph's output comes from, or None."""
    node = source_node(model.graph.output[0].name, model.producers, BEHIND_ARGMAX)
    return node if node is not None and operator(node) == "ArgMax" else None


def upsampling_tensors(model: OnnxModel) -> set[str]:
    """Outputs of every resizing node, and of all nodes between the last scores and the graph's output."""
    writer = model.producers
    found = {name for node in model.graph.node if operator(node) in UPSAMPLING for name in node.output}
    tensor = model.graph.output[0].name
    while tensor in writer and operator(writer[tensor]) in BEHIND_SCORES:
        found.add(tensor)
        tensor = writer[tensor].input[0]
    return found


def shared_tensors(a: OnnxModel, a_begin: str, b: OnnxModel, b_begin: str) -> dict[str, str]:
    """Tensor of A -> tensor of B behind the network's input, in A's order: by node name, or else by tensor name.

    What a Q/DQ pair writes has no partner in an fp32 file and is left out.
    """
    ours, theirs = _by_name(a, a_begin), _by_name(b, b_begin)
    shared = {tensor: theirs[key] for key, tensor in ours.items() if key in theirs}
    partners = set(theirs.values()) - set(shared.values())
    alike = {tensor: tensor for tensor in ours.values() if tensor not in shared and tensor in partners}
    return {tensor: partner for tensor in ours.values() if (partner := {**alike, **shared}.get(tensor))}


def layer_tensors(model: OnnxModel, begin: str) -> list[str]:
    """Every tensor behind the network's input that is not of a Q/DQ pair."""
    return list(_by_name(model, begin).values())


def _by_name(model: OnnxModel, begin: str) -> dict[str, str]:
    reached = descendants(model, begin) - {begin}
    nodes = [node for node in model.graph.node if operator(node) not in ROUNDING]
    return {
        f"{node.name.removeprefix(EXPORT_SCOPE)}:{place}" if node.name else name: name
        for node in nodes
        for place, name in enumerate(node.output)
        if name in reached
    }


def held_model(model: OnnxModel, held: Mapping[str, np.dtype[Any]], outputs: Iterable[str]) -> bytes:
    """The serialized graph that yields `outputs`, where every reader of a `held` tensor reads a new input instead.

    The input of tensor t is named t__held; one that nobody reads is not there. The nodes that write a
    held tensor stay only where an output needs them.
    """
    cut = model.copy()
    graph, wanted = cut.graph, list(dict.fromkeys(outputs))
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in held:
                node.input[place] = name + HELD
    nodes = _leading_to(cut.graph, set(wanted))
    read = {name for node in nodes for name in node.input}
    frames = [value for value in graph_inputs(cut.graph) if value.name in read]
    given = [
        helper.make_tensor_value_info(name + HELD, helper.np_dtype_to_tensor_dtype(kind), None)
        for name, kind in held.items()
        if name + HELD in read
    ]
    weights = [tensor for name, tensor in stored_tensors(graph).items() if name in read]
    results = [onnx.ValueInfoProto(name=name) for name in wanted]
    made = helper.make_graph(nodes, "held", [*frames, *given], results, weights)
    whole = helper.make_model(made, opset_imports=list(cut.opset_import), ir_version=cut.ir_version)
    serialized: bytes = whole.SerializeToString()
    return serialized


def _leading_to(graph: GraphProto, wanted: set[str]) -> list[NodeProto]:
    needed, found = set(wanted), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            found.append(node)
            needed |= set(node.input)
    return found[::-1]


def stored_value(model: OnnxModel, name: str) -> np.ndarray | None:
    """The constant behind an input of a node, float64 and dequantized; None where it is computed."""
    tensor = model.initializers.get(name)
    if tensor is not None:
        return np.asarray(numpy_helper.to_array(tensor), np.float64)
    node = model.producers.get(name)
    if node is None or operator(node) != "DequantizeLinear":
        return None
    value, scale = (stored_value(model, part) for part in node.input[:2])
    zero = stored_value(model, node.input[2]) if len(node.input) > 2 else np.zeros(1)
    if value is None or scale is None or zero is None:
        return None
    axis = attributes(node).get("axis", 1)
    along = [-1 if place == axis % value.ndim else 1 for place in range(value.ndim)] if scale.size > 1 else []
    return (value - zero.reshape(along)) * scale.reshape(along)
