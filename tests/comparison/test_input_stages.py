"""Faults before the network, planted one at a time: colour, mean, std, resize."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fcn_edge.comparison import StageLimits
from tests.comparison.planting import (
    change_mean,
    names_first,
    node_of,
    set_weight,
    states,
    with_preprocess,
)
from tests.refusals import assert_names


def swap_filters(model):
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    set_weight(model, stem.input[1], lambda values: values[:, ::-1])


def swap_frames(model):
    """Red and blue change places before anything else is done."""
    first = node_of(model, "frames_cast")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "reversed"))
    model.graph.node.insert(0, helper.make_node("Gather", ["frames", "reversed"], ["swapped"], "swap", axis=3))
    first.input[0] = "swapped"


@pytest.mark.slow
@pytest.mark.parametrize("swap", [swap_filters, swap_frames])
def test_swapped_colours_are_named(planted, found, onnx_file, swap):
    names_first(found(planted(onnx_file, swap)), "colour", "B, G, R", "R, G, B")


@pytest.mark.slow
def test_swapped_colours_are_told_from_the_mean_that_stays_with_its_colour(planted, found, onnx_file):
    def with_mean(model):
        set_weight(model, "frames_mean", lambda values: np.array([103.5, 116.3, 123.7]).reshape(values.shape))

    a = planted(onnx_file, with_mean)
    names_first(found(planted(a, swap_filters), a), "colour")


@pytest.mark.slow
def test_spec_that_says_another_order_than_its_graph_has_is_named(planted, found, onnx_file):
    wrong = planted(onnx_file, spec=with_preprocess(channels="bgr"))
    names_first(found(wrong), "colour", "spec", "rgb", "bgr")


@pytest.mark.slow
def test_mean_that_only_the_graph_has_is_named(planted, found, onnx_file):
    facts = ("127,127,127", "123.7,116.3,103.5", "23.5 levels", "spec")
    names_first(found(planted(onnx_file, change_mean)), "mean", *facts)


@pytest.mark.slow
def test_mean_that_only_the_spec_has_is_named(planted, found, onnx_file):
    wrong = found(planted(onnx_file, spec=with_preprocess(mean=(123.7, 116.3, 103.5))))
    names_first(wrong, "mean", "123.7,116.3,103.5", "graphs", "127,127,127")
    assert wrong.agreement == 1


@pytest.mark.slow
def test_mean_of_graph_and_spec_is_named(planted, found, onnx_file):
    wrong = found(planted(onnx_file, change_mean, with_preprocess(mean=(123.7, 116.3, 103.5))))
    names_first(wrong, "mean", "23.5 levels")


@pytest.mark.slow
def test_std_is_named(planted, found, onnx_file):
    def change(model):
        set_weight(model, "frames_scale", lambda values: values * 2)

    names_first(found(planted(onnx_file, change)), "std", "128,128,128", "64,64,64")


@pytest.mark.slow
def test_half_a_level_is_no_fault_unless_asked(planted, found, onnx_file):
    def change(model):
        set_weight(model, "frames_mean", lambda values: values + 0.3)

    nearly = planted(onnx_file, change)
    assert states(found(nearly))["mean"] == "same"
    assert found(nearly, limits=StageLimits(levels=0.1)).first == "mean"


@pytest.mark.slow
def test_nearest_is_named(planted, found, onnx_file):
    nearest = planted(onnx_file, spec=with_preprocess(interpolation="nearest"))
    names_first(found(nearest), "resize", "stretch, bilinear", "stretch, nearest")


@pytest.mark.slow
def test_letterbox_is_named_and_not_its_border_of_the_mean(planted, found, onnx_file):
    boxed = planted(onnx_file, spec=with_preprocess(resize="letterbox"))
    assert found(boxed).first == "resize"
    other = planted(boxed, spec=with_preprocess(mean=(0.0, 9.0, 99.0)))
    assert states(found(other, boxed))["resize"] == "same"


@pytest.mark.slow
def test_resize_nodes_inside_the_graph_are_named(planted, found, onnx_file):
    def shrink_and_enlarge(model):
        """Every second pixel twice, by nearest neighbours."""
        tensor = node_of(model, "frames_subtract_mean")
        for number, factor in enumerate((0.5, 2.0)):
            scales = np.array([1, 1, factor, factor], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(scales, f"factor{number}"))
            made = helper.make_node(
                "Resize", [tensor.input[0], "", f"factor{number}"], [f"sized{number}"], mode="nearest"
            )
            position = list(model.graph.node).index(tensor)
            model.graph.node.insert(position, made)
            tensor = node_of(model, "frames_subtract_mean")
            tensor.input[0] = f"sized{number}"

    coarse = planted(onnx_file, shrink_and_enlarge)
    names_first(found(coarse), "resize", "Resize (nearest), Resize (nearest)", "first layer")


@pytest.mark.slow
def test_other_sizes_are_named_and_layers_left_alone(found, exported):
    wider = found(exported(size=(64, 128)))
    assert wider.first == "resize"
    assert_names(wider.verdict, "64x96", "64x128")
    assert_names(wider.stages[5].finding, "layers", "sizes")
    assert wider.layers == () and 0 < wider.agreement < 1
