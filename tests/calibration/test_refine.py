"""Bias correction and rounding: what they are for is measured, and a file says which it has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fcn_edge.calibration.moments import (
    AT_ONCE_MB,
    MAX_FAN_IN,
    POSITIONS,
    Reading,
    batches_of,
    reading_of,
    second_moments,
)
from fcn_edge.calibration.refine import packed, unpacked
from fcn_edge.calibration.rounding import compensated, in_steps, mean_shift, nearest, scales_of
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.calibration import CalibrationTable, int8_from_onnx, quantized_file, table_from_file
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from tests.refusals import refused

FLOAT32 = 1e-4  # relative: two orders of summation
LAYERS = {
    "pointwise": (12, 8, (1, 1), {}),
    "wide": (6, 8, (3, 3), {"pads": [1, 1, 1, 1]}),
    "strided": (6, 8, (3, 5), {"pads": [1, 2, 0, 1], "strides": [2, 1]}),
    "dilated": (6, 8, (3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "depthwise": (8, 1, (3, 3), {"pads": [1, 1, 1, 1], "group": 8}),
    "grouped": (12, 4, (3, 3), {"group": 2}),
}


def correlated(channels=8, height=20, width=24):
    """(1, C, H, W) whose channels are mixtures of a few and whose means are not 0, as behind a ReLU."""
    rng = np.random.default_rng(3)
    few = rng.normal(size=(3, height * width))
    mixed = rng.normal(size=(channels, 3)) @ few + 0.1 * rng.normal(size=(channels, height * width))
    return np.maximum(mixed, 0).astype(np.float32).reshape(1, channels, height, width)


def convolution(weights, given):
    """(its node, a function from an input to its output)."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", **given)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return node, lambda x: Taps(model.SerializeToString(), "conv").run(x)["y"]


def layer(name):
    out, inside, kernel, given = LAYERS[name]
    weights = np.random.default_rng(4).normal(size=(out, inside, *kernel)).astype(np.float32)
    node, run = convolution(weights, given)
    return weights, node, run


def moments_of(node, weights, x):
    reading = reading_of(node, weights)
    return second_moments([reading], [{"x": x}])[reading]


