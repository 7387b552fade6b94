"""Known branches are taken and batch norms become weights; what the graph computes stays."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.exporting.tidy import tidy_model

RANDOM = np.random.default_rng(0)
TOLERANCE = 1e-5  # relative: weights are rounded once more


def weights(**arrays):
    return [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in arrays.items()]


def model_of(nodes, initializers):
    shape = [1, 3, 12, 16]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [None] * 4)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def output_of(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(1).standard_normal((1, 3, 12, 16)).astype(np.float32)})[0]


def operators(model):
    return [node.op_type for node in model.graph.node]


def norm_weights():
    return weights(
        gamma=RANDOM.standard_normal(5),
        beta=RANDOM.standard_normal(5),
        mean=RANDOM.standard_normal(5),
        variance=RANDOM.uniform(0.1, 2, 5),
    )


def normed(op, *, shape, bias, **attributes):
    inputs = ["x", "w", "b"] if bias else ["x", "w"]
    nodes = [
        helper.make_node(op, inputs, ["y"], **attributes),
        helper.make_node("BatchNormalization", ["y", "gamma", "beta", "mean", "variance"], ["z"], epsilon=1e-3),
    ]
    more = weights(w=RANDOM.standard_normal(shape), **({"b": RANDOM.standard_normal(5)} if bias else {}))
    return model_of(nodes, [*norm_weights(), *more])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("op", "shape"), [("Conv", (5, 3, 3, 3)), ("ConvTranspose", (3, 5, 4, 4))])
def test_batch_norm_becomes_weights_of_its_convolution(op, shape, bias):
    model = normed(op, shape=shape, bias=bias)
    wanted = output_of(model)
    tidy_model(model)
    assert operators(model) == [op]
    found = output_of(model)
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_batch_norm_stays_where_others_read_the_convolution():
    model = normed("Conv", shape=(5, 3, 3, 3), bias=True)
    model.graph.node.append(helper.make_node("Add", ["y", "z"], ["sum"]))
    model.graph.output[0].name = "sum"
    wanted = output_of(model)
    tidy_model(model)
    assert operators(model) == ["Conv", "BatchNormalization", "Add"]
    np.testing.assert_array_equal(output_of(model), wanted)


@pytest.mark.parametrize("condition", [True, False])
def test_known_branch_is_taken(condition):
    def branch(name, op):
        nodes = [helper.make_node(op, ["x"], [f"{name}_inner"]), helper.make_node("Relu", [f"{name}_inner"], [name])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])

    nodes = [
        helper.make_node("If", ["known"], ["y"], then_branch=branch("yes", "Neg"), else_branch=branch("no", "Abs")),
        helper.make_node("Exp", ["y"], ["z"]),
    ]
    model = model_of(nodes, [numpy_helper.from_array(np.array(condition), "known")])
    wanted = output_of(model)
    tidy_model(model)
    assert operators(model) == ["Neg" if condition else "Abs", "Relu", "Exp"]
    np.testing.assert_array_equal(output_of(model), wanted)
