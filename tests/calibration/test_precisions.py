"""Files of every precision: the same network, the same contract, and engines that agree on what it says."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.calibration import calibrate, quantized_file, table_from_file
from fcn_edge.calibration.fp16_range import fp16_model
from fcn_edge.calibration.quantize import int8_model
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx, onnx_from_file, with_metadata
from fcn_edge.transforms import class_map_from_scores
from tests.refusals import refused

STREETS = 6
# Share of pixels of the same class as fp32. The score layers are random, so classes lie closer together
# than in a trained network, which keeps 98 to 99 %; 0.898 to 0.95 is seen, chance would be 0.15.
MIN_INT8_AGREEMENT = 0.88
MIN_FP16_AGREEMENT = 0.99  # 11 bits of mantissa against 24; 0.996 and more is seen
# Of an engine with the same file run node by node: each rounds ties and biases in its own way, and one
# step in one tensor spreads; 0.95 to 1.0 is seen. A pair that is read wrongly gives 0.2.
MIN_ENGINE_AGREEMENT = 0.90
LOWER = [
    ("fp16", "any"),
    ("int8", "any"),
    ("int8", "x86"),
    ("int8", "nvidia"),
    ("int8-fp16", "any"),
    ("int8-fp16", "nvidia"),
]


@pytest.fixture(scope="module")
def frames(street):
    return [street(seed)[0][None] for seed in range(STREETS)]


@pytest.fixture(scope="module")
def class_maps(onnx_file, frames):
    """Gives the class maps of all frames, as the functions of Engine and Taps run a file."""
    sampling = contract_from_onnx(onnx_file).spec.head.sampling

    def run(infer):
        return np.stack([class_map_from_scores(infer(x)[0], sampling) for x in frames])

    return run


@pytest.fixture(scope="module")
def fp32_maps(onnx_file, class_maps):
    with open_engine(onnx_file, target="onnxruntime", options=EngineOptions(threads=1)) as engine:
        return class_maps(engine.infer)


def node_by_node(path):
    """The file exactly as it is written: ONNX Runtime with its optimisation off."""
    taps = Taps(path.read_bytes(), path.name)
    return lambda x: next(iter(taps.run(x).values()))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "placement"), LOWER)
def test_class_maps_stay_those_of_fp32(quantized, class_maps, fp32_maps, precision, placement):
    path = quantized(precision, placement).path
    assert len(np.unique(fp32_maps)) == 11, "a class is missing: the test says less than it should"
    wanted = MIN_FP16_AGREEMENT if precision == "fp16" else MIN_INT8_AGREEMENT
    assert (class_maps(node_by_node(path)) == fp32_maps).mean() >= wanted


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("precision", "placement"), LOWER)
def test_engines_agree_with_the_file_as_it_is_written(quantized, class_maps, precision, placement, target):
    path = quantized(precision, placement).path
    with open_engine(path, target=target, options=EngineOptions(threads=1)) as engine:
        assert engine.precision == precision
        found = class_maps(engine.infer)
    assert (found == class_maps(node_by_node(path))).mean() >= MIN_ENGINE_AGREEMENT


@pytest.mark.parametrize(("precision", "placement"), LOWER)
def test_file_keeps_the_contract_and_says_how_it_came_to_be(quantized, onnx_file, table_file, precision, placement):
    made, contract = quantized(precision, placement), contract_from_onnx(onnx_file)
    found = contract_from_onnx(made.path)
    assert found.spec == contract.spec and found.quantization == made.quantization
    assert made.quantization.precision == precision
    assert made.quantization.source_sha256 == hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    if precision == "fp16":
        assert made.table is None and made.quantization.table_sha256 == made.quantization.placement == ""
    else:
        assert made.quantization.table_sha256 == table_from_file(table_file).sha256
        assert (made.quantization.placement, made.quantization.method) == (placement, "percentile")


@pytest.mark.slow
def test_calibrating_twice_gives_the_same_file(onnx_file, image_folder, tmp_path):
    for name in ("a", "b"):
        calibrate(onnx_file, image_folder, tmp_path / f"{name}.onnx", table=tmp_path / f"{name}.json")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.slow
def test_saved_table_makes_the_file_that_the_images_make(onnx_file, image_folder, tmp_path):
    first = calibrate(onnx_file, image_folder, tmp_path / "a.onnx", method="minmax", table=tmp_path / "t.json")
    assert first.table.method == "minmax"
    calibrate(onnx_file, str(tmp_path / "t.json"), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    other = calibrate(onnx_file, str(tmp_path / "t.json"), tmp_path / "c.onnx", method="percentile")
    assert other.quantization.method == "percentile"
    assert (tmp_path / "a.onnx").read_bytes() != (tmp_path / "c.onnx").read_bytes()


def test_int8_without_images_is_refused(onnx_file, tmp_path):
    with refused(BadInput, "INT8", "calib"):
        quantized_file(onnx_file, tmp_path / "a.onnx", precision="int8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["/empty", "/none"])
def test_int8_is_never_made_without_pictures(onnx_file, tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput):
        calibrate(onnx_file, f"{tmp_path}{source}", tmp_path / "a.onnx", table=tmp_path / "t.json")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("start", ["int8", "fp16", "int8-fp16"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_only_fp32_is_a_start(quantized, table_file, tmp_path, start, precision):
    with refused(BadInput, f".{start}.", start, "fp32"):
        quantized_file(
            quantized(start).path, tmp_path / "a.onnx", precision=precision, table=table_from_file(table_file)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "facts"),
    [({"head": "logits"}, ("tiny", "graph", "weights")), ({"size": (96, 96)}, ("tiny", "height", 64, 96))],
    ids=["graph", "preprocessing"],
)
def test_table_of_another_file_is_refused(exported, table_file, tmp_path, options, facts):
    with refused(BadInput, *facts):
        calibrate(exported(**options), table_file, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


# Half precision


def types_of(path):
    model = onnx_from_file(path)
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}, model


def test_fp16_file_holds_half_weights_between_bytes_and_floats(quantized, onnx_file):
    types, model = types_of(quantized("fp16").path)
    assert set(types.values()) == {TensorProto.FLOAT16}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.graph.node[0].op_type == "Cast" and model.graph.node[-1].op_type == "Cast"
    assert [a.i for a in model.graph.node[0].attribute] == [TensorProto.FLOAT16]
    assert quantized("fp16").path.stat().st_size < 0.55 * onnx_file.stat().st_size
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred}
    assert {kinds[node.output[0]] for node in model.graph.node if node.op_type == "Conv"} == {TensorProto.FLOAT16}


def test_int8_fp16_file_holds_half_scales_at_opset_19(quantized):
    types, model = types_of(quantized("int8-fp16").path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 19)]
    assert set(types.values()) == {TensorProto.FLOAT16, TensorProto.INT8}
    onnx.checker.check_model(model, full_check=True)
    float_scales = {n: numpy_helper.to_array(t) for n, t in ((t.name, t) for t in _int8(quantized).initializer)}
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_scale") and tensor.name in float_scales:
            wanted = np.maximum(float_scales[tensor.name], np.finfo(np.float16).tiny).astype(np.float16)
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), wanted, err_msg=tensor.name)


def test_channels_too_small_for_half_scales_keep_their_size(onnx_file, table_file, tmp_path):
    """A dead channel, and one whose scale half precision would flush to 0 or round to a coarse step."""
    model = onnx_from_file(onnx_file)
    tensor = next(t for t in model.graph.initializer if t.name.endswith("score_fr.weight"))
    weights = numpy_helper.to_array(tensor).copy()
    weights[0], weights[1] = 0.0, weights[1] * (127e-7 / np.abs(weights[1]).max())
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    limits = table_from_file(table_file).limits()
    half = fp16_model(int8_model(model, limits, "any", frozenset())[0])[0]
    stored = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    scale = stored[f"{tensor.name}_scale"].astype(np.float32)
    assert all((stored[n] >= 2.0**-14).all() for n in stored if n.endswith("_scale"))
    found = stored[f"{tensor.name}_q"] * scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(found[:2], weights[:2], atol=2.0**-15)
    # Half a step, and 127 times the rounding of the scale itself to 11 bits.
    np.testing.assert_allclose(found[2:], weights[2:], atol=0.57 * float(scale.max()))


def _int8(quantized):
    return onnx_from_file(quantized("int8").path).graph


def test_half_scores_come_out_as_float32(quantized, frames):
    with open_engine(quantized("fp16").path, target="onnxruntime") as engine:
        assert engine.infer(frames[0]).dtype == np.float32


@pytest.mark.slow
def test_half_classes_come_out_as_bytes(exported, tmp_path, frames):
    made = quantized_file(exported(head="classes"), tmp_path / "a.onnx", precision="fp16")
    with (
        open_engine(made.path, target="onnxruntime") as half,
        open_engine(exported(head="classes"), target="onnxruntime") as single,
    ):
        found, wanted = half.infer(frames[0]), single.infer(frames[0])
    assert found.dtype == np.uint8 and (found == wanted).mean() >= MIN_FP16_AGREEMENT


def test_weight_beyond_half_precision_is_named(onnx_file, tmp_path):
    model = onnx_from_file(onnx_file)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("score_fr.bias"))
    weights.CopyFrom(numpy_helper.from_array(np.full(11, 70_000, np.float32), weights.name))
    (tmp_path / "big.onnx").write_bytes(model.SerializeToString())
    with refused(BadInput, "score_fr.bias", "7e+04", 65504):
        quantized_file(tmp_path / "big.onnx", tmp_path / "a.onnx", precision="fp16")
    assert not (tmp_path / "a.onnx").exists()


def test_scales_of_a_resize_stay_float32(make_spec, tmp_path):
    """The operator's definition has them so."""
    nodes = [
        helper.make_node("Cast", ["frames"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["x"], ["planar"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planar", "gain"], ["scaled"]),
        helper.make_node("Resize", ["scaled", "", "scales"], ["y"], mode="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, 64, 96, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 128, 192])],
        [
            numpy_helper.from_array(np.float32([0.5]), "gain"),
            numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    half, _ = fp16_model(with_metadata(model, METADATA_KEY, make_spec().to_json()))
    onnx.checker.check_model(half, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert types == {"gain": TensorProto.FLOAT16, "scales": TensorProto.FLOAT}
    x = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    runs = [next(iter(Taps(m.SerializeToString(), "m").run(x).values())) for m in (model, half)]
    assert runs[1].dtype == np.float32
    np.testing.assert_allclose(*runs, atol=0.1)  # of 127: half precision has steps of 1/16 there
