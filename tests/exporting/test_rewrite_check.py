"""A rewrite that changes what a network computes is refused, by the first tensor that differs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.exporting import foreign
from fcn_edge.onnxfile import contract_from_onnx
from tests.exporting.foreign_networks import (
    FIVE,
    FLOAT,
    INT64,
    SIZE,
    converter,
    network,
)
from tests.refusals import refused


@pytest.fixture
def convert(tmp_path):
    return converter(tmp_path)


# What a careless rewrite does, and the first tensor that it changes.


def transposed_weight(model):
    weight = next(w for w in model.graph.initializer if w.name == "kernel")
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), "kernel"))


def changed_resize(model):
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    mode = next(a for a in node.attribute if a.name == "coordinate_transformation_mode")
    mode.s = b"half_pixel"


def swapped_output(model):
    model.graph.output[0].name = "big"


FAULTS = [
    ("tidy_model", transposed_weight, "scores"),
    ("tidy_model", changed_resize, "big"),
    ("attach_contract", swapped_output, "outputs"),
]


@pytest.mark.parametrize(("step", "fault", "named"), FAULTS)
def test_rewrite_that_changes_the_meaning_is_refused_by_name(convert, tmp_path, monkeypatch, step, fault, named):
    tail = [
        helper.make_node("AveragePool", ["scores"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Resize", ["half", "", "s"], ["big"], mode="linear", coordinate_transformation_mode="asymmetric"
        ),
        helper.make_node("Neg", ["big"], ["y"]),
    ]
    model = network(tail, [("y", FLOAT, 4)], weights={"s": np.array([1, 1, 2, 2], np.float32)})
    careful = getattr(foreign, step)

    def careless(*given):
        made = careful(*given)
        fault(made)
        return made

    monkeypatch.setattr(foreign, step, careless)
    with refused(BadInput, "net.onnx", named):
        convert(model, FIVE)
    assert not (tmp_path / "out.onnx").exists()


def wrong_in_the_dark(model):
    """Negate the scores of a picture without any light."""
    for node in model.graph.node:
        node.output[:] = ["true_scores" if name == "scores" else name for name in node.output]
    stored = {"dark": np.float32(-1.7), "no_light_sign": np.float32(-1)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items())
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", [model.graph.input[0].name], ["light"], "light", keepdims=0),
            helper.make_node("Less", ["light", "dark"], ["is_dark"], "is_dark"),
            helper.make_node("Mul", ["true_scores", "no_light_sign"], ["turned"], "turned"),
            helper.make_node("Where", ["is_dark", "turned", "true_scores"], ["scores"], "chosen"),
        ]
    )


def test_fault_that_only_a_picture_of_the_user_shows_is_found(convert, monkeypatch):
    careful = foreign.tidy_model

    def careless(model):
        made = careful(model)
        wrong_in_the_dark(made)
        return made

    monkeypatch.setattr(foreign, "tidy_model", careless)
    assert convert(network(), FIVE).is_file(), "no picture of our own is dark"
    with refused(BadInput, "net.onnx", "99.9%", "scores"):
        convert(network(), FIVE, images=[np.zeros((20, 30, 3), np.uint8)])


def test_network_keeps_its_contract_through_the_conversion(convert):
    contract = contract_from_onnx(convert(network(), FIVE + 'name = "mine"\n'))
    assert contract.spec.name == "mine" and contract.spec.preprocess.mean == (123.675, 116.28, 103.53)


def test_node_that_fails_while_it_runs_is_an_error_of_the_file(convert):
    """The row to gather depends on the picture: the pictures tried have it, a black one has not."""
    tail = [
        helper.make_node("ReduceMax", ["x"], ["light"], keepdims=0),
        helper.make_node("Less", ["light", "dark"], ["is_dark"]),
        helper.make_node("Cast", ["is_dark"], ["count"], to=INT64),
        helper.make_node("Mul", ["count", "many"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "zero"], ["rows"]),
        helper.make_node("Gather", ["scores", "rows"], ["y"], axis=0),
    ]
    weights = {"dark": np.float32(-1.7), "many": np.array(7), "zero": np.array([0])}
    path = convert(network(tail, [("y", FLOAT, 4)], weights=weights), FIVE)
    with open_engine(path, target="onnxruntime") as engine, refused(BadInput, "out.onnx", "Gather_y"):
        engine.infer(np.zeros((1, *SIZE, 3), np.uint8))
