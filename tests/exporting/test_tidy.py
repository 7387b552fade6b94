"""Tidying takes detours out of a graph and leaves its results alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fcn_edge.exporting.tidy import MAX_FOLDED_VALUES, tidy_model

FLOAT = TensorProto.FLOAT
BATCH = np.random.default_rng(0).standard_normal((1, 3, 8, 6), np.float32)


def model_of(nodes, *, weights=(), out="y", rank=4, free=False):
    """A graph from x (1, 3, 8, 6) float, or of free size, to `out`."""
    shape = ["n", 3, "h", "w"] if free else [1, 3, 8, 6]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(out, FLOAT, [f"d{axis}" for axis in range(rank)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def tidied(model, x=BATCH):
    """Operators that are left, after the results were found to be the same as before."""
    wanted = ReferenceEvaluator(model).run(None, {"x": x})
    names = [value.name for value in model.graph.output]
    tidy_model(model)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == names
    for before, after in zip(wanted, ReferenceEvaluator(model).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(after, before)
    return [node.op_type for node in model.graph.node]


def constant(name, value):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))


@pytest.mark.parametrize("chain", [0, 1, 3])
def test_identities_go(chain):
    names = ["x", *(f"i{number}" for number in range(chain))]
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in zip(names, names[1:])]
    nodes += [helper.make_node("Relu", [names[-1]], ["r"]), helper.make_node("Add", ["r", names[-1]], ["y"])]
    assert tidied(model_of(nodes)) == ["Relu", "Add"]


def test_identity_that_is_the_output_stays():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Identity", ["r"], ["y"])]
    assert tidied(model_of(nodes)) == ["Relu", "Identity"]


def test_constants_become_initializers():
    nodes = [
        constant("tensor", np.float32([[2.0]])),
        helper.make_node("Constant", [], ["number"], value_float=0.5),
        helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
        helper.make_node("Mul", ["x", "tensor"], ["m"]),
        helper.make_node("Add", ["m", "number"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["r"], axes=[2, 3]),
        helper.make_node("Squeeze", ["r", "axes"], ["y"]),
    ]
    model = model_of(nodes, rank=2)
    assert tidied(model) == ["Mul", "Add", "ReduceMean", "Squeeze"]
    assert {tensor.name for tensor in model.graph.initializer} == {"tensor", "number", "axes"}


def flatten_by_shape():
    """Reshape to (n, 3, h * w), written as exporters write it: seven nodes of arithmetic on a shape."""
    return [
        helper.make_node("Shape", ["x"], ["shape"]),
        constant("zero", np.int64(0)),
        constant("two", np.int64([2])),
        constant("four", np.int64([4])),
        helper.make_node("Slice", ["shape", "two", "four"], ["hw"]),
        helper.make_node("Gather", ["hw", "zero"], ["h"]),
        constant("one", np.int64(1)),
        helper.make_node("Gather", ["hw", "one"], ["w"]),
        helper.make_node("Mul", ["h", "w"], ["area"]),
        constant("front", np.int64([0])),
        helper.make_node("Unsqueeze", ["area", "front"], ["last"]),
        constant("head", np.int64([1, 3])),
        helper.make_node("Concat", ["head", "last"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]


def test_known_shapes_are_worked_out():
    model = model_of(flatten_by_shape(), rank=3)
    assert tidied(model) == ["Reshape"]
    assert [numpy_helper.to_array(tensor).tolist() for tensor in model.graph.initializer] == [[1, 3, 48]]


def test_free_shapes_are_left_to_the_run():
    model = model_of(flatten_by_shape(), rank=3, free=True)
    assert "Shape" in tidied(model)
    (found,) = ReferenceEvaluator(model).run(None, {"x": BATCH[:, :, :4]})
    np.testing.assert_array_equal(found, BATCH[:, :, :4].reshape(1, 3, 24))


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, 99), (-2, 4), (2, -1)])
def test_part_of_a_shape_is_its_slice(start, end):
    nodes = [
        helper.make_node("Shape", ["x"], ["part"], start=start, end=end),
        helper.make_node("Cast", ["part"], ["y"], to=FLOAT),
    ]
    assert tidied(model_of(nodes, rank=1)) == ["Cast"], "an output keeps its node"


def test_large_constants_are_not_multiplied_out():
    wide = np.ones((MAX_FOLDED_VALUES + 1,), np.float32)
    nodes = [
        helper.make_node("Add", ["wide", "one"], ["sum"]),
        helper.make_node("Expand", ["one", "size"], ["filled"]),
        helper.make_node("Add", ["sum", "filled"], ["both"]),
        helper.make_node("ReduceMean", ["both"], ["mean"], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["y"]),
    ]
    weights = [("wide", wide), ("one", np.float32([1])), ("size", np.int64([MAX_FOLDED_VALUES + 1]))]
    assert tidied(model_of(nodes, weights=weights)) == ["Add", "Expand", "Add", "ReduceMean", "Add"]


def test_what_leads_to_no_output_goes():
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Sigmoid", ["x"], ["unused"]),
        helper.make_node("Mul", ["unused", "weight"], ["unused too"]),
    ]
    model = model_of(nodes, weights=[("weight", np.ones((1, 3, 8, 6), np.float32))])
    assert tidied(model) == ["Relu"] and len(model.graph.initializer) == 0


def branch(op, source):
    out = helper.make_tensor_value_info(f"{op}_out", FLOAT, None)
    return helper.make_graph([helper.make_node(op, [source], [f"{op}_out"])], op, [], [out])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("through", ["x", "identity", "weight", "sum"])
def test_branches_keep_what_they_read_from_outside(through, nested):
    """The bodies of If name tensors of the graph around them."""
    bodies = [branch("Relu", through), branch("Neg", through)]
    if nested:
        again = helper.make_node("If", ["positive"], ["inner"], then_branch=bodies[0], else_branch=bodies[1])
        out = helper.make_tensor_value_info("inner", FLOAT, None)
        bodies = [helper.make_graph([again], "nested", [], [out]), branch("Abs", "x")]
    nodes = [
        helper.make_node("Identity", ["x"], ["identity"]),
        helper.make_node("Add", ["weight", "weight"], ["sum"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "weight"], ["positive"]),
        helper.make_node("If", ["positive"], ["chosen"], then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("Add", ["x", "chosen"], ["y"]),
    ]
    assert "If" in tidied(model_of(nodes, weights=[("weight", np.float32(0))]))


WEIGHT = np.random.default_rng(1).standard_normal((2, 3, 3, 3), np.float32)
BEHIND = [0, 0, 0, 0, 0, 0, 1, 1]


def bordered(border, value=0.0, **of_conv):
    nodes = [
        helper.make_node("Pad", ["x", "pads", "value"], ["wide"]),
        helper.make_node("Conv", ["wide", "weight"], ["y"], **of_conv),
    ]
    return model_of(nodes, weights=[("pads", np.array(border)), ("value", np.float32(value)), ("weight", WEIGHT)])


@pytest.mark.parametrize("of_conv", [{"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 0, 1, 0]}])
def test_border_of_zeros_becomes_the_convolution_s(of_conv):
    model = bordered(BEHIND, **of_conv)
    assert tidied(model) == ["Conv"]


@pytest.mark.parametrize(
    ("border", "value", "of_conv"),
    [
        (BEHIND, 1.0, {}),
        ([0, 0, 0, 0, 0, 0, 3, 0], 0.0, {}),
        ([0, 0, 0, 0, 0, 0, 2, 0], 0.0, {"pads": [0, 0, 1, 0]}),
        (BEHIND, 0.0, {"auto_pad": "SAME_UPPER"}),
    ],
    ids=["not zero", "as wide as the kernel", "together as wide", "pads itself"],
)
def test_other_borders_stay(border, value, of_conv):
    assert tidied(bordered(border, value, **of_conv)) == ["Pad", "Conv"]


def test_crop_stays():
    model = bordered([0, 0, -1, 0, 0, 0, 1, 0])  # the reference evaluator knows no crops
    assert [node.op_type for node in tidy_model(model).graph.node] == ["Pad", "Conv"]


def test_border_that_others_read_stays():
    model = bordered(BEHIND)
    model.graph.node[1].output[0] = "c"
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["wide"], ["mean"]))
    model.graph.node.append(helper.make_node("Flatten", ["mean"], ["y"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["d0", "d1"]))
    assert tidied(model) == ["Pad", "GlobalAveragePool", "Flatten"]


def test_tidy_graph_is_left_as_it_is(onnx_file):
    model = onnx.load(str(onnx_file))
    before = model.SerializeToString()
    assert tidy_model(model).SerializeToString() == before
