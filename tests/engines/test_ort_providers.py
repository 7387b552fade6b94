"""ONNX Runtime's GPU providers: used, or an error with what is missing; no silent CPU fallback."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.ort_providers import NAMES, gpu_session
from fcn_edge.errors import BackendMissing, BadInput
from tests.refusals import refused

FELL_BACK = "nodes that are assigned to the default CPU EP, but fallback to CPU EP has been explicitly disabled"
PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"


class FakeOptions:
    def __init__(self):
        self.entries, self.devices = {}, []

    def add_session_config_entry(self, key, value):
        self.entries[key] = value

    def add_provider_for_devices(self, devices, options):
        self.devices += devices


@pytest.fixture
def runtime(monkeypatch):
    """A fake onnxruntime: what it has, what its sessions take, and what they say."""
    fake = ModuleType("onnxruntime")
    fake.__version__, fake.available, fake.takes, fake.says, fake.asked = "1.31.1", [], None, None, []
    fake.devices, fake.registered = [], []

    class Session:
        def __init__(self, model, options, providers=()):
            fake.asked.append((providers, options))
            if fake.says:
                raise RuntimeError(fake.says)
            self.given = [name for name, _ in providers] or [device.ep_name for device in options.devices]

        def get_providers(self):
            return fake.takes or [*self.given, "CPUExecutionProvider"]

    def register(name, path):
        fake.registered.append(name)
        fake.devices = fake.found_by_plugin

    fake.found_by_plugin = []
    fake.InferenceSession, fake.get_available_providers = Session, lambda: fake.available
    fake.get_ep_devices, fake.register_execution_provider_library = lambda: fake.devices, register
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return fake


@pytest.fixture
def plugin(monkeypatch, runtime):
    """The plugin's package, whose library finds one device."""
    fake = ModuleType(PLUGIN)
    fake.get_ep_name, fake.get_library_path = lambda: "NvTensorRTRTXExecutionProvider", lambda: "/lib/ep.so"
    fake.__spec__ = importlib.util.spec_from_loader(PLUGIN, None)
    monkeypatch.setitem(sys.modules, PLUGIN, fake)
    runtime.found_by_plugin = [SimpleNamespace(ep_name="NvTensorRTRTXExecutionProvider")]
    return runtime


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "nv-tensorrt-rtx"])
def test_provider_is_asked_for_alone_and_the_cpu_is_forbidden(runtime, provider):
    runtime.available = [NAMES[provider], "CPUExecutionProvider"]
    session = gpu_session("net.onnx", "net.onnx", FakeOptions(), provider)
    [(providers, options)] = runtime.asked
    assert [name for name, _ in providers] == [NAMES[provider]] == session.get_providers()[:1]
    assert options.entries == {"session.disable_cpu_ep_fallback": "1"}


def test_cuda_multiplies_fp32_in_fp32(runtime):
    runtime.available = [NAMES["cuda"]]
    gpu_session("net.onnx", "net.onnx", FakeOptions(), "cuda")
    assert runtime.asked[0][0] == [("CUDAExecutionProvider", {"use_tf32": "0"})]


@pytest.mark.parametrize(
    ("provider", "packages"),
    [
        ("cuda", ("onnxruntime-gpu",)),
        ("tensorrt", ("onnxruntime-gpu", "tensorrt")),
        ("nv-tensorrt-rtx", ("onnxruntime-ep-nv-tensorrt-rtx",)),
    ],
)
def test_provider_that_is_not_installed_is_reported_with_its_package(runtime, provider, packages):
    with refused(BackendMissing, NAMES[provider], *packages):
        gpu_session("net.onnx", "net.onnx", FakeOptions(), provider)
    assert runtime.asked == []


def test_session_that_took_the_cpu_is_refused(runtime):
    runtime.available, runtime.takes = [NAMES["cuda"]], ["CPUExecutionProvider"]
    with refused(BackendMissing, "CPUExecutionProvider", "CUDAExecutionProvider"):
        gpu_session("net.onnx", "net.onnx", FakeOptions(), "cuda")


