"""From a checkpoint or any ONNX file to an engine directory: what stands in it, and when none is written."""

from __future__ import annotations

import json
from importlib.util import find_spec

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.build import Manifest, build_engine
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import open_engine
from fcn_edge.engines.trt import PlanOptions
from fcn_edge.errors import BackendMissing, BadInput, CheckFailed
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from tests.progress import RecordedProgress
from tests.refusals import refused

MANIFEST_KEYS = {
    "schema",
    "model_sha256",
    "table_sha256",
    "spec_sha256",
    "target",
    "precision",
    "execution",
    "runtime",
    "device",
    "shapes",
    "flags",
    "layers",
    "kept_float",
    "miou",
    "miou_reference",
    "drop",
    "interval",
    "plan_sha256",
    "trtexec",
    "created",
}
CALIB = "synthetic:street,seed=2,images=2,size=64x96"
STREETS = "synthetic:street,seed=3,images=3,size=64x96"
FOREIGN_SPEC = 'class_set = "camvid"\nmean = [127.0, 127.0, 127.0]\nstd = [64.0, 64.0, 64.0]\n'


def needs(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed: nothing was compiled")


TARGETS = [
    pytest.param("openvino", marks=needs("openvino")),
    pytest.param("onnxruntime", marks=needs("onnxruntime")),
    pytest.param("tensorrt-rtx", marks=needs("tensorrt_rtx")),
]
INT8 = {"target": "onnxruntime", "precision": "int8", "calib": CALIB}


@pytest.fixture
def foreign(tmp_path):
    """(network of two convolutions made elsewhere, its spec)."""
    random = np.random.default_rng(0)
    weights = [random.normal(size=(16, 3, 3, 3)), random.normal(size=(11, 16, 1, 1))]
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["y0"], "stem", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["y0"], ["x1"], "relu"),
        helper.make_node("Conv", ["x1", "w1"], ["scores"], "score"),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 11, 32, 48])],
        [numpy_helper.from_array(value.astype(np.float32), f"w{n}") for n, value in enumerate(weights)],
    )
    model, spec = tmp_path / "foreign.onnx", tmp_path / "foreign.toml"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    spec.write_text(FOREIGN_SPEC)
    return model, spec


def quantized_convolutions(path):
    """Number of convolutions of an INT8 file whose input comes out of a DequantizeLinear."""
    graph = onnx_from_file(path).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return sum(node.op_type == "Conv" and node.input[0] in dequantized for node in graph.node)


def check_directory(out, manifest):
    """What every engine directory holds, whatever its target."""
    assert manifest == json.loads((out / "manifest.json").read_text()) == Manifest.from_file(out).to_mapping()
    assert set(manifest) >= MANIFEST_KEYS
    plan = out / ("model.plan" if manifest["target"].startswith("tensorrt") else "model.onnx")
    assert manifest["plan_sha256"] == sha256_of_file(plan)
    assert json.loads((out / "spec.json").read_text())["classes"]
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_checkpoint_becomes_an_int8_engine_in_one_call(checkpoint_file, tmp_path, target):
    out = tmp_path / "engine"
    built = build_engine(checkpoint_file, out, target=target, precision="int8", calib=CALIB)
    check_directory(out, built.to_mapping())
    manifest = built.to_mapping()
    assert (manifest["target"], manifest["precision"], manifest["execution"]) == (target, "int8", "f32")
    assert len(manifest["table_sha256"]) == len(manifest["spec_sha256"]) == 64
    assert len(json.loads((out / "table.json").read_text())["images_sha256"]) == 2
    assert (manifest["miou"], manifest["drop"], manifest["kept_float"]) == (None, None, [])
    if target == "tensorrt-rtx":
        check_nvidia_account(out, manifest)
    else:
        assert manifest["device"]["instruction_sets"] is not None and manifest["trtexec"] is None
        assert "data" in manifest["miou_note"]
        with open_engine(out) as engine:
            assert (engine.target, engine.precision) == (target, "int8")


