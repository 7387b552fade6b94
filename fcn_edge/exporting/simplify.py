"""What a graph computes although it is known: branches that are never taken, batch norms behind convolutions."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from fcn_edge.onnxgraph import (
    Names,
    attributes,
    names_defined,
    names_read,
    operator,
    producers,
    rename_tensors,
    stored_tensors,
)


def take_known_branches(graph: GraphProto) -> None:
    """Put the branch of each If whose condition is a constant in its place."""
    known = stored_tensors(graph)
    while (node := next((n for n in graph.node if operator(n) == "If" and n.input[0] in known), None)) is not None:
        wanted = "then_branch" if numpy_helper.to_array(known[node.input[0]]).any() else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
        position = list(graph.node).index(node)
        graph.node.remove(node)
        _rename_what_collides(branch, graph)
        for inner in branch.node:
            graph.node.insert(position, inner)
            position += 1
        for value, name in zip(branch.output, node.output, strict=True):
            graph.node.insert(position, helper.make_node("Identity", [value.name], [name]))
        graph.initializer.extend(branch.initializer)
        known |= stored_tensors(branch)


def _rename_what_collides(branch: GraphProto, graph: GraphProto) -> None:
    """Branches side by side may use the same names inside; next to each other in one graph they may not."""
    names = Names(graph)
    shared = sorted(names_defined(branch) & names.taken)
    rename_tensors(branch, {name: names.fresh(name) for name in shared})


def fold_batch_norms(graph: GraphProto) -> None:
    """Each BatchNormalization that alone reads a convolution becomes part of its weights and bias."""
    known = stored_tensors(graph)
    made = producers(graph)
    unused = Names(graph)
    for norm in [node for node in graph.node if operator(node) == "BatchNormalization"]:
        conv = made.get(norm.input[0])
        if conv is None or not _is_foldable(conv, norm, graph, known):
            continue
        epsilon = attributes(norm).get("epsilon", 1e-5)
        gamma, beta, mean, variance = (
            numpy_helper.to_array(known[name]).astype(np.float64) for name in norm.input[1:5]
        )
        scale = gamma / np.sqrt(variance + epsilon)
        weights = numpy_helper.to_array(known[conv.input[1]])
        bias = numpy_helper.to_array(known[conv.input[2]]) if len(conv.input) > 2 else np.zeros(len(scale))
        shape = (-1, 1, 1, 1) if operator(conv) == "Conv" else (1, -1, 1, 1)
        folded = {"weight": weights * scale.reshape(shape), "bias": (bias - mean) * scale + beta}
        names = [unused.fresh(f"{norm.output[0]}_{what}") for what in folded]
        for name, value in zip(names, folded.values(), strict=True):
            graph.initializer.append(numpy_helper.from_array(value.astype(weights.dtype), name))
        conv.input[1:] = names
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)


def _is_foldable(conv: NodeProto, norm: NodeProto, graph: GraphProto, known: dict[str, TensorProto]) -> bool:
    """Whether the norm uses stored statistics, and nothing else looks at what lies between the two."""
    group, is_training = attributes(conv).get("group", 1), attributes(norm).get("training_mode", 0)
    is_plain = operator(conv) == "Conv" or (operator(conv) == "ConvTranspose" and group == 1)
    readers = sum(norm.input[0] in names_read(node) for node in graph.node)
    is_output = any(value.name == norm.input[0] for value in graph.output)
    constants = (*conv.input[1:], *norm.input[1:5])
    is_trained = not is_training and len(norm.output) == 1
    return is_plain and is_trained and readers == 1 and not is_output and all(name in known for name in constants)