@pytest.mark.parametrize(
    ("says", "error", "facts"),
    [
        (FELL_BACK, BackendMissing, ("net.onnx", "CUDAExecutionProvider", "CPU")),
        ("libcudnn.so.9: cannot open shared object file", BackendMissing, ("CUDAExecutionProvider", "libcudnn.so.9")),
        ("Type Error: Type 'tensor(int8)' is invalid", BadInput, ("net.onnx", "CUDAExecutionProvider", "tensor(int8)")),
    ],
)
def test_session_that_fails_says_what_failed(runtime, says, error, facts):
    runtime.available, runtime.says = [NAMES["cuda"]], says
    with refused(error, *facts):
        gpu_session("net.onnx", "net.onnx", FakeOptions(), "cuda")


def test_plugin_is_registered_once(plugin):
    for _ in range(2):
        session = gpu_session("net.onnx", "net.onnx", FakeOptions(), "nv-tensorrt-rtx")
        assert session.get_providers()[0] == NAMES["nv-tensorrt-rtx"]
    assert plugin.registered == ["NvTensorRTRTXExecutionProvider"]


def test_plugin_without_a_device_says_what_it_needs(plugin):
    plugin.found_by_plugin = []
    with refused(BackendMissing, "NvTensorRTRTXExecutionProvider", "RTX GPU", "libcudart"):
        gpu_session("net.onnx", "net.onnx", FakeOptions(), "nv-tensorrt-rtx")


def test_plugin_that_does_not_load_is_reported(plugin, monkeypatch):
    def broken(name, path):
        raise RuntimeError(f"Failed to load library {path} with error: libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(plugin, "register_execution_provider_library", broken)
    with refused(BackendMissing, "onnxruntime_ep_nv_tensorrt_rtx", "libcuda.so.1"):
        gpu_session("net.onnx", "net.onnx", FakeOptions(), "nv-tensorrt-rtx")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "nv-tensorrt-rtx"])
def test_real_onnxruntime_without_a_gpu_says_what_to_install(onnx_file, provider):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if NAMES[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {NAMES[provider]}: nothing is missing")
    with refused(BackendMissing, NAMES[provider], "onnxruntime") as raised:
        open_engine(onnx_file, options=EngineOptions(provider=provider))  # "auto" is ONNX Runtime then
    assert raised.value.exit_code == 3


def test_real_session_on_the_cpu_is_refused_by_the_config_entry(onnx_file, monkeypatch):
    """What `session.disable_cpu_ep_fallback` is relied on for, with a provider that has nothing to offer."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    available = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    if "CUDAExecutionProvider" in available[1:]:
        pytest.skip("this onnxruntime has CUDA: nothing falls back")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        refused(BackendMissing, "tiny.onnx", "CPU", "CUDAExecutionProvider"),
    ):
        open_engine(onnx_file, target="onnxruntime", options=EngineOptions(provider="cuda"))


@pytest.mark.parametrize("target", ["openvino", "reference"])
def test_provider_with_another_target_is_refused(onnx_file, target):
    with refused(BadInput, "provider", "cuda", "target", "onnxruntime"):
        open_engine(onnx_file, target=target, options=EngineOptions(provider="cuda"))


def test_engine_reports_its_provider(onnx_file, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    scores = np.zeros((1, 11, 8, 12), np.float32)
    session = SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name="frames")], run=lambda names, feeds: [scores])
    monkeypatch.setattr("fcn_edge.engines.ort.gpu_session", lambda *_: session)
    with open_engine(onnx_file, options=EngineOptions(provider="cuda")) as engine:
        assert engine.target == "onnxruntime" and engine.runtime.endswith("with cuda")
        assert engine.infer(np.zeros((1, 64, 96, 3), np.uint8)) is scores
