"""A graph without detours: constants as initializers, no identities, nothing computed that is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    SparseTensorProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)
from onnx.reference import ReferenceEvaluator

from fcn_edge.exporting.simplify import fold_batch_norms, take_known_branches
from fcn_edge.onnxgraph import (
    attributes,
    keep_tensors,
    names_read,
    operator,
    replace_nodes,
    stored_tensors,
    stored_values,
    subgraphs,
)

# Shape arithmetic that exporters leave behind; nothing here works on feature maps.
FOLDABLE = {
    "Add",
    "Cast",
    "Concat",
    "ConstantOfShape",
    "Div",
    "Equal",
    "Expand",
    "Floor",
    "Gather",
    "Mod",
    "Mul",
    "Neg",
    "Range",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
    "Where",
}
MAX_FOLDED_VALUES = 4096


def tidy_model(model: ModelProto) -> ModelProto:
    """Lift constants, take known branches, drop identities, fold shape arithmetic, batch norms and dead nodes."""
    lift_constants(model.graph)
    _drop_identities(model.graph)
    _fold_known(model)
    if any(operator(node) == "If" for node in model.graph.node):
        take_known_branches(model.graph)
        lift_constants(model.graph)
        _drop_identities(model.graph)
        _fold_known(model)
    fold_batch_norms(model.graph)
    _fold_borders(model.graph)
    drop_dead(model.graph)
    _state_output_shapes(model)
    return model


def lift_constants(graph: GraphProto) -> None:
    """Constant nodes and sparse initializers become plain initializers."""
    for node in [node for node in graph.node if operator(node) == "Constant"]:
        graph.initializer.append(_constant(node.attribute[0], node.output[0]))
        graph.node.remove(node)
    for tensor in graph.sparse_initializer:
        graph.initializer.append(numpy_helper.from_array(_dense(tensor), tensor.values.name))
    del graph.sparse_initializer[:]


def _constant(attribute: AttributeProto, name: str) -> TensorProto:
    """The tensor that a Constant gives by its one attribute: value, value_float, value_ints, sparse_value ..."""
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = name
        return tensor
    array = _dense(value) if isinstance(value, onnx.SparseTensorProto) else np.array(value)
    return numpy_helper.from_array(
        array.astype(np.float32) if attribute.name.startswith("value_float") else array, name
    )


def _dense(tensor: SparseTensorProto) -> np.ndarray:
    """A sparse tensor with its zeros; its places are flat (n,) or a row of coordinates for each value (n, rank)."""
    values, places = (numpy_helper.to_array(part) for part in (tensor.values, tensor.indices))
    array = np.zeros(tuple(tensor.dims), values.dtype)
    flat = places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), array.shape)
    array.reshape(-1)[flat] = values
    return array


def _drop_identities(graph: GraphProto) -> None:
    kept = _read_from_elsewhere(graph)
    for node in [node for node in graph.node if operator(node) == "Identity" and node.output[0] not in kept]:
        for other in graph.node:
            for position, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[position] = node.input[0]
        graph.node.remove(node)


def _read_from_elsewhere(graph: GraphProto) -> set[str]:
    """Tensors that the graph gives back, or that its subgraphs read."""
    inner = [node for outer in graph.node for part in subgraphs(outer) for node in part.node]
    return {name for node in inner for name in names_read(node)} | {value.name for value in graph.output}


def _fold_known(model: ModelProto) -> None:
    graph = model.graph
    shapes = static_shapes(model)
    weights = stored_tensors(graph)
    small = {name for name, tensor in weights.items() if int(np.prod(tensor.dims)) <= MAX_FOLDED_VALUES}
    known = {name: numpy_helper.to_array(weights[name]) for name in small}
    outputs = {value.name for value in graph.output}
    for node in list(graph.node):
        if operator(node) not in FOLDABLE or node.output[0] in outputs:
            continue
        if operator(node) == "Shape" and node.input[0] in shapes:
            value = _shape_slice(node, shapes[node.input[0]])
        elif operator(node) != "Shape" and all(name in known or not name for name in node.input):
            value = _evaluated(node, known, model.opset_import)
        else:
            continue
        if value.size <= MAX_FOLDED_VALUES:
            known[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            graph.node.remove(node)


def _fold_borders(graph: GraphProto) -> None:
    """A border of zeros that only convolutions read becomes theirs, where it is narrower than their kernels."""
    known = stored_values(graph)
    kept = _read_from_elsewhere(graph)
    for node in [node for node in graph.node if operator(node) == "Pad" and node.output[0] not in kept]:
        border = _border_of_zeros(node, known)
        readers = [other for other in graph.node if node.output[0] in other.input]
        if border is None or not readers or not all(_takes_border(other, border, known) for other in readers):
            continue
        for reader in readers:
            reader.input[0] = node.input[0]
            pads = next((a for a in reader.attribute if a.name == "pads"), None)
            if pads is None:
                reader.attribute.append(helper.make_attribute("pads", border))
            else:
                pads.ints[:] = [old + new for old, new in zip(pads.ints, border, strict=True)]
        graph.node.remove(node)


def _border_of_zeros(node: NodeProto, known: dict[str, np.ndarray]) -> list[int] | None:
    """(top, left, bottom, right) of zeros that a Pad of an (N, C, H, W) map adds, in the order of Conv's pads."""
    mode = attributes(node).get("mode", b"constant")
    names = [*node.input, "", "", ""][1:4]  # pads, constant_value, axes
    if mode != b"constant" or names[0] not in known or names[2] or (names[1] and names[1] not in known):
        return None
    pads = known[names[0]].tolist()
    is_zero = not names[1] or not known[names[1]].any()
    if len(pads) != 8 or min(pads) < 0 or any(pads[axis] for axis in (0, 1, 4, 5)) or not is_zero:
        return None
    return [pads[2], pads[3], pads[6], pads[7]]


