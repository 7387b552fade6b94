"""Faults behind the network: upsampling and arg-max."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

from fcn_edge.comparison import StageLimits, compare
from fcn_edge.geometry import Sampling, align_corners
from tests.comparison.planting import (
    FITTING,
    names_first,
    node_of,
)


@pytest.mark.slow
def test_align_corners_in_the_geometry_is_named(planted, found, onnx_file):
    def flip(spec):
        (height, width), cells = spec.preprocess.size, (8, 12)
        corners = Sampling(align_corners(height, cells[0]), align_corners(width, cells[1]))
        return replace(spec, head=replace(spec.head, sampling=corners))

    names_first(found(planted(onnx_file, spec=flip)), "upsample", "0.44 cells", "score map")


def with_resize(corners):
    """The last, learned-form layer of a `logits` file as a Resize node."""

    def change(model):
        node = node_of(model, "/network/upscore8/ConvTranspose")
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 8, 8], np.float32), "eight"))
        mode = "align_corners" if corners else "half_pixel"
        made = helper.make_node(
            "Resize",
            [node.input[0], "", "eight"],
            list(node.output),
            "/upscore8/Resize",
            mode="linear",
            coordinate_transformation_mode=mode,
        )
        node.CopyFrom(made)

    return change


@pytest.mark.slow
def test_align_corners_of_a_resize_node_is_named(planted, found, exported):
    a, b = (planted(exported(head="logits"), with_resize(corners)) for corners in (False, True))
    names_first(
        found(b, a),
        "upsample",
        "layer /upscore8/Resize (Resize)",
        "coordinate_transformation_mode",
        "half_pixel",
        "align_corners",
    )


@pytest.mark.slow
def test_scores_against_logits_show_an_upsampling_fault_of_the_other_graph(planted, onnx_file, exported):
    logits = exported(head="logits")
    assert compare(onnx_file, logits, images=FITTING).first is None
    wrong = compare(onnx_file, planted(logits, with_resize(True)), images=FITTING)
    names_first(wrong, "upsample", "scores")


@pytest.mark.slow
def test_other_grids_are_named_where_they_change_pixels_of_larger_frames(found, exported):
    compared = found(exported(head="logits"))
    names_first(compared, "upsample", "99.90%", "8x12", "64x96")
    assert compared.agreement > 0.99
    assert found(exported(head="logits"), limits=StageLimits(agreement=0.99)).first is None


def along_height(model):
    node = node_of(model, "/ArgMax")
    next(a for a in node.attribute if a.name == "axis").i = 2
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for size in (1, 11, 96):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classes", "logits", "scores"])
def test_argmax_over_another_axis_is_named(planted, found, exported, onnx_file, head):
    a = onnx_file if head == "scores" else exported(head=head)
    wrong = found(planted(exported(head="classes"), along_height), a)
    names_first(wrong, "argmax", "B's graph", "axis 2", "(1, 11, 64, 96)", "axis 1")


@pytest.mark.slow
def test_argmax_of_the_reference_is_named_as_well(planted, found, exported):
    wrong = found(exported(head="classes"), planted(exported(head="classes"), along_height))
    assert wrong.first == "argmax" and "axis 2" in wrong.verdict
