"""Faults for exported files, and how a comparison is asked for the first of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import numpy_helper

from tests.refusals import assert_names

STREETS = "synthetic:street,seed=1,images=1,size=100x140"  # resized on the way in, so interpolation is seen
FITTING = "synthetic:street,seed=1,images=2,size=64x96"
LAYER = "/backbone/_blocks.5/_expand_conv/Conv"
ORDER = ["frame", "resize", "colour", "mean", "std", "network", "upsample", "argmax"]


def states(comparison):
    return {stage.name: stage.state for stage in comparison.stages}


def names_first(comparison, stage, *facts):
    """Assert: this stage is the first and only one that differs, and the verdict names these facts."""
    assert comparison.first == stage, comparison.verdict
    assert comparison.verdict.startswith(f"{stage}: ")
    assert_names(comparison.verdict, *facts)
    assert [name for name, state in states(comparison).items() if state != "same"] == [stage]


def weight(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_weight(model, name, change):
    tensor = weight(model, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))


def node_of(model, name):
    return next(node for node in model.graph.node if node.name == name)


def scaled(name, factor, place=1):
    return lambda model: set_weight(model, node_of(model, name).input[place], lambda values: values * factor)


def with_preprocess(**changes):
    return lambda spec: replace(spec, preprocess=replace(spec.preprocess, **changes))


def change_mean(model):
    set_weight(model, "frames_mean", lambda values: np.array([103.5, 116.3, 123.7]).reshape(values.shape))
