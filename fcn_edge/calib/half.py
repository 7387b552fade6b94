"""Typed FP16 files: half-precision weights and activations between a float32 head and tail.

`onnxconverter-common` breaks graphs with uint8 inputs, hence this small converter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from fcn_edge.errors import BadInput

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_SCALE = float(np.finfo(np.float16).tiny)  # 2**-14; below, half precision loses digits and then all
HALF_SCALES_OPSET = 19
# Inputs that the operator's definition keeps in float32, by position.
FLOAT_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


def fp16_model(model: Any) -> Any:
    """A copy that computes in half precision; scores come out as float32 again.

    Q/DQ scales become half precision too, which needs opset 19; those too small for it are raised,
    and what they scale is rounded anew. The first Cast writes half directly: frames are 0..255,
    exact in half precision.

    Raises:
        BadInput: a weight beyond 65504 (named).
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    if any(node.op_type == "QuantizeLinear" for node in half.graph.node):
        half = version_converter.convert_version(half, HALF_SCALES_OPSET)
    graph = half.graph
    _raise_scales(graph)
    _halve_weights(graph, _kept_in_float(graph))
    for node in graph.node:
        _halve_attributes(node)
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _cast_back(graph, value.name)
    del graph.value_info[:]
    return half


def _raise_scales(graph: Any) -> None:
    """No scale below SMALLEST_SCALE; channels of stored weights that had one are rounded to the new one."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = {node.input[1]: tensors[node.input[0]] for node in graph.node
               if node.op_type == "DequantizeLinear" and node.input[0] in tensors}  # fmt: skip
    names = {node.input[1] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for name in sorted(names & set(tensors)):
        scale = numpy_helper.to_array(tensors[name])
        raised = np.maximum(scale, np.float32(SMALLEST_SCALE))
        if (raised == scale).all():
            continue
        tensors[name].CopyFrom(numpy_helper.from_array(raised, name))
        if name in weights:
            stored = numpy_helper.to_array(weights[name])
            ratio = (scale / raised).reshape(-1, *[1] * (stored.ndim - 1))
            rounded = np.rint(stored * ratio).astype(stored.dtype)
            weights[name].CopyFrom(numpy_helper.from_array(rounded, weights[name].name))


def _kept_in_float(graph: Any) -> set[str]:
    return {
        node.input[position]
        for node in graph.node
        for position in FLOAT_INPUTS.get(node.op_type, ())
        if position < len(node.input)
    }


def _halve_weights(graph: Any, kept: set[str]) -> None:
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in kept:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size and not float(np.abs(values).max()) <= LARGEST:
            raise BadInput(
                f"weights {tensor.name} reach {np.abs(values).max():.3g}; half precision ends at {LARGEST:g}"
            )
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _halve_attributes(node: Any) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))


def _cast_back(graph: Any, name: str) -> None:
    for node in graph.node:
        for position, output in enumerate(node.output):
            if output == name:
                node.output[position] = f"{name}_half"
        for position, source in enumerate(node.input):
            if source == name:
                node.input[position] = f"{name}_half"
    graph.node.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_to_float", to=TensorProto.FLOAT))
