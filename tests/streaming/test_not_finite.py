"""Frames whose scores contain NaN are counted and reported."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fcn_edge.data import dataset_from_name
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import evaluate
from fcn_edge.streaming.sources import source_from_uri
from tests.refusals import refused
from tests.streaming.conftest import run_into

STREETS = "synthetic:street,seed=4,images=3,size=64x96"


@pytest.fixture
def overflowing(onnx_file, tmp_path):
    """The network with infinity added to one score."""
    model = onnx.load(str(onnx_file))
    output = model.graph.output[0]
    shape = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
    extra = np.zeros(shape, np.float32)
    extra[0, 0, 0, 0] = np.inf
    model.graph.initializer.append(numpy_helper.from_array(extra, "extra"))
    model.graph.node.append(helper.make_node("Add", [output.name, "extra"], ["broken"], "overflow"))
    output.name = "broken"
    path = tmp_path / "overflowing.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_run_counts_frames_without_finite_scores_and_warns_once(overflowing, caplog):
    with open_engine(overflowing, target="onnxruntime") as engine, source_from_uri(STREETS) as source:
        summary = run_into(source, engine, [])
    assert summary.not_finite == summary.frames_out == 3
    assert [record.levelno for record in caplog.records if "NaN" in record.message] == [logging.WARNING]


def test_evaluate_refuses_scores_that_are_not_finite(overflowing):
    with open_engine(overflowing, target="onnxruntime") as engine, refused(BadInput, "overflowing.onnx", "NaN"):
        evaluate(engine, dataset_from_name(STREETS))
