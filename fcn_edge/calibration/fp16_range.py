"""Typed FP16 files: half-precision weights and activations between a float32 head and tail.

What real images show to be out of half precision's range stays in float32, with Casts at its borders.
`onnxconverter-common` breaks graphs with uint8 inputs, hence this small converter.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from fcn_edge.calibration.collect import float_tensors
from fcn_edge.calibration.table import Magnitude
from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import copied, operator, replace_nodes, stored_tensors

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).tiny)  # 2**-14; below, half precision loses digits and then all
SMALLEST = 2.0**-24
HALF_SCALES_OPSET = 19
# Inputs that the operator's definition keeps in float32, by position.
FLOAT_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}


def unfit_for_half(magnitudes: Mapping[str, Magnitude]) -> dict[str, str]:
    """Tensor name -> why half precision cannot hold it.

    Above 65504 it overflows. Where even the largest value is under 2**-24 all of it becomes zero; where the
    root mean square is under 2**-14 the part that matters is subnormal and loses digits.
    """
    reasons = {}
    for name, size in magnitudes.items():
        if size.largest > LARGEST:
            reasons[name] = f"reaches {size.largest:.3g}, beyond {LARGEST:g}"
        elif 0 < size.largest < SMALLEST:
            reasons[name] = f"is at most {size.largest:.3g}, which becomes 0"
        elif 0 < size.rms < SMALLEST_NORMAL:
            reasons[name] = f"is around {size.rms:.3g}, where digits are lost"
    return reasons


def fp16_model(
    model: ModelProto, magnitudes: Mapping[str, Magnitude] | None = None
) -> tuple[ModelProto, dict[str, str]]:
    """(a copy that computes in half precision, node left in float32 -> why); scores come out as float32 again.

    magnitudes: of the fp32 file's tensors over real images; None leaves their range unchecked.
    Q/DQ scales become half precision too, which needs opset 19; those too small for it are raised,
    and what they scale is rounded again. The first Cast writes half directly: frames are 0..255,
    exact in half precision.

    Raises:
        BadInput: a weight beyond 65504 (named) of a node that computes in half precision.
    """
    half = copied(model)
    if any(operator(node) == "QuantizeLinear" for node in half.graph.node):
        half = version_converter.convert_version(half, HALF_SCALES_OPSET)
    computed = set(float_tensors(half))
    kept = _kept_nodes(half.graph, unfit_for_half(magnitudes or {}))
    _keep_weights(half.graph, kept)
    _raise_scales(half.graph, kept)
    _halve_weights(half.graph, kept)
    for node in half.graph.node:
        if node.output[0] not in kept:
            _halve_attributes(node)
    reasons = {node.name or node.output[0]: kept[node.output[0]] for node in half.graph.node if node.output[0] in kept}
    _bridge(half.graph, kept, computed)
    del half.graph.value_info[:]
    return half, reasons


def _kept_nodes(graph: GraphProto, unfit: dict[str, str]) -> dict[str, str]:
    """First output of a node -> why it stays in float32: it computes or reads what half precision cannot hold.

    The Q/DQ pairs of such a tensor are included, and those of the weights that stand beside it.
    """
    reasons, kept = dict(unfit), dict[str, str]()
    for node in graph.node:
        if operator(node) in ("QuantizeLinear", "DequantizeLinear") and node.input[0] in reasons:
            reasons[node.output[0]] = reasons[node.input[0]]
        out_of_range = next((name for name in [*node.output, *node.input] if name in reasons), None)
        if out_of_range is not None:
            kept[node.output[0]] = f"{out_of_range} {reasons[out_of_range]}"
    stored = set(stored_tensors(graph))
    weights = {
        node.output[0] for node in graph.node if operator(node) == "DequantizeLinear" and node.input[0] in stored
    }
    for node in graph.node:
        if node.output[0] in kept:  # beside large activations stand small weights, which must not become coarse
            kept |= {name: kept[node.output[0]] for name in node.input if name in weights}
    return kept


def _keep_weights(graph: GraphProto, kept: dict[str, str]) -> None:
    """Nodes of `kept` read float32 copies of their weights; the originals, where others read them, become half."""
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if node.output[0] in kept and name in weights:
                node.input[position] = f"{name}_float"
    read = {name for node in graph.node for name in node.input}
    for name, tensor in weights.items():
        if f"{name}_float" in read:
            copied = graph.initializer.add()
            copied.CopyFrom(tensor)
            copied.name = f"{name}_float"
        if name not in read:
            graph.initializer.remove(tensor)


def _raise_scales(graph: GraphProto, kept: dict[str, str]) -> None:
    """No half-precision scale below 2**-14; channels of stored weights that had one are rounded to the new one."""
    tensors = stored_tensors(graph)
    weights = {
        node.input[1]: tensors[node.input[0]]
        for node in graph.node
        if operator(node) == "DequantizeLinear" and node.input[0] in tensors
    }
    names = {
        node.input[1]
        for node in graph.node
        if operator(node) in ("QuantizeLinear", "DequantizeLinear") and node.output[0] not in kept
    }
    for name in sorted(names & set(tensors)):
        scale = numpy_helper.to_array(tensors[name])
        raised = np.maximum(scale, np.float32(SMALLEST_NORMAL))
        if (raised == scale).all():
            continue
        tensors[name].CopyFrom(numpy_helper.from_array(raised, name))
        if name in weights:
            stored = numpy_helper.to_array(weights[name])
            ratio = (scale / raised).reshape(-1, *[1] * (stored.ndim - 1))
            rounded = np.rint(stored * ratio).astype(stored.dtype)
            weights[name].CopyFrom(numpy_helper.from_array(rounded, weights[name].name))


def _halve_weights(graph: GraphProto, kept: dict[str, str]) -> None:
    in_float = {name for node in graph.node if node.output[0] in kept for name in node.input}
    in_float |= {
        node.input[position]
        for node in graph.node
        for position in FLOAT_INPUTS.get(operator(node), ())
        if position < len(node.input)
    }
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in in_float:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size and not float(np.abs(values).max()) <= LARGEST:
            raise BadInput(
                f"weights {tensor.name} reach {np.abs(values).max():.3g}; half precision ends at {LARGEST:g}"
            )
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _halve_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if operator(node) == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))


def _bridge(graph: GraphProto, kept: dict[str, str], computed: set[str]) -> None:
    """Casts where one side is half and the other float32; the graph's own outputs are float32.

    computed: tensors that are float. Each has up to two names: its own and `_half` or `_float` behind it.
    A pair that both sides read ends in two DequantizeLinear instead: behind a Cast a compiler would not find
    the integers, and run the convolution in float.
    """
    scales = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    outputs = {value.name for value in graph.output}
    in_half = {name: f"{name}_half" if name in outputs else name for name in computed}
    in_float = {name: name if name in outputs else f"{name}_float" for name in computed}
    read = set(outputs)
    for node in graph.node:
        names = in_float if node.output[0] in kept else in_half
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
        read.update(node.input)
    nodes = []
    for node in graph.node:
        nodes.append(node)
        is_float = node.output[0] in kept
        for position, name in enumerate(node.output):
            if name not in computed:
                continue
            made, other = (in_float, in_half) if is_float else (in_half, in_float)
            node.output[position] = made[name]
            if other[name] in read:
                if operator(node) == "DequantizeLinear" and not is_float:
                    nodes.append(_in_float(node, scales, other[name], graph))
                    continue
                to, word = (TensorProto.FLOAT16, "half") if is_float else (TensorProto.FLOAT, "float")
                nodes.append(helper.make_node("Cast", [made[name]], [other[name]], f"{name}_to_{word}", to=to))
    replace_nodes(graph, nodes)


def _in_float(node: NodeProto, scales: Mapping[str, TensorProto], output: str, graph: GraphProto) -> NodeProto:
    """The same DequantizeLinear with a float32 result; its scale is what half precision made of it."""
    integers, scale, *zero = node.input
    name = f"{scale}_exact"
    if name not in stored_tensors(graph):
        values = numpy_helper.to_array(scales[scale]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, name))
    return helper.make_node("DequantizeLinear", [integers, name, *zero], [output], f"{node.name}_float")