def _takes_border(node: NodeProto, border: list[int], known: dict[str, np.ndarray]) -> bool:
    """Whether `node` is a Conv with pads of its own choice; some engines refuse pads as wide as a kernel."""
    if operator(node) != "Conv" or node.input[1] not in known:
        return False
    given = attributes(node)
    kernel = known[node.input[1]].shape[2:]
    total = [old + new for old, new in zip(given.get("pads", [0, 0, 0, 0]), border, strict=True)]
    return given.get("auto_pad", b"NOTSET") == b"NOTSET" and all(
        pad < size for pad, size in zip(total, (*kernel, *kernel), strict=True)
    )


def static_shapes(model: ModelProto) -> dict[str, list[int]]:
    inferred = shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
    shapes = {}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    return shapes


def _without_weights(model: ModelProto) -> ModelProto:
    """The same graph with large weights as mere inputs: shape inference would copy hundreds of megabytes."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims)) <= MAX_FOLDED_VALUES:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    light.graph.name = "shapes"
    return light


def _shape_slice(node: NodeProto, shape: list[int]) -> np.ndarray:
    given = attributes(node)
    return np.array(shape[given.get("start", 0) : given.get("end", len(shape))], np.int64)


def _evaluated(node: NodeProto, known: dict[str, np.ndarray], opsets: Sequence[OperatorSetIdProto]) -> np.ndarray:
    names = [name for name in dict.fromkeys(node.input) if name]
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(known[n].dtype), None) for n in names]
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=node.output[0])])
    runner = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(opsets)))
    outputs = cast(list[Any], runner.run(None, {name: known[name] for name in names}))  # a dict for intermediate ones
    return np.asarray(outputs[0])


def drop_dead(graph: GraphProto) -> None:
    """Remove nodes and initializers that lead to no output."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed |= names_read(node)
    replace_nodes(graph, kept[::-1])
    keep_tensors(graph, needed)


def _state_output_shapes(model: ModelProto) -> None:
    """Exporters leave made-up names where a size was computed; other tools take these for free sizes."""
    shapes = static_shapes(model)
    for value in model.graph.output:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ())):
            dim.dim_value = size
