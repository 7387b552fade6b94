"""The DeepStream folder: its configuration says what its graph is, and nvinfer's arithmetic gives our class maps."""

from __future__ import annotations

import configparser
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from fcn_edge.deploy import deepstream_from_onnx
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.geometry import Sampling, align_corners
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx, onnx_from_file, save_onnx, with_metadata
from fcn_edge.transforms import class_map_from_output
from tests.refusals import refused

SOFTMAX_TIES = 0.999  # of pixels: two classes that differ by less than a probability can show


def properties(folder):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(folder / "nvinfer.txt", encoding="utf-8")
    assert parser.sections() == ["property"]
    return dict(parser["property"])


def nvinfer_class_map(folder, frame):
    """What Gst-nvinfer does with a frame of the network's size, by its documentation."""
    keys = properties(folder)
    offsets = np.array([float(value) for value in keys["offsets"].split(";")], np.float32)
    planar = (frame.astype(np.float32) - offsets) * float(keys["net-scale-factor"])  # BGR: model-color-format=1
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as the reference runs
    model = str(folder / keys["onnx-file"])
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    [values] = session.run([keys["output-blob-names"]], {session.get_inputs()[0].name: planar.transpose(2, 0, 1)[None]})
    best = values[0].argmax(0)
    return np.where(values[0].max(0) > float(keys["segmentation-threshold"]), best, -1)


@pytest.mark.slow
@pytest.mark.parametrize("made", ["onnx_file", "int8_file", "logits"])
def test_nvinfer_gives_our_class_map(made, exported, tmp_path, frame, request):
    file = exported(head="logits") if made == "logits" else request.getfixturevalue(made)
    folder = deepstream_from_onnx(file, tmp_path / "out").path
    with open_engine(file, target="reference") as engine:
        wanted = class_map_from_output(engine.infer(frame[None])[0], engine.spec, frame.shape[:2])
    assert (nvinfer_class_map(folder, frame) == wanted).mean() >= SOFTMAX_TIES


def test_half_precision_file_still_computes_in_half(onnx_file, tmp_path, frame):
    from fcn_edge.calibration import quantized_file

    half = quantized_file(onnx_file, tmp_path / "half.onnx", precision="fp16", table=None, placement="any").path
    folder = deepstream_from_onnx(half, tmp_path / "out").path
    assert properties(folder)["network-mode"] == "2"
    graph = onnx_from_file(folder / "model.onnx").graph
    assert any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in graph.initializer)
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    with open_engine(half, target="reference") as engine:
        wanted = class_map_from_output(engine.infer(frame[None])[0], engine.spec, frame.shape[:2])
    assert (nvinfer_class_map(folder, frame) == wanted).mean() >= SOFTMAX_TIES


@pytest.mark.slow
def test_file_with_unsigned_activations_is_refused(onnx_file, table_file, tmp_path):
    from fcn_edge.calibration import calibrate

    unsigned = calibrate(onnx_file, table_file, tmp_path / "x86.onnx", placement="x86").path
    with refused(BadInput, "x86.onnx", "uint8"):
        deepstream_from_onnx(unsigned, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_configuration_is_that_of_the_spec(onnx_file, tmp_path):
    made = deepstream_from_onnx(onnx_file, tmp_path / "out")
    keys, spec = properties(made.path), contract_from_onnx(onnx_file).spec
    assert (keys["network-type"], keys["network-mode"], keys["model-color-format"]) == ("2", "0", "1")
    assert (keys["infer-dims"], keys["num-detected-classes"]) == ("3;64;96", "11")
    assert (keys["maintain-aspect-ratio"], keys["segmentation-threshold"]) == ("0", "0.0")
    assert (made.path / keys["labelfile-path"]).read_text(encoding="utf-8").split("\n")[:-1] == list(spec.classes)
    assert keys["model-engine-file"] == made.engine and all(made.engine in line for line in made.trtexec.values())
    assert {path.name for path in made.path.iterdir()} == {"model.onnx", "nvinfer.txt", "labels.txt"}
    graph = onnx_from_file(made.path / "model.onnx").graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 96]
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 11, 64, 96]


def respecified(file, out, **changes):
    """The same file, with another spec."""
    model = onnx_from_file(file)
    spec = contract_from_onnx(file).spec
    save_onnx(with_metadata(model, METADATA_KEY, replace(spec, **changes).to_json()), out)
    return out


def test_letterbox_and_int8_are_warned_of(int8_file, tmp_path):
    boxed = replace(contract_from_onnx(int8_file).spec.preprocess, resize="letterbox", interpolation="area")
    made = deepstream_from_onnx(respecified(int8_file, tmp_path / "boxed.onnx", preprocess=boxed), tmp_path / "out")
    assert properties(made.path)["maintain-aspect-ratio"] == properties(made.path)["symmetric-padding"] == "1"
    assert len(made.warnings) == 3
    assert all(word in "".join(made.warnings) for word in ("trtexec first", "black", "bilinearly"))
    assert all(f"# {text}" in made.config.read_text(encoding="utf-8") for text in made.warnings)


def test_geometry_that_no_resize_has_is_refused(onnx_file, tmp_path):
    corners = Sampling(align_corners(64, 8), align_corners(96, 12))
    head = replace(contract_from_onnx(onnx_file).spec.head, sampling=corners)
    file = respecified(onnx_file, tmp_path / "corners.onnx", head=head)
    with refused(BadInput, "corners.onnx", "Resize", "head"):
        deepstream_from_onnx(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"head": "classes"}, {"dynamic": True}])
def test_files_that_nvinfer_cannot_run_are_refused(exported, tmp_path, options):
    with refused(BadInput, "nvinfer", "size", "scores"):
        deepstream_from_onnx(exported(**options), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_exists_is_left_alone(onnx_file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with refused(BadInput, tmp_path / "out", "out"):
        deepstream_from_onnx(onnx_file, tmp_path / "out")
    assert (tmp_path / "out" / "mine").exists()
