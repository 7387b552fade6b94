"""`open_engine` selects the engine for a file, and rejects invalid files with a reason."""

from __future__ import annotations

import json
import shutil
from importlib.machinery import ModuleSpec

import numpy as np
import pytest

from fcn_edge import engines
from fcn_edge.engines import EngineOptions, available_targets, model_path, open_engine, require_package
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BackendMissing, BadInput, NotTaken
from tests.refusals import refused

MAX_RELATIVE_ERROR = 1e-4  # fp32 with and without fused nodes: sums in another order


@pytest.fixture
def without(monkeypatch):
    """Hides modules, as if they were not installed."""

    def hide(*names):
        monkeypatch.setattr(engines, "find_spec", lambda name: None if name in names else ModuleSpec(name, None))

    return hide


@pytest.fixture
def directory(tmp_path, onnx_file):
    """An engine directory with these manifest entries."""

    def write(**manifest):
        shutil.copy(onnx_file, tmp_path / "model.onnx")
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path

    return write


@pytest.mark.parametrize("name", ["threads", "in_flight"])
def test_number_below_one_is_refused(name):
    with refused(BadInput, name, 0, 1):
        EngineOptions(**{name: 0})


def test_automatic_target_prefers_openvino(onnx_file):
    pytest.importorskip("openvino", reason="openvino is not installed")
    with open_engine(str(onnx_file)) as engine:
        assert engine.target == "openvino"


def test_automatic_target_takes_what_is_installed(onnx_file, without):
    without("openvino")
    with open_engine(onnx_file) as engine:
        assert engine.target == "onnxruntime"
    without("openvino", "onnxruntime")
    with refused(BackendMissing, "fcn-edge[cpu]", "fcn-edge[gpu]"):
        open_engine(onnx_file)


def test_checkpoint_runs_in_pytorch_and_nowhere_else(checkpoint_file):
    with open_engine(checkpoint_file) as engine:
        assert engine.target == "pytorch"
    with refused(BadInput, "tiny.safetensors", "checkpoint", "openvino"):
        open_engine(checkpoint_file, target="openvino")


def test_missing_package_names_its_extra(onnx_file, without):
    without("onnxruntime")
    with refused(BackendMissing, "onnxruntime", "fcn-edge[cpu]"):
        open_engine(onnx_file, target="onnxruntime")
    assert "onnxruntime" not in available_targets() and "openvino" in available_targets()


def test_unknown_target_names_the_nearest():
    with refused(BadInput, "openvin", "openvino"):
        require_package("openvin")


def test_missing_model_says_what_a_model_is(tmp_path):
    with refused(BadInput, "none.onnx"):
        open_engine(tmp_path / "none.onnx")


def test_no_model_is_the_packaged_one(monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "packaged_file", lambda suffix: tmp_path / f"packaged{suffix}")
    assert model_path(None) == model_path("fcn4s_lite0_camvid") == tmp_path / "packaged.onnx"


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_directory_is_opened_on_its_own_target(directory, target, frame):
    with open_engine(directory(target=target, execution="f32")) as engine:
        assert engine.target == target
        assert engine.segment(frame).class_map.shape == frame.shape[:2]


def test_asked_execution_comes_before_the_manifests(directory):
    with refused(BadInput, "OpenVINO", "f32", "bf16", "f16"):
        open_engine(directory(target="openvino", execution="f32"), options=EngineOptions("f16"))
    with refused(BadInput, "OpenVINO", "f32", "bf16", "f16"):
        open_engine(directory(target="openvino", execution="f16"))


@pytest.mark.parametrize(
    ("manifest", "facts"),
    [
        ({}, ("manifest", "None")),
        ({"target": "coreml"}, ("manifest", "coreml")),
        ({"target": ["openvino"]}, ("manifest", "['openvino']")),
        ({"target": "onnxruntime"}, ("onnxruntime", "openvino", "target")),
    ],
    ids=["empty", "unknown", "list", "other"],
)
def test_manifest_that_does_not_fit_is_reported(directory, manifest, facts):
    with refused(BadInput, *facts):
        open_engine(directory(**manifest), target="openvino")


def test_folder_that_is_no_engine_says_how_to_build_one(tmp_path):
    with refused(BadInput, tmp_path, "manifest.json"):
        open_engine(tmp_path)


def test_directory_without_its_model_is_reported(directory):
    path = directory(target="onnxruntime")
    (path / "model.onnx").unlink()
    with refused(BadInput, "model.onnx"):
        open_engine(path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_file_without_contract_is_refused(tmp_path, exported, target):
    with refused(BadInput, "tiny.head-logits.io-plain.onnx", "spec"):
        open_engine(exported(head="logits", io="plain"), target=target)


def test_taps_give_every_output_of_the_graph_as_it_is_written(onnx_file, frame):
    taps = Taps(onnx_file.read_bytes(), onnx_file.name)
    found = taps.run(frame[None])
    assert list(found) == list(taps.names) and len(found) == 1
    with open_engine(onnx_file, target="onnxruntime") as engine:
        wanted = engine.infer(frame[None])
    assert np.abs(found[taps.names[0]] - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()


def test_graph_that_a_runtime_cannot_load_is_named():
    with refused(NotTaken, "m.onnx", "ONNX Runtime", "protobuf"):
        Taps(b"no graph", "m.onnx")
