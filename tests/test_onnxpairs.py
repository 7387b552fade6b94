"""Which Q/DQ pairs are rewritten for OpenVINO, and which files TensorRT must not read."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.trt import plan as plan_module
from fcn_edge.errors import BadInput
from fcn_edge.onnxpairs import model_with_shifted_pairs, require_signed_pairs
from tests.refusals import refused

SHAPE = [1, 2, 4, 4]


def graph_with_pair(zero, *, joins=True, is_constant=False, reads_integers=False):
    """x, y -> Concat (or Add) -> QuantizeLinear -> DequantizeLinear -> z; zero: the zero point, None for none."""
    names = ["scale"] if zero is None else ["scale", "zero"]
    nodes = [
        helper.make_node("Concat", ["x", "y"], ["c"], axis=1) if joins else helper.make_node("Add", ["x", "y"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", *names], ["q"]),
        helper.make_node("DequantizeLinear", ["q", *names], ["z"]),
    ]
    stored = [numpy_helper.from_array(np.float32(0.1), "scale")]
    if is_constant:
        nodes.insert(0, helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.asarray(zero))))
    elif zero is not None:
        stored.append(numpy_helper.from_array(np.asarray(zero), "zero"))
    if reads_integers:
        nodes.append(helper.make_node("Cast", ["q"], ["integers"], to=TensorProto.FLOAT))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    names = ("z", "integers")[: 1 + reads_integers]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, 4, 4]) for name in names]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    graph.value_info.append(helper.make_tensor_value_info("q", TensorProto.INT8, [1, None, 4, 4]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("is_constant", [False, True], ids=["initializer", "Constant node"])
def test_symmetric_pair_beside_a_concat_becomes_unsigned(is_constant):
    given = graph_with_pair(np.int8(0), is_constant=is_constant)
    made = model_with_shifted_pairs(given)
    onnx.checker.check_model(made, full_check=True)
    zeros = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    read = {node.input[2] for node in made.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert [(zeros[name].dtype, int(zeros[name])) for name in read] == [(np.uint8, 128)]


@pytest.mark.parametrize(
    "given",
    [
        graph_with_pair(np.int8(0), joins=False),
        graph_with_pair(np.int8(3)),
        graph_with_pair(np.uint8(0)),
        graph_with_pair(None),
        graph_with_pair(np.int8(0), reads_integers=True),
    ],
    ids=["no Concat", "another zero point", "unsigned", "no zero point", "integers that another node reads"],
)
def test_other_pairs_are_left_alone(given):
    assert model_with_shifted_pairs(given) is given


@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(128), None])
def test_unsigned_activations_are_refused_where_tensorrt_reads_them(zero):
    with refused(BadInput, "net.onnx", "uint8", "any", "nvidia"):
        require_signed_pairs(graph_with_pair(zero).graph, "net.onnx")


def test_signed_activations_are_not_refused():
    require_signed_pairs(graph_with_pair(np.int8(0)).graph, "net.onnx")


@pytest.fixture
def unsigned_file(onnx_file, table_file, tmp_path):
    from fcn_edge.calibration import calibrate

    return calibrate(onnx_file, table_file, tmp_path / "x86.onnx", placement="x86").path


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["tensorrt", "nv-tensorrt-rtx"])
def test_providers_that_are_tensorrt_refuse_unsigned_activations(unsigned_file, provider):
    with refused(BadInput, "x86.onnx", "uint8"):
        open_engine(unsigned_file, target="onnxruntime", options=EngineOptions(provider=provider))


@pytest.mark.slow
def test_tensorrt_refuses_unsigned_activations_before_it_compiles(unsigned_file, monkeypatch):
    monkeypatch.setattr(plan_module, "require_target", lambda target: None)
    with refused(BadInput, "x86.onnx", "uint8"):
        plan_module.plan_from_onnx(unsigned_file, target="tensorrt")
