"""Q/DQ pairs of uint8: with zero point 128 where OpenVINO needs them, none at all where TensorRT reads the file.

OpenVINO (2026.4.1) rounds to whole numbers where a Concat is quantized to int8 with zero point 0 and
127 * scale > 0.5. uint8 with zero point 128 is the same arithmetic and right at every scale:
docs/benchmarks/openvino-concat.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import Names, consumers, copied, operator, stored_tensors

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

NOT_FOR_NVIDIA = "has uint8 activations, which TensorRT reads as int8"
PAIR = ("QuantizeLinear", "DequantizeLinear")
SHIFT = 128  # the zero point of uint8 that makes it int8 with zero point 0


def has_concat(graph: GraphProto) -> bool:
    """Whether OpenVINO may round too coarsely in this graph.

    Which pairs it rounds depends on what it moves where: those behind a Concat, also behind scaling, ReLUs and
    reshaping, those in front of one, and one that a convolution and a max pooling read in front of one.
    """
    return any(operator(node) == "Concat" for node in graph.node)


def model_with_shifted_pairs(model: ModelProto) -> ModelProto:
    """`model` itself; where it has a Concat, a copy with all activations in uint8.

    Pairs of int8 with zero point 0 become uint8 with zero point 128, which changes no value of any other tensor.
    """
    if not has_concat(model.graph):
        return model
    points = _zero_points(model.graph).items()
    zeros = {name: value for name, value in points if value.dtype == np.int8 and not value.any()}
    if not _symmetric_pairs(model.graph, set(zeros)):
        return model
    shifted = copied(model)
    for pair in _symmetric_pairs(shifted.graph, set(zeros)):
        _shift(shifted.graph, pair, zeros[pair[0].input[2]].shape)
    return shifted


def require_signed_pairs(graph: GraphProto, name: str) -> None:
    """Raises BadInput where activations of the graph are uint8. name: of the file, for the message.

    TensorRT's importer warns and goes on in int8, with scales made for 0..255: all that is large would be cut off.
    """
    unsigned = {point for point, value in _zero_points(graph).items() if value.dtype == np.uint8}
    quantizing = [node for node in graph.node if operator(node) == "QuantizeLinear"]
    if any(len(node.input) < 3 or node.input[2] in unsigned for node in quantizing):
        raise BadInput(f"{name}: {NOT_FOR_NVIDIA}; calibrate the fp32 file with placement any or nvidia")


def _symmetric_pairs(graph: GraphProto, zeros: set[str]) -> list[list[NodeProto]]:
    """Each QuantizeLinear of an activation by one of these zero points, before the DequantizeLinear nodes behind it."""
    readers = consumers(graph)
    kept = _stored(graph) | {value.name for value in graph.output}
    pairs = []
    for node in graph.node:
        if (
            operator(node) == "QuantizeLinear"
            and node.input[-1] in zeros
            and not kept & {node.input[0], node.output[0]}
        ):
            reading = readers.get(node.output[0], [])
            if all(operator(r) == "DequantizeLinear" and r.input[1:] == node.input[1:] for r in reading):
                pairs.append([node, *reading])
    return pairs


def _stored(graph: GraphProto) -> set[str]:
    """Names of initializers and of what Constant nodes hold."""
    constants = (name for node in graph.node if operator(node) == "Constant" for name in node.output)
    return set(stored_tensors(graph)) | set(constants)


def _zero_points(graph: GraphProto) -> dict[str, np.ndarray]:
    """Zero points that are stored in the file, by name."""
    from onnx import numpy_helper

    read = {node.input[2] for node in graph.node if operator(node) in PAIR and len(node.input) > 2}
    tensors = stored_tensors(graph)
    constants = [node for node in graph.node if operator(node) == "Constant"]
    tensors.update((node.output[0], a.t) for node in constants for a in node.attribute if a.name == "value")
    return {name: numpy_helper.to_array(tensors[name]) for name in read & set(tensors)}


def _shift(graph: GraphProto, pair: list[NodeProto], shape: tuple[int, ...]) -> None:
    """Give the nodes of a pair the zero point 128. shape: that of their own."""
    from onnx import TensorProto

    integers = pair[0].output[0]
    name = Names(graph).store(graph, f"{integers}_zero_{SHIFT}", np.full(shape, SHIFT, np.uint8))
    for node in pair:
        node.input[2] = name
    for value in graph.value_info:
        if value.name == integers:
            value.type.tensor_type.elem_type = TensorProto.UINT8
