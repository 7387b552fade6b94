"""The contract around a graph: uint8 BGR frames in, scores or classes out, the spec in the metadata."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, with_metadata
from fcn_edge.onnxgraph import (
    graph_inputs,
    keep_tensors,
    names_read,
    operator,
    rename_tensors,
    replace_nodes,
    stored_tensors,
)
from fcn_edge.spec import ModelSpec

FRAMES = "frames"


def attach_contract(model: ModelProto, spec: ModelSpec) -> ModelProto:
    """Put Cast, Transpose, Sub and Mul in front of a float NCHW graph, and the spec in its metadata.

    Frames are BGR; where the weights expect RGB, mean, std and the first convolution's input
    channels are permuted, so no node is spent on it.
    """
    source = graph_inputs(model.graph)[0]
    mean, std = (np.array(v, np.float32)[::-1] for v in (spec.preprocess.mean, spec.preprocess.std))  # BGR
    tail = f"{FRAMES}_ready"
    rename_tensors(model.graph, {source.name: tail})
    nodes = [
        helper.make_node("Cast", [FRAMES], ["frames_float"], "frames_cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["frames_float"], ["frames_planar"], "frames_transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["frames_planar", "frames_mean"], ["frames_centred"], "frames_subtract_mean"),
        helper.make_node("Mul", ["frames_centred", "frames_scale"], [tail], "frames_scale_std"),
    ]
    if spec.preprocess.channels == "rgb" and not _swap_first_convolution(model.graph, tail):
        nodes[-1].output[0] = f"{tail}_bgr"
        nodes.append(helper.make_node("Gather", [f"{tail}_bgr", "frames_rgb"], [tail], "frames_swap", axis=1))
        model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "frames_rgb"))
    _add_initializer(model.graph, "frames_mean", mean.reshape(1, 3, 1, 1))
    _add_initializer(model.graph, "frames_scale", (1 / std.astype(np.float64)).astype(np.float32).reshape(1, 3, 1, 1))
    del model.graph.input[:]
    shape: list[str | int] = ["batch", "height", "width", 3] if spec.dynamic else [1, *spec.preprocess.size, 3]
    model.graph.input.append(helper.make_tensor_value_info(FRAMES, TensorProto.UINT8, shape))
    for offset, node in enumerate(nodes):
        model.graph.node.insert(offset, node)
    del model.graph.value_info[:]
    return with_metadata(model, METADATA_KEY, spec.to_json())


def plain_from_contract(model: ModelProto, spec: ModelSpec) -> ModelProto:
    """The same network as other tools expect it: float NCHW normalised input, in the weights' channel order."""
    if spec.head.kind == "scores":
        raise BadInput('`io="plain"` ends in logits or classes: pass `head="logits"`')
    if spec.preprocess.channels == "rgb":
        _swap_first_convolution(model.graph, f"{FRAMES}_ready")
    names = {node.name for node in model.graph.node if node.name.startswith("frames_")}
    replace_nodes(model.graph, [node for node in model.graph.node if node.name not in names])
    keep_tensors(model.graph, {name for name in stored_tensors(model.graph) if not name.startswith("frames_")})
    del model.graph.input[:]
    shape: list[str | int] = ["batch", 3, "height", "width"] if spec.dynamic else [1, 3, *spec.preprocess.size]
    model.graph.input.append(helper.make_tensor_value_info(f"{FRAMES}_ready", TensorProto.FLOAT, shape))
    return model


def _add_initializer(graph: GraphProto, name: str, value: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))


def _swap_first_convolution(graph: GraphProto, tensor: str) -> bool:
    """Reverse the input channels of the convolution that alone consumes `tensor` (padding may stand between)."""
    readers = _readers(graph, tensor)
    while len(readers) == 1 and _keeps_channels(readers[0], graph):
        tensor = readers[0].output[0]
        readers = _readers(graph, tensor)
    if len(readers) != 1 or operator(readers[0]) != "Conv" or readers[0].input[0] != tensor:
        return False
    weights = stored_tensors(graph).get(readers[0].input[1])
    if weights is None or list(weights.dims)[1:2] != [3] or _is_shared(graph, weights.name):
        return False
    swapped = np.ascontiguousarray(numpy_helper.to_array(weights)[:, ::-1])
    weights.CopyFrom(numpy_helper.from_array(swapped, weights.name))
    return True


def _readers(graph: GraphProto, tensor: str) -> list[NodeProto]:
    return [node for node in graph.node if tensor in names_read(node)]


def _keeps_channels(node: NodeProto, graph: GraphProto) -> bool:
    """Whether a Pad leaves the channels of an (N, C, H, W) map where they are."""
    if operator(node) != "Pad" or len(node.input) < 2:
        return False
    tensor = stored_tensors(graph).get(node.input[1])
    pads = [] if tensor is None else numpy_helper.to_array(tensor).tolist()
    has_axes = len(node.input) > 3 and bool(node.input[3])
    return len(pads) == 8 and not has_axes and not (pads[1] or pads[5])


def _is_shared(graph: GraphProto, name: str) -> bool:
    return sum(name in names_read(node) for node in graph.node) > 1
