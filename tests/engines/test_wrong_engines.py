"""Engine directories that cannot be opened here, or are inconsistent: one sentence each."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.trt import plan_from_onnx
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError
from tests.engines.directories import plan_directory
from tests.refusals import assert_names

HOST_CODE = {"version_compatible": True}


@pytest.fixture
def directory(gpu, onnx_file, tmp_path):
    """An engine directory by TensorRT 10.3 for SM 8.6, on a machine that has both."""
    gpu("10.3")
    plan = plan_from_onnx(onnx_file, target="tensorrt").data

    def make(name="engine", **changes):
        return plan_directory(tmp_path / name, onnx_file, plan, **changes)

    return make


def edited(path, name, **changes):
    """A JSON file of the directory with other values, as somebody may write them by hand."""
    file = path / name
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return path


def refusal(path, **options):
    """The one sentence of an engine that is not opened."""
    with pytest.raises(FcnEdgeError) as caught:
        open_engine(path, **options)
    text = str(caught.value)
    assert isinstance(caught.value, (BadInput, BackendMissing))
    assert "\n" not in text and "Traceback" not in text and str(path) in text
    return text


def test_other_version_is_reported_with_the_command_that_rebuilds(directory, gpu):
    path = directory(with_onnx=False)
    gpu("11.4", sm=89)
    text = refusal(path)
    assert_names(text, "tensorrt 10.3.0", "SM 8.6", "SM 8.9", "tensorrt 11.4.0.106")
    assert_names(text, "build_engine", f"{path}/model.fp32.onnx", path, "target='tensorrt'", "precision='fp32'")


def test_other_gpu_is_reported(directory, gpu):
    path = directory(with_onnx=False)
    gpu("10.3", sm=87)
    assert_names(refusal(path), "SM 8.6", "SM 8.7", "tensorrt 10.3.0", "build_engine")


def test_cut_off_plan_is_reported_by_its_size(directory):
    path = directory()
    plan = path / "model.plan"
    size = plan.stat().st_size
    plan.write_bytes(plan.read_bytes()[: size // 2])
    assert_names(refusal(path), "model.plan", f"{size // 2} of {size} bytes")


def test_edited_manifest_is_reported(directory):
    path = edited(directory(), "manifest.json", runtime="tensorrt 11.4.0")
    assert_names(refusal(path), "manifest.json", "edited")


def test_plan_of_another_model_is_reported(directory):
    path = directory()
    plan = path / "model.plan"
    plan.write_bytes(plan.read_bytes()[:-4] + b"else")
    assert_names(refusal(path), "model.plan", "manifest.json")


def test_spec_of_another_model_is_reported(directory):
    path = directory()
    spec = json.loads((path / "spec.json").read_text())
    edited(path, "spec.json", classes=[f"other {name}" for name in spec["classes"]])
    assert_names(refusal(path), "spec.json", "manifest.json")


@pytest.mark.slow
def test_plan_of_other_shapes_is_reported(gpu, exported, onnx_file, tmp_path):
    gpu("10.3")
    plan = plan_from_onnx(onnx_file, target="tensorrt").data
    path = plan_directory(tmp_path / "engine", exported(size=(96, 128)), plan)
    assert_names(refusal(path), "1x64x96x3", "spec.json", "1x96x128x3")


def test_host_code_is_loaded_only_on_request(directory, frame):
    path = directory(flags=HOST_CODE)
    assert_names(refusal(path), "host code")
    with open_engine(path, options=EngineOptions(allow_host_code=True)) as engine:
        assert engine.segment(frame).class_map.shape == frame.shape[:2]


def test_empty_plan_is_reported(directory):
    path = directory()
    (path / "model.plan").write_bytes(b"")
    assert_names(refusal(path), "model.plan", "empty")


def test_folder_in_the_place_of_the_plan_is_reported(directory):
    path = directory()
    (path / "model.plan").unlink()
    (path / "model.plan").mkdir()
    assert_names(refusal(path), "model.plan", "folder")


def test_rtx_plan_given_to_tensorrt_is_reported(directory, onnx_file, tmp_path):
    path = plan_directory(tmp_path / "rtx", onnx_file, b"vtrt" + b"\0" * 1000)
    assert_names(refusal(path), "model.plan", "tensorrt-rtx", "manifest")
    whole = plan_directory(tmp_path / "whole", onnx_file, b"vtrt" + b"\0" * 1000, target="tensorrt-rtx")
    assert_names(refusal(whole, target="tensorrt"), "tensorrt-rtx", "tensorrt")


def test_bare_plan_has_no_contract(directory):
    assert_names(refusal(directory() / "model.plan", target="tensorrt"), "engine directory")


def test_manifest_that_reports_too_little_is_refused(directory):
    path = directory()
    (path / "manifest.json").write_text(json.dumps({"target": "tensorrt", "precision": "fp32"}))
    assert_names(refusal(path), "manifest", "runtime", "plan_sha256", "spec_sha256")


def test_plan_that_the_vendor_refuses_is_reported_with_its_reason(directory, gpu, onnx_file, tmp_path):
    directory()
    path = plan_directory(tmp_path / "noise", onnx_file, b"noise" * 100)
    assert_names(refusal(path), "tensorrt 10.3.0", "Magic tag")


@pytest.mark.parametrize(
    ("flags", "family", "sm", "opens"),
    [
        ({}, "10.3", 86, True),
        ({"hardware_compatible": "ampere+"}, "10.3", 89, True),
        ({"hardware_compatible": "ampere+"}, "10.3", 75, False),
        (HOST_CODE, "10.13", 86, True),
        (HOST_CODE, "8.6", 86, False),
        (HOST_CODE, "11.4", 86, False),
    ],
)
def test_compatible_plans_open_where_they_may(directory, gpu, flags, family, sm, opens):
    path = directory(flags=flags, with_onnx=False)
    found = gpu(family, sm=sm)
    if family == "10.13":  # the fake knows its plans by the family
        found.trt._family = "10.3"
    options = EngineOptions(allow_host_code=True)
    if opens:
        open_engine(path, options=options).close()
    else:
        assert_names(refusal(path, options=options), "build_engine")


def test_portable_rtx_plan_needs_ampere(gpu, onnx_file, tmp_path):
    gpu("rtx")
    plan = plan_from_onnx(onnx_file, target="tensorrt-rtx").data
    told = {"target": "tensorrt-rtx", "runtime": "tensorrt-rtx 1.7.1.116", "with_onnx": False}
    portable = plan_directory(tmp_path / "portable", onnx_file, plan, sm="portable: Ampere and newer", **told)
    listed = plan_directory(tmp_path / "listed", onnx_file, plan, sm=[86, 89], **told)
    for path in (portable, listed):
        open_engine(path).close()
    gpu("rtx", sm=75)
    assert_names(refusal(portable), "Ampere", "SM 7.5")
    assert_names(refusal(listed), "8.6, 8.9", "SM 7.5")


@pytest.mark.slow
def test_engine_of_another_machine_is_rebuilt_once_into_the_cache(directory, gpu, frame, caplog):
    path = directory(flags={"tf32": True, "workspace_mb": 64})
    found = gpu("11.4", sm=89)
    for _ in range(2):
        with open_engine(path) as engine:
            class_map = engine.segment(frame).class_map
    assert class_map.shape == frame.shape[:2]
    assert found.trt.calls.count("Builder.build_serialized_network") == 1
    assert found.trt.config.limits and not found.trt.config.cleared  # the options of the manifest
    assert [record.message for record in caplog.records if "SM 8.9" in record.message]


def test_other_file_beside_the_plan_is_not_taken_for_its_source(directory, gpu, int8_file):
    path = directory()
    shutil.copy(int8_file, path / "model.fp32.onnx")
    gpu("11.4")
    assert_names(refusal(path), "model.fp32.onnx", "tensorrt 11.4.0.106")


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_without_a_gpu_all_that_is_missing_is_named_and_what_runs_instead(monkeypatch, onnx_file, tmp_path, target):
    module = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}[target]
    mark = b"vtrt" if target == "tensorrt-rtx" else b"ftrt"
    path = plan_directory(tmp_path / "engine", onnx_file, mark + b"\0" * 100, target=target)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("fcn_edge.engines.trt.opening.missing_gpu", lambda: "there is no NVIDIA driver here")
    with pytest.raises(BackendMissing) as caught:
        open_engine(path)
    text = str(caught.value)
    assert_names(
        text, module, "pip install", "NVIDIA driver", f"open_engine('{path}/model.fp32.onnx', target='openvino')"
    )
    assert "\n" not in text


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: its plan was not opened")
def test_real_rtx_engine_says_what_it_needs(onnx_file, tmp_path, monkeypatch):
    from fcn_edge.build import build_engine

    monkeypatch.setattr("fcn_edge.engines.trt.opening.missing_gpu", lambda: "there is no NVIDIA driver here")
    path = build_engine(onnx_file, tmp_path / "engine", target="tensorrt-rtx", precision="fp32").path
    assert (path / "model.plan").read_bytes().startswith(b"vtrt")
    assert_names(refusal(path), "NVIDIA driver", "openvino")
    plan = np.fromfile(path / "model.plan", np.uint8)
    plan[:-100].tofile(path / "model.plan")
    assert_names(refusal(path), "model.plan", "bytes")
