"""Three convolutions in each precision, as our files look, and how a plan of them is compiled and read."""

from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines.trt import (
    PlanOptions,
)

compiles = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing was compiled"
)
AMPERE = PlanOptions(sm=(86,))
CONVOLUTIONS = ("stem", "depthwise", "score")
NUMPY = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}


def tiny_model(precision: str, *, batch: int | str = 1) -> onnx.ModelProto:
    """Three convolutions on a uint8 64 x 64 frame, the middle one depthwise, as our files look."""
    half = precision in ("fp16", "int8-fp16")
    float_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    random = np.random.default_rng(1)
    weights = {
        "stem": random.normal(size=(16, 3, 3, 3)),
        "depthwise": random.normal(size=(16, 1, 3, 3)),
        "score": random.normal(size=(11, 16, 1, 1)),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["cast"], name="cast", to=float_type),
        helper.make_node("Transpose", ["cast"], ["nchw"], name="transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"], name="sub"),
        helper.make_node("Mul", ["centred", "inverse_std"], ["x0"], name="mul"),
    ]
    tensors = {"mean": np.full((1, 3, 1, 1), 110.0), "inverse_std": np.full((1, 3, 1, 1), 0.02)}
    for index, (name, weight) in enumerate(weights.items()):
        sources = [f"x{index}", f"{name}.weight"]
        tensors[f"{name}.weight"] = weight
        if precision.startswith("int8"):
            sources = [_quantized(source, axis, nodes) for source, axis in zip(sources, (None, 0), strict=True)]
            tensors |= {f"x{index}.scale": np.array(0.05), f"{name}.weight.scale": np.full(len(weight), 0.03)}
        side = weight.shape[2] // 2
        nodes.append(
            helper.make_node(
                "Conv", sources, [f"y{index}"], name=name, pads=[side] * 4, group=16 if name == "depthwise" else 1
            )
        )
        nodes.append(helper.make_node("Relu", [f"y{index}"], [f"x{index + 1}"], name=f"relu{index}"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [batch, 64, 64, 3])],
        [helper.make_tensor_value_info("x3", float_type, [batch, 11, 64, 64])],
        [numpy_helper.from_array(value.astype(NUMPY[float_type]), name) for name, value in tensors.items()],
    )
    _add_zero_points(graph)
    opset = 19 if precision == "int8-fp16" else 17
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _quantized(source: str, axis: int | None, nodes: list[onnx.NodeProto]) -> str:
    where = {} if axis is None else {"axis": axis}
    names = [f"{source}.scale", f"{source}.zero"]
    nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{source}.q"], name=f"{source}.Q", **where))
    nodes.append(
        helper.make_node("DequantizeLinear", [f"{source}.q", *names], [f"{source}.dq"], name=f"{source}.DQ", **where)
    )
    return f"{source}.dq"


def _add_zero_points(graph: onnx.GraphProto) -> None:
    for tensor in list(graph.initializer):
        if tensor.name.endswith(".scale"):
            zero = np.zeros(tuple(tensor.dims), np.int8)
            graph.initializer.append(numpy_helper.from_array(zero, tensor.name.replace(".scale", ".zero")))


def convolution_precisions(plan) -> dict[str, str]:
    """{node: precision} read back from the compiler; the kernel's name begins with the node's."""
    layers = [layer for layer in plan.layers if layer.op == "correlation"]
    return {name: layer.precision for name in CONVOLUTIONS for layer in layers if layer.name.startswith(name)}
