"""Where Q/DQ pairs stand and what they hold, on the real network and on small graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.calibration.placement import (
    activations_to_quantize,
    is_depthwise,
    never_negative,
    quantizable_convolutions,
    residual_adds,
)
from fcn_edge.calibration.quantize import SMALLEST_SCALE, int8_model
from fcn_edge.errors import BadInput
from tests.refusals import refused

ACTIVATIONS = ("Clip", "Relu")
FLOAT = TensorProto.FLOAT


class Graph:
    """A Q/DQ graph with its nodes by what they make and what they read."""

    def __init__(self, model):
        self.graph = model.graph
        self.values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.maker = {name: node for node in model.graph.node for name in node.output}
        self.readers = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def nodes(self, op):
        return [node for node in self.graph.node if node.op_type == op]

    def comes_from(self, name, op):
        return name in self.maker and self.maker[name].op_type == op


@pytest.fixture(scope="module")
def int8(quantized):
    """Gives the INT8 graph of a placement."""
    return lambda placement="any": Graph(onnx.load(str(quantized("int8", placement).path)))


@pytest.fixture(scope="module")
def float32(onnx_file):
    return Graph(onnx.load(str(onnx_file)))


@pytest.mark.parametrize("placement", ["any", "x86", "nvidia"])
def test_file_is_valid_and_its_contract_unharmed(quantized, placement):
    model = onnx.load(str(quantized("int8", placement).path))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)] and model.ir_version == 8
    (first,) = Graph(model).readers[model.graph.input[0].name]
    assert first.op_type == "Cast"
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert model.graph.output[0].type.tensor_type.elem_type == FLOAT


@pytest.mark.parametrize("placement", ["any", "x86", "nvidia"])
def test_no_pair_stands_between_a_convolution_and_its_activation(int8, placement):
    graph = int8(placement)
    activated = 0
    for node in graph.nodes("Conv"):
        readers = graph.readers.get(node.output[0], [])
        if any(reader.op_type in ACTIVATIONS for reader in readers):
            activated += 1
            assert [reader.op_type for reader in readers] == [readers[0].op_type]
    for op in ACTIVATIONS:
        assert all(graph.comes_from(node.input[0], "Conv") for node in graph.nodes(op))
    assert activated == 33, "the stem, two for each block but the first, one for that, the head"


@pytest.mark.parametrize("placement", ["any", "x86"])
def test_every_convolution_reads_quantized_inputs_and_weights(int8, placement):
    graph = int8(placement)
    assert len(graph.nodes("Conv")) == 52
    for node in graph.nodes("Conv"):
        assert graph.comes_from(node.input[0], "DequantizeLinear"), node.name
        assert graph.comes_from(node.input[1], "DequantizeLinear"), node.name
        assert graph.values[node.input[2]].dtype == np.float32, "biases are not quantized"


def test_deconvolutions_and_score_fusions_stay_in_float(int8, float32):
    graph = int8()
    deconvolutions = graph.nodes("ConvTranspose")
    assert len(deconvolutions) == 2
    for node in deconvolutions:
        assert not any(graph.comes_from(name, "DequantizeLinear") for name in node.input)
    fusions = [node for node in graph.nodes("Add") if any(graph.comes_from(n, "ConvTranspose") for n in node.input)]
    assert len(fusions) == 2
    for node in fusions:
        assert not any(graph.comes_from(name, "DequantizeLinear") for name in node.input)


def test_residual_adds_read_quantized_inputs_on_both_sides(int8, float32):
    graph = int8()
    names = {node.name for node in residual_adds(float32.graph)}
    assert len(names) == 9, "Lite0's blocks with a skip"
    for node in graph.nodes("Add"):
        if node.name in names:
            assert all(graph.comes_from(name, "DequantizeLinear") for name in node.input), node.name


def test_tensor_read_twice_is_quantized_once(int8):
    graph = int8()
    for name, readers in graph.readers.items():
        assert [reader.op_type for reader in readers].count("QuantizeLinear") <= 1, name


def test_activations_are_symmetric_int8_per_tensor(int8, table_file):
    from fcn_edge.calibration import table_from_file

    graph, limits = int8(), table_from_file(table_file).limits()
    for node in graph.nodes("QuantizeLinear"):
        scale, zero = graph.values[node.input[1]], graph.values[node.input[2]]
        assert scale.shape == zero.shape == () and scale.dtype == np.float32
        assert zero.dtype == np.int8 and zero == 0
        assert scale == np.float32(max(limits[node.input[0]] / 127, SMALLEST_SCALE))
        (reader,) = graph.readers[node.output[0]]
        assert reader.op_type == "DequantizeLinear" and list(reader.input[1:]) == list(node.input[1:])


def test_weights_are_symmetric_int8_per_output_channel(int8, float32):
    graph = int8()
    originals = {node.name: float32.values[node.input[1]] for node in float32.nodes("Conv")}
    for node in graph.nodes("Conv"):
        maker = graph.maker[node.input[1]]
        stored, scale, zero = (graph.values[name] for name in maker.input)
        (axis,) = [attribute.i for attribute in maker.attribute if attribute.name == "axis"]
        wanted = originals[node.name]
        assert axis == 0 and stored.dtype == np.int8 and zero.dtype == np.int8 and not zero.any()
        assert stored.shape == wanted.shape and scale.shape == zero.shape == (len(wanted),)
        assert scale.dtype == np.float32 and np.abs(stored.astype(int)).max() <= 127
        error = np.abs(stored * scale.reshape(-1, 1, 1, 1) - wanted)
        assert (error <= scale.reshape(-1, 1, 1, 1) * 0.5001).all(), node.name  # half a step, and its own rounding


def test_float_weights_do_not_stay_in_the_file(int8, float32, quantized, onnx_file):
    assert not {node.input[1] for node in float32.nodes("Conv")} & set(int8().values)
    assert quantized("int8").path.stat().st_size < 0.3 * onnx_file.stat().st_size


def test_x86_takes_unsigned_bytes_behind_relu6(int8, float32, table_file):
    from fcn_edge.calibration import table_from_file

    graph, limits = int8("x86"), table_from_file(table_file).limits()
    kinds = {True: set(), False: set()}
    for node in graph.nodes("QuantizeLinear"):
        scale, zero = graph.values[node.input[1]], graph.values[node.input[2]]
        behind = graph.comes_from(node.input[0], "Clip")
        kinds[behind].add(str(zero.dtype))
        assert zero == 0
        assert scale == np.float32(max(limits[node.input[0]] / (255 if behind else 127), SMALLEST_SCALE))
    assert kinds == {True: {"uint8"}, False: {"int8"}}


def test_nvidia_keeps_depthwise_convolutions_in_float_and_lists_them(int8, quantized, float32):
    depthwise = {node.name for node in float32.nodes("Conv") if is_depthwise(node)}
    assert len(depthwise) == 16 and set(quantized("int8", "nvidia").quantization.kept_float) == depthwise
    for node in int8("nvidia").nodes("Conv"):
        is_quantized = int8("nvidia").comes_from(node.input[0], "DequantizeLinear")
        assert is_quantized is (node.name not in depthwise)
    assert quantized("int8").quantization.kept_float == ()


# Small graphs: x (1, 4, 8, 8) -> conv a -> relu -> conv b -> add -> relu -> conv c -> score


def residual_model(weight=None, residual=("b_out", "a_relu")):
    """A residual block as ResNet's: the sum goes through an activation into a convolution."""
    weights = {name: np.ones((4, 4, 1, 1), np.float32) for name in ("a_w", "b_w", "c_w")}
    if weight is not None:
        weights["b_w"] = weight
    nodes = [
        helper.make_node("Conv", ["x", "a_w"], ["a_out"], "a"),
        helper.make_node("Relu", ["a_out"], ["a_relu"], "a_relu"),
        helper.make_node("Conv", ["a_relu", "b_w"], ["b_out"], "b"),
        helper.make_node("Add", list(residual), ["sum"], "add"),
        helper.make_node("Relu", ["sum"], ["sum_relu"], "sum_relu"),
        helper.make_node("Conv", ["sum_relu", "c_w"], ["c_out"], "c"),
        helper.make_node("Add", ["c_out", "a_relu"], ["y"], "fusion"),
    ]
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