@pytest.mark.parametrize("name", LAYERS)
def test_patches_are_what_the_convolution_reads(name):
    weights, node, run = layer(name)
    x = correlated()
    reading = reading_of(node, weights)
    patches = reading.patches(x)
    groups = reading.groups
    by_group = weights.reshape(groups, len(weights) // groups, -1)
    found = np.einsum("gpf,gof->gop", patches, by_group).reshape(len(weights), -1)
    wanted = run(x)[0].reshape(len(weights), -1)
    chosen = np.unique(np.linspace(0, wanted.shape[1] - 1, POSITIONS).astype(int))
    assert np.allclose(found, wanted[:, chosen], rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("name", LAYERS)
def test_compensated_rounding_comes_nearer_to_the_outputs(name):
    weights, node, run = layer(name)
    x, scales = correlated(), scales_of(weights)
    steps = {
        "nearest": nearest(weights, scales),
        "compensated": compensated(weights, scales, moments_of(node, weights, x)),
    }
    error = {}
    for how, values in steps.items():
        restored = (values * scales.reshape(-1, 1, 1, 1)).astype(np.float32)
        error[how] = np.square(convolution(restored, LAYERS[name][3])[1](x) - run(x)).mean()
    assert error["compensated"] < 0.85 * error["nearest"]
    assert np.abs(steps["compensated"].astype(int)).max() <= 127


def test_inputs_that_have_nothing_in_common_are_rounded_to_the_nearest():
    weights = np.random.default_rng(4).normal(size=(4, 16, 1, 1)).astype(np.float32)
    scales = scales_of(weights)
    assert np.array_equal(compensated(weights, scales, np.eye(16)[None]), nearest(weights, scales))


def test_weights_that_are_whole_steps_stay():
    scales = np.full(4, 0.5, np.float32)
    weights = np.random.default_rng(4).integers(-127, 128, (4, 8, 1, 1)).astype(np.float32) * 0.5
    moments = second_moments([Reading("x", (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1)], [{"x": correlated()}])
    assert np.array_equal(compensated(weights, scales, *moments.values()), in_steps(weights, scales))


def test_channels_that_are_always_zero_do_no_harm():
    weights, x = np.random.default_rng(4).normal(size=(4, 8, 1, 1)).astype(np.float32), correlated()
    x[:, 2:5] = 0
    node, _ = convolution(weights, {})
    assert (
        np.abs(
            compensated(weights, scales_of(weights), moments_of(node, weights, x))
            - in_steps(weights, scales_of(weights))
        ).max()
        < 3
    )
    assert np.array_equal(
        compensated(weights, scales_of(weights), np.zeros((1, 8, 8))), nearest(weights, scales_of(weights))
    )


@pytest.mark.parametrize("name", ["pointwise", "grouped", "depthwise"])
def test_mean_of_each_channel_is_restored(name):
    weights, _, run = layer(name)
    given = {key: value for key, value in LAYERS[name][3].items() if key == "group"}  # borders are an approximation
    _, run = convolution(weights, given)
    scales, x = (
        scales_of(weights),
        np.full((1, 8, 9, 9), 1, np.float32) * np.random.default_rng(4).uniform(0, 3, (1, 8, 1, 1)),
    )
    steps = nearest(weights, scales)
    _, rounded = convolution((steps * scales.reshape(-1, 1, 1, 1)).astype(np.float32), given)
    x = x.astype(np.float32)
    lost = (run(x) - rounded(x)).mean((0, 2, 3))
    assert np.abs(lost).max() > 1e-3
    assert np.allclose(mean_shift(weights, steps, scales, x.mean((0, 2, 3))), lost, atol=1e-4)


def test_layers_too_wide_for_memory_are_left_to_the_nearest():
    node, _ = convolution(np.zeros((1, MAX_FAN_IN // 9 + 1, 3, 3), np.float32), {})
    assert reading_of(node, np.zeros((1, MAX_FAN_IN // 9 + 1, 3, 3))) is None
    assert reading_of(node, np.zeros((1, 8, 3, 3))) is not None


def test_moments_of_a_batch_fit_into_memory():
    readings = [Reading(f"t{i}", (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1) for i in range(20)]
    batches = batches_of(readings, dict.fromkeys(readings, 2048))
    assert [reading for batch in batches for reading in batch] == readings
    assert all(len(batch) * 2048**2 * 8 <= AT_ONCE_MB * 2**20 for batch in batches)


def test_steps_survive_the_table():
    steps = np.random.default_rng(4).integers(-2, 3, (5, 3, 3, 3)).astype(np.int8)
    assert np.array_equal(unpacked(packed(steps), steps.shape, "w"), steps)


@pytest.mark.parametrize(("text", "shape"), [("no base64!", (2,)), ("AAAA", (2,)), (packed(np.zeros(3)), (2,))])
def test_damaged_steps_are_refused(text, shape):
    with refused(BadInput, "rounding", "w"):
        unpacked(text, shape, "w")


@pytest.fixture(scope="module")
def rounded(onnx_file, tmp_path_factory):
    """(INT8 file, its table) of the session's network, by bias correction and rounding."""
    out = tmp_path_factory.mktemp("rounded") / "net.int8.onnx"
    calib = "synthetic:street,seed=2,images=2,size=64x96"
    made = int8_from_onnx(
        onnx_file, out, calib=calib, refine=("bias", "rounding"), table_out=out.with_suffix(".table.json")
    )
    return made, table_from_file(out.with_suffix(".table.json"))


def biases(path):
    model = onnx_from_file(path)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {node.name: values[node.input[2]] for node in model.graph.node if node.op_type == "Conv"}


@pytest.mark.slow
def test_bias_is_corrected_where_asked_for(onnx_file, table_file, tmp_path):
    table = table_from_file(table_file)
    made = {
        refine: quantized_file(
            onnx_file, tmp_path / f"{refine is None}.onnx", precision="int8", table=table, refine=refine
        )
        for refine in (None, ("bias",))
    }
    assert made[None].quantization.refined == () and made["bias",].quantization.refined == ("bias",)
    before, plain, corrected = (biases(path) for path in (onnx_file, made[None].path, made["bias",].path))
    assert all(np.array_equal(before[name], plain[name]) for name in before)
    assert all(not np.array_equal(before[name], corrected[name]) for name in before)


def test_layer_in_float_keeps_its_bias(onnx_file, table_file, tmp_path):
    kept = frozenset(list(biases(onnx_file))[:1])
    made = quantized_file(
        onnx_file, tmp_path / "a.onnx", precision="int8", table=table_from_file(table_file), kept_float=kept
    )
    (name,) = kept
    assert np.array_equal(biases(onnx_file)[name], biases(made.path)[name])


@pytest.mark.slow
def test_file_and_table_say_how_they_were_rounded(rounded, onnx_file, tmp_path):
    made, table = rounded
    assert made.quantization.refined == contract_from_onnx(made.path).quantization.refined == ("bias", "rounding")
    assert len(table.roundings) == len(biases(onnx_file)), "every layer of this network fits"
    again = quantized_file(
        onnx_file, tmp_path / "again.onnx", precision="int8", table=table, refine=("bias", "rounding")
    )
    assert again.path.read_bytes() == made.path.read_bytes()
    default = quantized_file(onnx_file, tmp_path / "default.onnx", precision="int8", table=table)
    assert default.quantization.refined == ("rounding",)


def test_rounding_needs_the_images(onnx_file, table_file, tmp_path):
    with refused(BadInput, "rounding", "table", "calib"):
        int8_from_onnx(onnx_file, tmp_path / "a.onnx", calib=str(table_file), refine=("rounding",))


def test_rounding_of_another_shape_is_refused(rounded, onnx_file, tmp_path):
    from dataclasses import replace

    table: CalibrationTable = rounded[1]
    name = next(iter(table.roundings))
    wrong = replace(table, roundings={**table.roundings, name: packed(np.zeros(3))})
    with refused(BadInput, "rounding", "(32, 3, 3, 3)"):
        quantized_file(onnx_file, tmp_path / "a.onnx", precision="int8", table=wrong)


def test_table_holds_the_mean_of_each_channel(rounded):
    table = rounded[1]
    entry = table.tensors[max(table.tensors, key=lambda name: len(table.tensors[name].means))]
    assert len(entry.means) == len(entry.channels) and all(abs(m) <= c for m, c in zip(entry.means, entry.channels))
    assert json.dumps(entry.means)
