"""Q/DQ pairs in graphs with a Concat, as OpenVINO computes them right: uint8 with zero point 128.

OpenVINO (2026.4.1) rounds the output of a Concat to whole numbers where its pair is int8 with zero point 0 and
127 * scale > 0.5. uint8 with zero point 128 is the same arithmetic, right at every scale: docs/openvino-concat.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.onnxfile import onnx_from_file

SHIFT = 128  # the zero point of uint8 that makes it int8 with zero point 0
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # their outputs are new values, with a scale of their own


def concatenated_tensors(graph: Any) -> set[str]:
    """Outputs of Concat nodes, and of nodes without weights that read nothing else.

    OpenVINO moves a pair in front of the Concat through scaling, biases, batch norms, ReLUs and reshaping; other
    nodes are included because uint8 with zero point 128 holds the same values.
    """
    stored, names = _stored(graph) | {""}, set[str]()
    for node in graph.node:
        computed = set(node.input) - stored
        reads_only_these = bool(computed) and computed <= names
        if node.op_type == "Concat" or (reads_only_these and node.op_type not in WEIGHTED):
            names.update(node.output)
    return names


def model_with_shifted_pairs(model: Path | bytes) -> Path | bytes:
    """`model`, a file or a serialized graph; where it has a Concat, a copy with all activations in uint8.

    Pairs of int8 with zero point 0 become uint8 with zero point 128, which changes no value of any other tensor.
    """
    import onnx

    read = onnx_from_file(model) if isinstance(model, Path) else onnx.load_model_from_string(model)
    if not any(node.op_type == "Concat" for node in read.graph.node):
        return model
    zeros = _int8_zeros(read.graph)
    pairs = _symmetric_pairs(read.graph, set(zeros))
    for pair in pairs:
        _shift(read.graph, pair, zeros[pair[0].input[2]].shape)
    return bytes(read.SerializeToString()) if pairs else model


def _symmetric_pairs(graph: Any, zeros: set[str]) -> list[list[Any]]:
    """Each QuantizeLinear of an activation by one of these zero points, before the DequantizeLinear nodes behind it."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    kept = _stored(graph) | {value.name for value in graph.output}
    pairs = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[-1] in zeros and not kept & {node.input[0], node.output[0]}:
            reading = readers.get(node.output[0], [])
            if all(r.op_type == "DequantizeLinear" and r.input[1:] == node.input[1:] for r in reading):
                pairs.append([node, *reading])
    return pairs


def _stored(graph: Any) -> set[str]:
    """Names of initializers and of what Constant nodes hold."""
    constants = (name for node in graph.node if node.op_type == "Constant" for name in node.output)
    return {tensor.name for tensor in graph.initializer} | set(constants)


def _int8_zeros(graph: Any) -> dict[str, np.ndarray]:
    """The stored int8 tensors that hold nothing but 0."""
    from onnx import TensorProto, numpy_helper

    constants = [node for node in graph.node if node.op_type == "Constant"]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors.update((node.output[0], a.t) for node in constants for a in node.attribute if a.name == "value")
    integers = [(name, tensor) for name, tensor in tensors.items() if tensor.data_type == TensorProto.INT8]
    values = {name: numpy_helper.to_array(tensor) for name, tensor in integers}
    return {name: value for name, value in values.items() if not value.any()}


def _shift(graph: Any, pair: list[Any], shape: tuple[int, ...]) -> None:
    """Give the nodes of a pair the zero point 128. shape: that of their own."""
    from onnx import TensorProto, numpy_helper

    integers = pair[0].output[0]
    name, taken = f"{integers}_zero_{SHIFT}", {tensor.name for tensor in graph.initializer}
    while name in taken:
        name += "_"
    graph.initializer.append(numpy_helper.from_array(np.full(shape, SHIFT, np.uint8), name))
    for node in pair:
        node.input[2] = name
    for value in graph.value_info:
        if value.name == integers:
            value.type.tensor_type.elem_type = TensorProto.UINT8
