"""What doctor finds on machines that are not this one."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from fcn_edge.device import this_device
from fcn_edge.diagnosis import checks
from fcn_edge.errors import BackendMissing
from fcn_edge.targets import TARGETS
from tests.refusals import assert_names


def found(name):
    return next(finding for finding in checks.diagnose().findings if finding.name == name)


@pytest.fixture
def installed(monkeypatch):
    """Makes these the distributions that pip knows."""

    def install(*names):
        known = [SimpleNamespace(metadata={"Name": name}) for name in names]
        monkeypatch.setattr(checks, "distributions", lambda: known)

    return install


@pytest.fixture
def hidden(monkeypatch):
    """Makes these modules impossible to find."""
    real = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else real(name))

    return hide


@pytest.mark.slow
def test_every_target_and_every_part_is_looked_at():
    diagnosis = checks.diagnose()
    names = [finding.name for finding in diagnosis.findings]
    assert set(names) >= {"python", *TARGETS, "opencv", "display", "native kernels", "packaged network"}
    assert {finding.state for finding in diagnosis.findings} <= {"ok", "missing", "warning"}
    assert all(finding.advice for finding in diagnosis.findings if finding.state == "warning")
    json.dumps(diagnosis.to_mapping(), allow_nan=False)


def test_missing_package_names_its_extra(hidden):
    hidden("openvino", "torch")
    assert found("openvino").advice == "pip install 'fcn-edge[cpu]'"
    assert found("pytorch").advice == "pip install 'fcn-edge[train]'"
    assert found("openvino").state == found("pytorch").state == "missing"


def test_package_that_does_not_load_is_told_with_its_reason(monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it cannot be broken")
    real = importlib.import_module

    def broken(name, *rest):
        if name == "onnxruntime":
            raise ImportError("libonnxruntime.so: undefined symbol")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", broken)
    finding = found("onnxruntime")
    assert finding.state == "warning" and "undefined symbol" in finding.found and "reinstall" in finding.advice


def test_packages_that_write_the_same_files_are_a_collision(installed):
    installed("onnxruntime", "onnxruntime-gpu", "numpy", "opencv-python")
    finding = found("collision")
    assert_names(finding.found, "onnxruntime", "onnxruntime-gpu")
    assert finding.advice.startswith("pip uninstall onnxruntime onnxruntime-gpu")
    installed("onnxruntime", "opencv-python")
    assert not [finding for finding in checks.diagnose().findings if finding.name == "collision"]


def test_missing_opencv_is_told(hidden):
    hidden("cv2")
    finding = found("opencv")
    assert (finding.state, finding.found) == ("missing", "no OpenCV") and "fcn-edge[cpu]" in finding.advice


def test_opencv_without_its_system_libraries_names_them(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cv2":
                raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")

    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    finding = checks._opencv()
    assert finding.state == "warning" and "libGL.so.1" in finding.found and "libgl1" in finding.advice


@pytest.mark.parametrize(
    ("build", "jetpack", "pip", "state", "words"),
    [
        ("GStreamer:   YES (1.20)", None, {}, "ok", "with GStreamer"),
        ("GStreamer:   NO", None, {"opencv-python": "4.9"}, "ok", "without GStreamer"),
        ("GStreamer:   NO", "R36", {"opencv-python": "4.9"}, "warning", "opencv-python of pip hides JetPack's own"),
        ("GStreamer:   YES (1.20)", "R36", {}, "ok", "with GStreamer"),
    ],
)
def test_opencv_is_asked_for_gstreamer(monkeypatch, build, jetpack, pip, state, words):
    fake = ModuleType("cv2")
    fake.__version__, fake.getBuildInformation = "4.9", lambda: f"Video I/O:\n  {build}"
    fake.__spec__ = object()
    monkeypatch.setitem(sys.modules, "cv2", fake)
    monkeypatch.setattr(checks, "package_versions", lambda names: pip)
    device = replace(this_device(), jetpack=jetpack)
    monkeypatch.setattr(checks, "this_device", lambda: device)
    finding = checks._opencv()
    assert finding.state == state and words in finding.found


@pytest.mark.parametrize(
    ("flags", "words"), [(("avx2", "amx_bf16"), "bf16 possible"), (("avx2",), "no bf16 on this CPU")]
)
def test_openvino_is_told_with_what_the_cpu_can(monkeypatch, flags, words):
    pytest.importorskip("openvino", reason="openvino is not installed")
    device = replace(this_device(), instruction_sets=flags)
    monkeypatch.setattr(checks, "this_device", lambda: device)
    assert words in found("openvino").found


def test_engine_without_its_gpu_is_missing_and_says_what_is(monkeypatch):
    def no_gpu(target):
        raise BackendMissing("there is no NVIDIA driver here")

    real = importlib.util.find_spec
    monkeypatch.setattr("fcn_edge.engines.trt.require_target", no_gpu)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "tensorrt" else real(name))
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    finding = found("tensorrt")
    assert (finding.state, finding.found) == ("missing", "there is no NVIDIA driver here")


@pytest.mark.parametrize(("variable", "state"), [("DISPLAY", "ok"), ("WAYLAND_DISPLAY", "ok"), (None, "missing")])
def test_screen_is_looked_for(monkeypatch, variable, state):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, ":0")
    assert checks._display().state == state


def test_missing_kernels_and_missing_network_are_told(hidden, monkeypatch, tmp_path):
    hidden("fcn_edge._native")
    monkeypatch.setattr("fcn_edge.registry.PACKAGE", tmp_path)
    assert (found("native kernels").state, found("packaged network").state) == ("warning", "missing")