def check_nvidia_account(out, manifest):
    """The compiler's own word: every quantized convolution is INT8, and nothing was measured here."""
    in_int8 = [layer for layer in manifest["layers"] if layer["op"] == "correlation" and layer["precision"] == "int8"]
    assert len(in_int8) == quantized_convolutions(out / "model.int8.onnx") > 50
    assert "data" in manifest["miou_note"] and manifest["reference"] is None
    assert "--onnx=model.int8.onnx" in manifest["trtexec"]["tensorrt-rtx"]
    assert "sm" in manifest["device"]


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_network_made_elsewhere_becomes_an_int8_engine_in_one_call(foreign, tmp_path, target):
    model, spec = foreign
    out = tmp_path / "engine"
    built = build_engine(model, out, target=target, precision="int8", calib=CALIB, spec=spec)
    check_directory(out, built.to_mapping())
    assert built.name == "foreign"


@pytest.mark.slow
@needs("openvino")
def test_layers_are_told_where_the_compiler_tells_them(int8_file, tmp_path):
    built = build_engine(int8_file, tmp_path / "engine", target="openvino", precision="int8")
    convolutions = [layer for layer in built.layers if layer.op == "Convolution"]
    assert len(convolutions) > 50 and all(layer.precision for layer in convolutions)


@pytest.mark.slow
def test_miou_and_its_drop_are_against_fp32_on_the_same_target(onnx_file, table_file, tmp_path):
    options, progress = dict(INT8, calib=str(table_file)), RecordedProgress()
    built = build_engine(onnx_file, tmp_path / "engine", **options, data=dataset_from_name(STREETS), progress=progress)
    manifest = built.to_mapping()
    assert 0 <= manifest["miou"] <= 1 and 0 <= manifest["miou_reference"] <= 1
    assert manifest["drop"] == pytest.approx(100 * (manifest["miou_reference"] - manifest["miou"]))
    assert manifest["model_sha256"] == sha256_of_file(onnx_file)
    words = ["reading", "calibrating", "compiling", "comparing", "evaluating", "evaluating"]
    assert [text.split()[0] for text in progress.notes] == words
    held = manifest["reference"]
    assert held["images"] == 3 and held["sqnr_db"] >= held["limits"]["sqnr_db"]
    assert held["agreement"] >= held["limits"]["agreement"] and held["from_fp32"]["agreement"] < 1


@pytest.mark.slow
def test_equal_pictures_with_other_labels_are_a_warning_and_the_engine_is_written(onnx_file, table_file, tmp_path):
    """And so is a large share that is ignored: two of the three label files are all void here."""
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir(parents=True)
    streets = dataset_from_name(STREETS)
    for name, item, value in (("a", 0, 1), ("b", 0, 255), ("c", 1, 255)):
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{name}.png"), streets.items[item].image())
        cv2.imwrite(str(tmp_path / "set" / "labels" / f"{name}.png"), np.full((64, 96), value, np.uint8))
    (tmp_path / "set" / "classes.json").write_text(json.dumps({"names": streets.classes}))
    data = dataset_from_name(f"folder:{tmp_path / 'set'}")
    options = dict(INT8, calib=str(table_file))
    manifest = build_engine(onnx_file, tmp_path / "engine", **options, data=data).to_mapping()
    check_directory(tmp_path / "engine", manifest)
    ignored, twins = manifest["warnings"]
    assert "66.7%" in ignored and "a and b" in twins
    assert manifest["drop"] == pytest.approx(100 * (manifest["miou_reference"] - manifest["miou"]))


def test_label_that_does_not_fit_ends_the_build_before_anything_is_measured(onnx_file, tmp_path):
    for part, value in (("images", 7), ("labels", 200)):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), np.full((64, 96), value, np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"names": dataset_from_name(STREETS).classes}))
    progress = RecordedProgress()
    with refused(BadInput, "labels/a.png", 200, "0..10", "label_values"):
        build_engine(
            onnx_file,
            tmp_path / "engine",
            **INT8,
            data=dataset_from_name(f"folder:{tmp_path}"),
            progress=progress,
        )
    assert progress.notes == []