LIMITS = {"x": 1.0, "a_relu": 2.0, "b_out": 3.0, "sum_relu": 4.0}


def test_sum_that_goes_on_into_a_convolution_is_residual():
    graph = residual_model().graph
    assert [node.name for node in residual_adds(graph)] == ["add"], "the last sum is a fusion of scores"
    assert activations_to_quantize(graph) == ["x", "a_relu", "sum_relu", "b_out"]


def test_sum_with_a_constant_is_a_bias():
    assert residual_adds(residual_model(residual=("b_out", "c_w")).graph) == []


def test_convolution_with_computed_weights_is_left_alone():
    model = residual_model()
    model.graph.node.insert(0, helper.make_node("Relu", ["b_w"], ["computed"], "weights"))
    next(node for node in model.graph.node if node.name == "b").input[1] = "computed"
    assert [node.name for node in quantizable_convolutions(model.graph)] == ["a", "c"]


def test_relus_and_clips_from_zero_are_never_negative():
    model = residual_model()
    model.graph.initializer.extend(
        numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("minus", -1), ("six", 6))
    )
    model.graph.node.extend(
        [
            helper.make_node("Clip", ["x", "zero", "six"], ["relu6"]),
            helper.make_node("Clip", ["x", "minus", "six"], ["hard tanh"]),
            helper.make_node("Clip", ["x"], ["open"]),
            helper.make_node("LeakyRelu", ["x"], ["leaky"]),
        ]
    )
    assert never_negative(model.graph) == {"a_relu", "sum_relu", "relu6"}


