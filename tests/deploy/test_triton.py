"""Models for a Triton repository: the configuration is text that protobuf reads, and says what the file is."""

from __future__ import annotations

import shutil
from dataclasses import replace

import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from fcn_edge.deploy import triton_from_engine, triton_from_onnx
from fcn_edge.engines.manifest import Manifest
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx, onnx_from_file, save_onnx, with_metadata
from fcn_edge.spec import spec_from_json
from tests.refusals import refused

# The part of triton-inference-server/common: protobuf/model_config.proto that is written: (field, number, type, many).
MESSAGES = {
    "Tensor": [("name", 1, "STRING", False), ("data_type", 2, "ENUM", False), ("dims", 3, "INT64", True)],
    "Parameter": [("string_value", 1, "STRING", False)],
    "ParametersEntry": [("key", 1, "STRING", False), ("value", 2, "Parameter", False)],
    "ModelConfig": [
        ("name", 1, "STRING", False),
        ("platform", 2, "STRING", False),
        ("max_batch_size", 4, "INT32", False),
        ("input", 5, "Tensor", True),
        ("output", 6, "Tensor", True),
        ("parameters", 14, "ParametersEntry", True),
    ],
}
DATA_TYPES = {"TYPE_UINT8": 2, "TYPE_INT32": 8, "TYPE_FP16": 10, "TYPE_FP32": 11}


def model_config_class():
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    kinds.value.add(name="TYPE_INVALID", number=0)
    for name, number in DATA_TYPES.items():
        kinds.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, number, kind, is_many in fields:
            field = made.field.add(name=name, number=number, label=3 if is_many else 1)
            if kind in MESSAGES:
                field.type, field.type_name = field.TYPE_MESSAGE, f".inference.{kind}"
            elif kind == "ENUM":
                field.type, field.type_name = field.TYPE_ENUM, ".inference.DataType"
            else:
                field.type = getattr(field, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def read_config(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_class()())


def test_model_is_described_as_it_is(onnx_file, tmp_path):
    made = triton_from_onnx(onnx_file, tmp_path)
    config, spec = read_config(made.path), contract_from_onnx(onnx_file).spec
    assert (config.name, config.platform, config.max_batch_size) == ("tiny", "onnxruntime_onnx", 0)
    assert made.path == tmp_path / "tiny"  # Triton asks for a folder of that name
    [frames], [scores] = config.input, config.output
    assert (frames.name, frames.data_type, list(frames.dims)) == ("frames", DATA_TYPES["TYPE_UINT8"], [1, 64, 96, 3])
    assert scores.data_type == DATA_TYPES["TYPE_FP32"] and list(scores.dims)[:2] == [1, 11]
    assert {entry.key: spec_from_json(entry.value.string_value, "there") for entry in config.parameters} == {
        METADATA_KEY: spec
    }
    assert (made.path / "1" / "model.onnx").read_bytes() == onnx_file.read_bytes()
    assert (made.path / "labels.txt").read_text(encoding="utf-8").splitlines() == list(spec.classes)


def test_dimensions_of_a_free_size_are_free(exported, tmp_path):
    [frames] = read_config(triton_from_onnx(exported(dynamic=True), tmp_path).path).input
    assert list(frames.dims) == [-1, -1, -1, 3]


def test_names_with_signs_of_their_own_are_written_so_that_they_are_read(onnx_file, tmp_path):
    spec = contract_from_onnx(onnx_file).spec
    odd = replace(spec, classes=('quote " \\ ', "Straße\n", *spec.classes[2:]))
    save_onnx(with_metadata(onnx_from_file(onnx_file), METADATA_KEY, odd.to_json()), tmp_path / "odd.onnx")
    [entry] = read_config(triton_from_onnx(tmp_path / "odd.onnx", tmp_path, name="odd").path).parameters
    assert spec_from_json(entry.value.string_value, "there") == odd


@pytest.fixture
def engine(onnx_file, tmp_path):
    """An engine directory of a target; its plan is a few bytes."""

    def make(target):
        folder = tmp_path / f"engine-{target}"
        folder.mkdir()
        manifest = Manifest(target=target, precision="fp32").save(folder)
        shutil.copy(onnx_file, manifest.onnx)
        if manifest.is_nvidia:
            manifest.plan.write_bytes(b"plan")
        return folder

    return make


def test_tensorrt_engine_is_served_by_its_plan(engine, tmp_path):
    made = triton_from_engine(engine("tensorrt"), tmp_path / "models", name="street")
    assert read_config(made.path).platform == "tensorrt_plan"
    assert [path.name for path in (made.path / "1").iterdir()] == ["model.plan"]
    assert (made.path / "1" / "model.plan").read_bytes() == b"plan"


def test_onnxruntime_engine_is_served_by_its_file(engine, tmp_path):
    assert triton_from_engine(engine("onnxruntime"), tmp_path / "models").platform == "onnxruntime_onnx"


@pytest.mark.parametrize("target", ["tensorrt-rtx", "openvino"])
def test_engine_that_triton_does_not_serve_is_refused(engine, tmp_path, target):
    with refused(BadInput, f"engine-{target}", target, "tensorrt", "onnxruntime"):
        triton_from_engine(engine(target), tmp_path / "models")


def test_plan_without_its_onnx_file_is_told(engine, tmp_path):
    folder = engine("tensorrt")
    (folder / "model.fp32.onnx").unlink()
    with refused(BadInput, "model.fp32.onnx", "ONNX"):
        triton_from_engine(folder, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x"])
def test_name_that_is_no_folder_of_the_repository_is_refused(onnx_file, tmp_path, name):
    with refused(BadInput, f"'{name}'", "name"):
        triton_from_onnx(onnx_file, tmp_path, name=name)


def test_element_type_without_a_counterpart_is_refused(onnx_file, tmp_path):
    model = onnx_from_file(onnx_file)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with refused(BadInput, "y", "element type", 16):
        triton_from_onnx(tmp_path / "odd.onnx", tmp_path / "models")
    assert not (tmp_path / "models").exists()