@pytest.mark.slow
def test_fp32_is_its_own_reference_and_is_measured_once(onnx_file, tmp_path):
    progress = RecordedProgress()
    built = build_engine(
        onnx_file,
        tmp_path / "engine",
        target="onnxruntime",
        precision="fp32",
        max_miou_drop=0.0,
        data=dataset_from_name(STREETS),
        progress=progress,
    )
    assert built.drop == 0.0
    assert progress.updates == [("fp32", done, 3) for done in (1, 2, 3)]


@pytest.mark.slow
def test_bf16_is_an_execution_of_the_fp32_file(onnx_file, tmp_path):
    if "bf16" not in " ".join(instruction_sets()) or find_spec("openvino") is None:
        pytest.skip("no bf16 on this CPU, or no openvino: nothing was compiled")
    built = build_engine(onnx_file, tmp_path / "engine", target="openvino", precision="bf16")
    assert (built.precision, built.execution) == ("fp32", "bf16")
    with open_engine(built.path) as engine:
        assert engine.execution == "bf16"


def instruction_sets():
    from fcn_edge.device import this_device

    return this_device().instruction_sets


@pytest.mark.slow
def test_budget_that_cannot_be_met_leaves_no_engine(foreign, tmp_path):
    model, spec = foreign
    options = dict(INT8, max_miou_drop=-100.0)
    with refused(CheckFailed, "INT8", "-100", "score", "stem"):
        build_engine(model, tmp_path / "engine", **options, data=dataset_from_name(STREETS), spec=spec)
    assert [path.name for path in tmp_path.iterdir() if "engine" in path.name] == ["engine.budget.json"]


