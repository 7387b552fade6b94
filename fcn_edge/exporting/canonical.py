"""Foreign graphs in the form that the rest of the package reads, with the meaning that they had.

Local functions are inlined, weights are initializers only, every node has a name, no name begins with `frames`
(the contract's own), and the opset is 13 or later.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, helper, inliner, numpy_helper, version_converter

from fcn_edge.errors import BadInput, first_line
from fcn_edge.exporting.tidy import lift_constants
from fcn_edge.onnxfile import IR_VERSION
from fcn_edge.onnxgraph import (
    Names,
    attributes,
    copied,
    graph_inputs,
    nodes_of,
    operator,
    opset_of,
    rename_tensors,
    stored_tensors,
)

MIN_OPSET = 13  # per-channel Q/DQ
RESIZE_WITH_MODES = 11  # before it, Resize and Upsample have no coordinate_transformation_mode: they are asymmetric
GROUP_NORM_PER_CHANNEL = 21  # before it, scale and bias are per group, and the checker calls the operator deprecated
RESERVED = "frames"


def canonical_model(model: ModelProto, path: Path) -> tuple[ModelProto, dict[str, str]]:
    """(a copy of `model` in canonical form, tensors that got another name: old -> new). `path` is for errors.

    Raises:
        BadInput: a function that cannot be inlined, or an opset that cannot be converted.
    """
    copy = copied(model)
    _spell_default_domain(copy)
    model = _inlined(copy, path)
    graph = model.graph
    inputs = list(graph_inputs(model.graph))
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, IR_VERSION)  # below 4, weights would have to be inputs as well
    lift_constants(model.graph)
    model = _at_least_opset(model, path)
    lift_constants(model.graph)  # those of the version converter
    _lower_group_norms(model)
    renamed = _free_reserved_names(model.graph)
    _name_nodes(model.graph)
    return model, renamed


def _spell_default_domain(model: ModelProto) -> None:
    """ "ai.onnx" and "" are the same domain."""
    for item in [*model.opset_import, *nodes_of(model.graph), *(n for f in model.functions for n in f.node)]:
        if item.domain == "ai.onnx":
            item.domain = ""


def _inlined(model: ModelProto, path: Path) -> ModelProto:
    """Without local functions: engines refuse them, and their names say nothing of what they do."""
    names = ", ".join(sorted({function.name for function in model.functions}))
    try:
        model = inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:  # its pybind exceptions share no base class but Exception
        raise BadInput(f"{path}: its local functions ({names}) cannot be inlined ({first_line(error)})") from error
    if model.functions:
        left = ", ".join(sorted({function.name for function in model.functions}))
        raise BadInput(f"{path}: its local functions {left} cannot be inlined; export it without functions")
    used = {node.domain for node in nodes_of(model.graph)} | {""}
    imports = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def _at_least_opset(model: ModelProto, path: Path) -> ModelProto:
    version = opset_of(model)
    if version >= MIN_OPSET:
        return model
    try:
        if version < RESIZE_WITH_MODES:
            model = version_converter.convert_version(model, RESIZE_WITH_MODES)
            _state_resize_modes(model.graph)
        return version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:  # C++ assertions, checker and shape inference errors: no common base class
        raise BadInput(
            f"{path}: opset {version} cannot be converted to {MIN_OPSET} ({first_line(error)});"
            f" export it with opset {MIN_OPSET} or later"
        ) from error


def _state_resize_modes(graph: GraphProto) -> None:
    """What Resize and Upsample meant before opset 11; the version converter leaves the later default, half_pixel.

    Source: operator schemas of opsets 7 to 10. Nearest: floor, and ceil where ONNX Runtime makes maps smaller.
    """
    known = stored_tensors(graph)
    for node in graph.node:
        if operator(node) != "Resize":
            continue
        scales = numpy_helper.to_array(known[node.input[2]]) if node.input[2] in known else np.ones(1)
        kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        node.attribute.append(helper.make_attribute("nearest_mode", "ceil" if scales.min() < 1 else "floor"))


def _lower_group_norms(model: ModelProto) -> None:
    """GroupNormalization of opsets 18 to 20 as the instance normalisation that it is, each group an instance."""
    graph, names = model.graph, Names(model.graph)
    if opset_of(model) >= GROUP_NORM_PER_CHANNEL:
        return
    for position, node in reversed(list(enumerate(graph.node))):
        if operator(node) != "GroupNormalization":
            continue
        given = attributes(node)
        groups = names.store(graph, "group_shape", np.array([0, given["num_groups"], -1], np.int64))
        shape, rows, normed = (names.fresh(f"{node.output[0]}_{what}") for what in ("shape", "groups", "normed"))
        epsilon = given.get("epsilon", 1e-5)
        made = [
            helper.make_node("Shape", [node.input[0]], [shape]),
            helper.make_node("Reshape", [node.input[0], groups], [rows]),
            helper.make_node("InstanceNormalization", [rows, *node.input[1:]], [normed], epsilon=epsilon),
            helper.make_node("Reshape", [normed, shape], list(node.output), node.name),
        ]
        del graph.node[position]
        for offset, new in enumerate(made):
            graph.node.insert(position + offset, new)


def _name_nodes(graph: GraphProto) -> None:
    """Layers are told apart by their nodes' names: each gets one of its own."""
    taken: set[str] = set()
    for node in graph.node:
        name, count = node.name or f"{operator(node)}_{node.output[0]}", 1
        while name in taken:
            count += 1
            name = f"{node.name or operator(node)}_{count}"
        taken.add(name)
        node.name = name


def _free_reserved_names(graph: GraphProto) -> dict[str, str]:
    """Names that begin as the contract's own do get another one; old -> new."""
    names = Names(graph)
    mapping = {name: names.fresh(f"file_{name}") for name in sorted(names.taken) if name.startswith(RESERVED)}
    rename_tensors(graph, mapping)
    for node in graph.node:
        if node.name.startswith(RESERVED):
            node.name = f"file_{node.name}"
    return mapping
