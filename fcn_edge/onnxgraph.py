"""Helpers for ONNX graphs: what an operator is, and names that nothing else in the graph has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto


def operator(node: NodeProto) -> str:
    """The ONNX operator of a node: `Conv`, or with its domain, `com.microsoft::Conv`, where it is not ONNX's own."""
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def opset_of(model: ModelProto) -> int:
    """Version of ONNX's own operators that the model uses; 0 where it names none."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def nodes_of(graph: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    """Nodes of a graph and of its subgraphs (If, Loop, Scan)."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from nodes_of(inner)


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Graphs that a node holds as attributes."""
    graphs: list[GraphProto] = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graphs.append(attribute.g)
        graphs += attribute.graphs
    return graphs


def graph_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Inputs of the graph that are not initializers."""
    stored = stored_tensors(graph)
    return [value for value in graph.input if value.name not in stored]


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Tensor -> the node of `graph`, subgraphs left out, that writes it."""
    return {name: node for node in graph.node for name in node.output if name}


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Tensor -> the nodes of `graph`, subgraphs left out, that read it; a node that reads it twice is there twice."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def stored_tensors(graph: GraphProto) -> dict[str, TensorProto]:
    """Name -> each initializer of `graph`, subgraphs left out."""
    return {tensor.name: tensor for tensor in graph.initializer}


def stored_values(graph: GraphProto) -> dict[str, np.ndarray]:
    """Name -> value of each initializer of `graph`, subgraphs left out."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def source_node(name: str, made: Mapping[str, NodeProto], passed: Iterable[str]) -> NodeProto | None:
    """The node that made tensor `name`, looked for behind operators of `passed`; None for an input or stored tensor.

    made: `producers` of the graph.
    """
    node = made.get(name)
    while node is not None and operator(node) in passed:
        node = made.get(node.input[0])
    return node


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attribute name -> value; text is bytes, as ONNX stores it."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def names_read(node: NodeProto) -> set[str]:
    """Tensors that a node or a subgraph inside it reads; those made in the subgraph are among them."""
    inside = {name for graph in subgraphs(node) for inner in graph.node for name in names_read(inner)}
    return inside | set(node.input)


def names_defined(graph: GraphProto) -> set[str]:
    """Inputs, initializers and results of nodes, those of subgraphs too."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = {name for node in graph.node for name in node.output}
    return own | made | {name for node in graph.node for inner in subgraphs(node) for name in names_defined(inner)}


def tensors_of(model: ModelProto) -> Iterator[TensorProto]:
    """Tensors stored in a model: initializers and attributes, of subgraphs and local functions too."""
    nodes = [*nodes_of(model.graph)]
    for function in model.functions:
        nodes += nodes_of(function)
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in nodes:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
        for inner in subgraphs(node):
            yield from inner.initializer


def copied(model: ModelProto) -> ModelProto:
    """A copy to change."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def tapped_model(model: ModelProto, names: Iterable[str]) -> bytes:
    """`model` serialized with these tensors, each once, as its outputs."""
    import onnx

    copy = copied(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    return bytes(copy.SerializeToString())


def replace_nodes(graph: GraphProto, nodes: Sequence[NodeProto]) -> None:
    """Make `nodes` the graph's only ones, in that order; they may be the graph's own."""
    del graph.node[:]  # the sequence keeps its nodes alive
    graph.node.extend(nodes)


def keep_tensors(graph: GraphProto, names: Iterable[str]) -> None:
    """Drop the initializers that are not in `names`."""
    wanted = set(names)
    kept = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(kept)


class Names:
    """Names of tensors that a graph and its subgraphs use, and new ones that collide with none of them."""

    def __init__(self, graph: GraphProto) -> None:
        self.taken = set(_tensor_names(graph))

    def fresh(self, wanted: str) -> str:
        """`wanted`, or `wanted_2` and so on where that is taken; it counts as taken from now on."""
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name

    def store(self, graph: GraphProto, wanted: str, value: np.ndarray) -> str:
        """Add `value` as an initializer under a fresh name, and give that name."""
        from onnx import numpy_helper

        name = self.fresh(wanted)
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def rename_tensors(graph: GraphProto, mapping: Mapping[str, str]) -> None:
    """Replace tensor names by `mapping` in a graph and its subgraphs, in place."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = mapping.get(value.name, value.name)
    for value in graph.sparse_initializer:
        value.values.name = mapping.get(value.values.name, value.values.name)
    for node in graph.node:
        node.input[:] = [mapping.get(name, name) for name in node.input]
        node.output[:] = [mapping.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            rename_tensors(inner, mapping)


def _tensor_names(graph: GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for value in graph.sparse_initializer:
        yield value.values.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from _tensor_names(inner)