@pytest.mark.slow
def test_failure_leaves_the_engine_that_was_there(foreign, tmp_path):
    (model, spec), out = foreign, tmp_path / "engine"
    build_engine(model, out, target="onnxruntime", precision="fp32", spec=spec)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(CheckFailed):
        build_engine(model, out, **{**INT8, "max_miou_drop": -100.0}, data=dataset_from_name(STREETS), spec=spec)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    build_engine(model, out, **INT8, spec=spec)
    assert json.loads((out / "manifest.json").read_text())["precision"] == "int8"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_int8_file_is_taken_as_it_is_and_has_no_reference(int8_file, tmp_path):
    options = {"target": "onnxruntime", "precision": "int8"}
    built = build_engine(int8_file, tmp_path / "engine", **options, data=dataset_from_name(STREETS))
    assert (built.path / "model.onnx").read_bytes() == int8_file.read_bytes()
    assert built.miou is not None
    assert (built.miou_reference, built.drop) == (None, None)
    assert built.table_sha256 == contract_from_onnx(int8_file).quantization.table_sha256


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (
            {"target": "onnxruntime", "precision": "int8", "calib": CALIB},
            ("tiny.int8.onnx", "scales", "calib"),
        ),
        (
            {"target": "onnxruntime", "precision": "int8", "max_miou_drop": 1.0},
            ("tiny.int8.onnx", "drop", "fp32"),
        ),
        ({"target": "onnxruntime", "precision": "fp32"}, ("tiny.int8.onnx", "int8", "fp32")),
    ],
)
def test_int8_file_is_not_made_into_anything_else(int8_file, tmp_path, options, facts):
    with refused(BadInput, *facts):
        build_engine(int8_file, tmp_path / "engine", **options, data=dataset_from_name(STREETS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "facts"),
    [
        ({"target": "onnxruntime", "precision": "int8"}, BadInput, ("INT8", "calib")),
        ({"target": "onnxruntime", "precision": "fp16"}, BadInput, ("onnxruntime", "fp16", "fp32, int8")),
        ({"target": "pytorch", "precision": "fp32"}, BadInput, ("pytorch", "target", "openvino")),
        (
            {"target": "onnxruntime", "precision": "fp32", "calib": CALIB, "calib_images": 3},
            BadInput,
            ("calib", "calib_images", "INT8"),
        ),
        ({"target": "onnxruntime", "precision": "fp32", "placement": "x86"}, BadInput, ("placement", "INT8")),
        (
            {"target": "onnxruntime", "precision": "fp32", "plan": PlanOptions(sm=(86,))},
            BadInput,
            ("sm", "tensorrt-rtx"),
        ),
        (
            {"target": "tensorrt-rtx", "precision": "int8", "calib": CALIB, "placement": "x86"},
            BadInput,
            ("x86", "uint8"),
        ),
        ({"target": "onnxruntime", "precision": "fp32", "max_miou_drop": 1.0}, BadInput, ("labelled", "data")),
        ({"target": "tensorrt", "precision": "fp16"}, BackendMissing, ("tensorrt", "fcn-edge[gpu]")),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_made(onnx_file, tmp_path, options, error, facts):
    if options["target"] == "tensorrt" and find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed: whether it compiles is tests/engines' matter")
    with refused(error, *facts):
        build_engine(onnx_file, tmp_path / "engine", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@needs("tensorrt_rtx")
def test_file_with_unsigned_activations_is_not_compiled_for_nvidia(onnx_file, table_file, tmp_path):
    from fcn_edge.calibration import calibrate

    unsigned = calibrate(onnx_file, table_file, tmp_path / "x86.onnx", placement="x86").path
    with refused(BadInput, "x86.onnx", "uint8", "TensorRT"):
        build_engine(unsigned, tmp_path / "engine", target="tensorrt-rtx", precision="int8")


@pytest.mark.slow
@needs("tensorrt_rtx")
def test_engine_that_does_not_run_here_is_judged_by_the_reference_run_of_its_file(foreign, tmp_path):
    model, spec = foreign
    options = {"target": "tensorrt-rtx", "precision": "fp16", "max_miou_drop": 100.0}
    data = dataset_from_name(STREETS)
    manifest = build_engine(model, tmp_path / "engine", **options, data=data, spec=spec).to_mapping()
    assert manifest["miou"] is not None and abs(manifest["drop"]) < 5 and manifest["reference"] is None
    assert "reference run" in manifest["miou_note"]


@pytest.mark.parametrize("manifest", [None, "{}", '{"name": "a web page"}', "no json"])
def test_other_folders_are_not_replaced(onnx_file, tmp_path, manifest):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"x")
    if manifest is not None:
        (out / "manifest.json").write_text(manifest)
    with refused(BadInput, "photos"):
        build_engine(onnx_file, out, target="onnxruntime", precision="fp32")
    assert (out / "holiday.jpg").is_file()


@pytest.mark.slow
def test_arrays_and_pairs_in_memory_are_calibration_images_and_labelled_data(onnx_file, street, tmp_path):
    pairs = [street(number) for number in range(3)]
    images = (street(number)[0] for number in range(10, 12))
    built = build_engine(
        onnx_file, tmp_path / "engine", target="onnxruntime", precision="int8", calib=images, data=pairs
    )
    assert 0 < built.miou <= 1 and built.drop == pytest.approx(100 * (built.miou_reference - built.miou))
    assert built.reference.images == 3 and built.seconds > 0
    assert json.loads((built.path / "table.json").read_text())["images"] == ["array 0", "array 1"]


def test_target_and_precision_are_chosen_for_this_machine(monkeypatch):
    from fcn_edge.building import request

    monkeypatch.setattr(request, "available_targets", lambda: ("tensorrt-rtx", "onnxruntime", "openvino"))
    assert request.chosen_target("auto") == "onnxruntime", "TensorRT-RTX runs on a GPU only"
    monkeypatch.setattr(request, "available_targets", lambda: ("tensorrt", "openvino"))
    monkeypatch.setattr("fcn_edge.engines.trt.require_target", lambda target: None)
    assert request.chosen_target("auto") == "tensorrt"
    assert [request.default_precision(target) for target in request.ON_TARGET] == ["fp32", "fp32", "fp16", "fp16"]
    monkeypatch.setattr(request, "available_targets", lambda: ())
    with refused(BackendMissing, "fcn-edge[cpu]", "fcn-edge[gpu]"):
        request.chosen_target("auto")