def pooled_model(*readers):
    """x -> relu -> max pooling -> a border of zeros -> conv a, and what else reads the pooled or padded map."""
    weights = {"w": np.linspace(-1, 1, 36, dtype=np.float32).reshape(1, 4, 3, 3), "zero": np.float32(0)}
    weights["pads"] = np.array([0, 0, 0, 0, 0, 0, 2, 1], np.int64)
    nodes = [
        helper.make_node("Relu", ["x"], ["relu"], "relu"),
        helper.make_node("MaxPool", ["relu"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Pad", ["pooled", "pads", "zero"], ["padded"], "pad"),
        helper.make_node("Conv", ["padded", "w"], ["a_out"], "a"),
        *readers,
    ]
    outputs = [onnx.ValueInfoProto(name=name) for node in [nodes[3], *readers] for name in node.output]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    inputs = [helper.make_tensor_value_info("x", FLOAT, [1, 4, 8, 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantized_tensors(model, placement, kept_float=()):
    made, _ = int8_model(model, {"padded": 2.0, "pooled": 2.0}, placement, frozenset(kept_float))
    return made, [node.input[0] for node in Graph(made).nodes("QuantizeLinear")]


def test_x86_rounds_before_pooling_and_padding_to_the_same_values():
    from fcn_edge.engines.ort import Taps

    behind, early = (quantized_tensors(pooled_model(), placement) for placement in ("any", "x86"))
    assert behind[1] == ["padded"] and early[1] == ["relu"]
    unsigned_behind = next(t for t in behind[0].graph.initializer if t.name == "padded_zero")
    unsigned_behind.CopyFrom(numpy_helper.from_array(np.uint8(0), "padded_zero"))
    scale = next(t for t in behind[0].graph.initializer if t.name == "padded_scale")
    scale.CopyFrom(numpy_helper.from_array(np.float32(2.0 / 255), "padded_scale"))
    x = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    results = [Taps(made.SerializeToString(), "pooled").run(x)["a_out"] for made, _ in (behind, early)]
    assert np.array_equal(*results)


def test_pair_keeps_its_place_where_something_else_reads_the_pooled_map():
    reader = helper.make_node("Sigmoid", ["pooled"], ["other"], "other")
    assert quantized_tensors(pooled_model(reader), "x86")[1] == ["pooled"]


def test_pooled_map_that_two_convolutions_read_is_rounded_once():
    reader = helper.make_node("Conv", ["pooled", "w"], ["b_out"], "b")
    assert quantized_tensors(pooled_model(reader), "x86")[1] == ["relu"]
    made, tensors = quantized_tensors(pooled_model(reader), "x86", kept_float={"b"})
    assert tensors == ["pooled"] and Graph(made).maker["b_out"].input[0] == "pooled", "b is not to read integers"


def test_border_of_anything_but_zeros_is_not_passed():
    model = pooled_model()
    next(t for t in model.graph.initializer if t.name == "zero").CopyFrom(
        numpy_helper.from_array(np.float32(1), "zero")
    )
    assert quantized_tensors(model, "x86")[1] == ["padded"]


def test_what_is_made_of_positive_values_is_positive():
    graph = pooled_model(
        helper.make_node("Concat", ["relu", "relu"], ["both"], axis=1),
        helper.make_node("Concat", ["relu", "x"], ["one"], axis=1),
        helper.make_node("Add", ["relu", "relu"], ["sum"]),
    ).graph
    assert never_negative(graph) == {"relu", "pooled", "padded", "both", "sum"}


def test_asked_nodes_stay_in_float_and_are_listed():
    made, kept = int8_model(residual_model(), LIMITS, "any", frozenset({"b", "add"}))
    onnx.checker.check_model(made, full_check=True)
    graph = Graph(made)
    assert kept == ("b", "add")
    for node in graph.graph.node:
        if node.name in ("b", "add"):
            assert not any(graph.comes_from(name, "DequantizeLinear") for name in node.input)


def test_float_model_is_not_touched():
    model = residual_model()
    before = model.SerializeToString()
    int8_model(model, LIMITS, "any", frozenset())
    assert model.SerializeToString() == before


def test_tensor_that_the_table_does_not_know_is_named():
    with refused(BadInput, "sum_relu", "table"):
        int8_model(residual_model(), {k: v for k, v in LIMITS.items() if k != "sum_relu"}, "any", frozenset())


def test_weights_that_are_not_finite_are_named():
    weight = np.full((4, 4, 1, 1), np.inf, np.float32)
    with refused(BadInput, "b_w", "NaN"):
        int8_model(residual_model(weight), LIMITS, "any", frozenset())


def test_channel_and_tensor_of_zeros_keep_a_scale():
    weight = np.ones((4, 4, 1, 1), np.float32)
    weight[2] = 0
    made, _ = int8_model(residual_model(weight), LIMITS | {"x": 0.0}, "any", frozenset())
    values = Graph(made).values
    assert values["x_scale"] == values["b_w_scale"][2] == np.float32(SMALLEST_SCALE)
    assert not values["b_w_q"][2].any() and (values["b_w_q"][[0, 1, 3]] == 127).all()


def test_weights_shared_by_two_convolutions_are_stored_once():
    model = residual_model()
    next(node for node in model.graph.node if node.name == "c").input[1] = "b_w"
    made, _ = int8_model(model, LIMITS, "any", frozenset())
    onnx.checker.check_model(made, full_check=True)
    assert [name for name in Graph(made).values if name.endswith("_q")] == ["a_w_q", "b_w_q"]
