"""An equalised network computes the same, with channels of like ranges and a hash of its own."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.calibration import quantized_file, table_from_file
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.exporting import equalised_file
from fcn_edge.exporting.equalise import equalise, pairs_of
from fcn_edge.onnxfile import contract_from_onnx
from tests.refusals import refused


def chain(*between, second_group=1, readers=(), relu6=False):
    """x (1, 6, 9, 9) -> conv a (channels of 1/64 to 32) -> `between` -> conv b -> y."""
    rng = np.random.default_rng(1)
    spread = 2.0 ** np.arange(-6, 6).reshape(-1, 1, 1, 1)
    values = {
        "a_w": rng.normal(size=(12, 6, 3, 3)) * spread,
        "a_b": rng.normal(size=12),
        "b_w": rng.normal(size=(12, 12 // second_group, 3, 3)),
        "zero": 0.0,
        "six": 6.0,
    }
    nodes, name = [helper.make_node("Conv", ["x", "a_w", "a_b"], ["a_out"], "a")], "a_out"
    for number, (op, extra, given) in enumerate(between):
        nodes.append(helper.make_node(op, [name, *extra], [f"t{number}"], f"n{number}", **given))
        name = f"t{number}"
    nodes += [helper.make_node("Conv", [name, "b_w"], ["y"], "b", group=second_group), *readers]
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in values.items()]
    tensors.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "pads"))
    outputs = [onnx.ValueInfoProto(name=n) for n in ["y", *(r.output[0] for r in readers)]]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 9, 9])]
    graph = helper.make_graph(nodes, "g", given, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


RELU, POOL = ("Relu", (), {}), ("MaxPool", (), {"kernel_shape": [2, 2]})
PAD = ("Pad", ("pads", "zero"), {})
OPEN, RELU6 = ("Clip", ("zero",), {}), ("Clip", ("zero", "six"), {})
SIGMOID, LEAKY = ("Sigmoid", (), {}), ("LeakyRelu", (), {"alpha": 0.25})


def run(model):
    x = np.random.default_rng(2).normal(size=(1, 6, 9, 9)).astype(np.float32)
    return Taps(model.SerializeToString(), "chain").run(x)


def weights(model, name):
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


@pytest.mark.parametrize("groups", [1, 3, 12])
@pytest.mark.parametrize("between", [(), (RELU,), (LEAKY, POOL), (PAD, OPEN)], ids=["linear", "relu", "pool", "pad"])
def test_equalised_network_computes_the_same_bits(between, groups):
    before, after = (chain(*between, second_group=groups) for _ in range(2))
    assert equalise(after.graph, "net") == 1
    assert not np.array_equal(weights(before, "a_w"), weights(after, "a_w"))
    assert np.array_equal(run(before)["y"], run(after)["y"])


def test_channels_span_alike():
    model = chain(RELU)
    equalise(model.graph, "net")
    spans = np.abs(weights(model, "a_w")).max((1, 2, 3)), np.abs(weights(model, "b_w")).max((0, 2, 3))
    assert (np.abs(np.log2(spans[0] / spans[1])) <= 1).all(), "powers of two come within a factor of two"


@pytest.mark.parametrize("between", [(RELU6,), (SIGMOID,), (RELU, RELU6)])
def test_what_bends_is_no_pair(between):
    assert list(pairs_of(chain(*between).graph)) == []
    with refused(BadInput, "net", "ReLU"):
        equalise(chain(*between).graph, "net")


def test_channels_that_somebody_else_reads_are_left_alone():
    assert list(pairs_of(chain(RELU, readers=[helper.make_node("Relu", ["t0"], ["other"])]).graph)) == []
    shared = chain(RELU, readers=[helper.make_node("Conv", ["x", "a_w"], ["other"])])
    assert list(pairs_of(shared.graph)) == [], "weights of two convolutions"


def test_channel_of_zeros_does_no_harm():
    model = chain(RELU)
    dead = weights(model, "a_w").copy()
    dead[3] = 0
    next(t for t in model.graph.initializer if t.name == "a_w").CopyFrom(numpy_helper.from_array(dead, "a_w"))
    before = run(model)["y"]
    equalise(model.graph, "net")
    assert np.array_equal(before, run(model)["y"])


@pytest.mark.slow
def test_file_is_a_new_network_with_its_contract(onnx_file, table_file, tmp_path):
    out = tmp_path / "even.onnx"
    assert equalised_file(onnx_file, out) > 0
    assert sha256_of_file(out) != sha256_of_file(onnx_file)
    assert contract_from_onnx(out) == contract_from_onnx(onnx_file)
    with refused(BadInput, "tiny", "weights", "graph"):
        quantized_file(out, tmp_path / "q.onnx", precision="int8", table=table_from_file(table_file))


def test_quantized_network_is_not_equalised(int8_file, tmp_path):
    with refused(BadInput, "tiny.int8.onnx", "fp32"):
        equalised_file(int8_file, tmp_path / "a.onnx")
