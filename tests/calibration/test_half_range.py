"""Half precision over real images: what overflows or is lost stays in FP32 and is told; without images that is said."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.calibration import images_from_source, quantized_file, table_from_file, table_from_images
from fcn_edge.calibration.collect import float_tensors
from fcn_edge.calibration.fp16_range import fp16_model, unfit_for_half
from fcn_edge.calibration.table import Magnitude
from fcn_edge.engines.ort import Taps
from fcn_edge.engines.trt.layer_info import convolutions_from_onnx
from fcn_edge.inspection import facts_from_artefact
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file, save_onnx
from fcn_edge.transforms import input_from_frame

CALIB = "synthetic:street,seed=2,images=2,size=64x96"
HALF = 2e-3  # relative to the largest: 11 bits


def scaled(onnx_file, out, by):
    """The network with one convolution's values `by` times as large, and its reader's weights as much smaller.

    In exact arithmetic it is the same network. The convolution is linear up to its readers: its bias grows too.
    """
    model = onnx_from_file(onnx_file)
    graph, weights = model.graph, {t.name: t for t in model.graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.input[1] in weights]
    first, second = next(
        (a, b) for a in convolutions for b in convolutions if a.output[0] == b.input[0] and readers[a.output[0]] == 1
    )
    changes = [(name, by) for name in first.input[1:]] + [(second.input[1], 1 / by)]
    for name, factor in changes:
        values = numpy_helper.to_array(weights[name]) * np.float32(factor)
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    save_onnx(model, out)
    return out, first, second


@pytest.fixture
def planted(onnx_file, tmp_path):
    """Gives (file, tensor, its producer, its reader, table) with one tensor that reaches `largest`."""
    before = table_from_images(onnx_file, images_from_source(CALIB)).magnitudes

    def plant(largest):
        _, first, _ = scaled(onnx_file, tmp_path / "probe.onnx", 1.0)
        path, first, second = scaled(onnx_file, tmp_path / "planted.onnx", largest / before[first.output[0]].largest)
        table = table_from_images(path, images_from_source(CALIB))
        return path, first.output[0], first.name, second.name, table

    return plant


def scores(path):
    spec = contract_from_onnx(path).spec
    taps = Taps(path.read_bytes(), path.name)
    images = images_from_source(CALIB).images
    return np.stack([next(iter(taps.run(input_from_frame(i.read(), spec.preprocess)).values())) for i in images])


@pytest.mark.slow
@pytest.mark.parametrize(("largest", "words"), [(7e4, "reaches 7e+04, beyond 65504"), (5e-8, "becomes 0")])
def test_planted_value_is_caught_and_its_nodes_stay_in_float(planted, tmp_path, largest, words):
    path, tensor, writer, reader, table = planted(largest)
    assert table.magnitudes[tensor].largest == pytest.approx(largest, rel=1e-4)
    made = quantized_file(path, tmp_path / "half.onnx", precision="fp16", table=table)
    assert set(made.left_fp32) == {writer, reader}
    assert all(tensor in reason and words in reason for reason in made.left_fp32.values())
    found = contract_from_onnx(made.path).quantization
    assert set(found.kept_fp32) == {writer, reader} and found.range_images == 2
    kinds = kinds_of(made.path)
    assert [kinds[name] for name in kinds if name.startswith(tensor)] == [TensorProto.FLOAT]
    wanted = scores(path)
    np.testing.assert_allclose(scores(made.path), wanted, atol=20 * HALF * np.abs(wanted).max())


def kinds_of(path):
    inferred = onnx.shape_inference.infer_shapes(onnx_from_file(path), strict_mode=True).graph.value_info
    return {value.name: value.type.tensor_type.elem_type for value in inferred}


@pytest.mark.slow
def test_same_file_without_images_says_that_nobody_looked(planted, tmp_path):
    made = quantized_file(planted(7e4)[0], tmp_path / "half.onnx", precision="fp16")
    assert made.left_fp32 == {} and contract_from_onnx(made.path).quantization.range_images == 0
    assert facts_from_artefact(made.path)["range_checked"].startswith("no")


@pytest.mark.slow
def test_int8_file_around_half_precision_is_guarded_too(planted, tmp_path):
    path, tensor, writer, reader, table = planted(7e4)
    made = quantized_file(path, tmp_path / "half.onnx", precision="int8-fp16", table=table)
    pair = {f"{tensor}_quantize", f"{tensor}_dequantize"}
    weights = {node.input[1] for node in onnx_from_file(path).graph.node if node.name in (writer, reader)}
    assert set(made.left_fp32) == {writer, reader} | pair | {f"{name}_dequantize" for name in weights}
    onnx.checker.check_model(onnx_from_file(made.path), full_check=True)
    convolutions = convolutions_from_onnx(onnx_from_file(made.path))
    assert next(found for found in convolutions if found.name == writer).is_quantized
    reference = quantized_file(path, tmp_path / "int8.onnx", precision="int8", table=table)
    wanted = scores(reference.path)
    assert np.corrcoef(scores(made.path).ravel(), wanted.ravel())[0, 1] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("largest", [7e4, 5e-8])
def test_guarded_convolution_still_multiplies_integers(planted, tmp_path, largest):
    """It reads its pair without a Cast, at the scale that the half-precision file has, where others read it too."""
    path, _, writer, _, table = planted(largest)
    model = onnx_from_file(quantized_file(path, tmp_path / "half.onnx", precision="int8-fp16", table=table).path)
    makers = {output: node for node in model.graph.node for output in node.output}
    sources = [makers[name] for name in next(n for n in model.graph.node if n.name == writer).input[:2]]
    assert [source.op_type for source in sources] == ["DequantizeLinear"] * 2
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    }
    assert {kinds[source.output[0]] for source in sources} == {TensorProto.FLOAT}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantizing = makers[sources[0].input[0]]
    assert stored[quantizing.input[1]].dtype == np.float16
    assert stored[sources[0].input[1]] == stored[quantizing.input[1]]


def test_compiler_that_loses_integers_behind_a_cast_is_found_out(int8_file):
    model = onnx_from_file(int8_file)
    before = convolutions_from_onnx(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            cast = helper.make_node("Cast", [node.input[0]], [f"{node.output[0]}_cast"], to=TensorProto.FLOAT)
            node.input[0] = cast.output[0]
            model.graph.node.append(cast)
    assert convolutions_from_onnx(model) == before and any(found.is_quantized for found in before)


def test_network_that_fits_has_no_node_in_float(onnx_file, table_file, tmp_path):
    table = table_from_file(table_file)
    checked = quantized_file(onnx_file, tmp_path / "a.onnx", precision="fp16", table=table)
    assert checked.left_fp32 == {} and checked.quantization.range_images == len(table.images)
    bare = quantized_file(onnx_file, tmp_path / "b.onnx", precision="fp16")
    assert onnx_from_file(checked.path).graph == onnx_from_file(bare.path).graph


@pytest.mark.slow
def test_every_float_tensor_is_measured(onnx_file, table_file):
    """The largest, the smallest that is not zero, and the root mean square."""
    model, table = onnx_from_file(onnx_file), table_from_file(table_file)
    assert set(table.magnitudes) == set(float_tensors(model))
    single = table_from_images(onnx_file, images_from_source(CALIB, 1))
    names = list(single.magnitudes)[::9]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    image = images_from_source(CALIB, 1).images[0].read()
    x = input_from_frame(image, contract_from_onnx(onnx_file).spec.preprocess)
    for name, value in Taps(model.SerializeToString(), "test").run(x).items():
        some = np.abs(value[value != 0]).astype(np.float64)
        found = single.magnitudes[name]
        assert (found.largest, found.smallest) == (some.max(), some.min())
        assert found.rms == pytest.approx(np.sqrt(np.square(some).mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (Magnitude(65505, 1e-9, 1.0), "beyond 65504"),
        (Magnitude(5e-8, 1e-9, 1e-8), "becomes 0"),
        (Magnitude(1.0, 1e-9, 5e-5), "where digits are lost"),
        (Magnitude(65504, 1e-30, 1.0), None),
        (Magnitude(0.0, 0.0, 0.0), None),
    ],
)
def test_reasons_are_overflow_loss_and_subnormals(size, words):
    found = unfit_for_half({"x": size})
    assert list(found) == ([] if words is None else ["x"])
    assert words is None or words in found["x"]


def test_weights_that_two_nodes_share_are_float_for_the_one_and_half_for_the_other():
    nodes = [
        helper.make_node("Cast", ["frames"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "gain"], ["big"]),
        helper.make_node("Mul", ["big", "less"], ["small"]),
        helper.make_node("Add", ["small", "gain"], ["y"]),
    ]
    shape = [1, 4, 6, 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.float32([v]), name) for name, v in (("gain", 1000.0), ("less", 1e-4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    half, left = fp16_model(model, {"big": Magnitude(255_000.0, 1.0, 1e5)})
    assert left == dict.fromkeys(["big", "small"], "big reaches 2.55e+05, beyond 65504")  # nodes without a name
    onnx.checker.check_model(half, full_check=True)
    stored = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    f16, f32 = TensorProto.FLOAT16, TensorProto.FLOAT
    assert stored == {"gain": f16, "gain_float": f32, "less_float": f32}
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found, wanted = (Taps(m.SerializeToString(), "m").run(x)["y"] for m in (half, model))
    np.testing.assert_allclose(found, wanted, rtol=HALF)
