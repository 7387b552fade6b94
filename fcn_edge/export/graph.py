"""Nodes and tensor names of an ONNX graph and the subgraphs (If, Loop) inside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ONNX_DOMAINS = ("", "ai.onnx")  # two spellings of one domain


def is_onnx_op(node: Any, *kinds: str) -> bool:
    """Whether `node` is one of these operators of ONNX itself; other domains use the same names for other things."""
    return node.domain in ONNX_DOMAINS and node.op_type in kinds


def subgraphs(node: Any) -> list[Any]:
    """Graphs that the node holds as attributes."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def leave_out_domain(model: Any) -> None:
    """Write ONNX's own domain as "" everywhere: its tools do not know the other spelling, ONNX Runtime does."""
    for opset in model.opset_import:
        opset.domain = "" if opset.domain in ONNX_DOMAINS else opset.domain
    _leave_out_of_nodes(model.graph)


def _leave_out_of_nodes(graph: Any) -> None:
    for node in graph.node:
        node.domain = "" if node.domain in ONNX_DOMAINS else node.domain
        for inner in subgraphs(node):
            _leave_out_of_nodes(inner)


def names_read(node: Any) -> set[str]:
    """Tensors that the node or a subgraph inside it reads; those made in the subgraph are among them."""
    inside = {name for graph in subgraphs(node) for inner in graph.node for name in names_read(inner)}
    return inside | set(node.input)


def names_defined(graph: Any) -> set[str]:
    """Inputs, initializers and results of nodes, those of subgraphs too."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = {name for node in graph.node for name in node.output}
    return own | made | {name for node in graph.node for inner in subgraphs(node) for name in names_defined(inner)}


def rename_tensor(graph: Any, old: str, new: str) -> None:
    """Give a tensor another name wherever it is made, read or given back, in subgraphs too."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
        for inner in subgraphs(node):
            rename_tensor(inner, old, new)
    for value in _named(graph):
        if value.name == old:
            value.name = new


def _named(graph: Any) -> Iterator[Any]:
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    yield from (tensor.values for tensor in graph.sparse_initializer)


def unused_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with the first number behind it that makes it a new name; it is taken from then on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
