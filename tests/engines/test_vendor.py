"""Where a vendor's package, driver or GPU is missing."""

import subprocess
import sys
from ctypes import byref, c_int
from types import ModuleType, SimpleNamespace

import pytest

from fcn_edge.engines.trt import (
    plan_from_onnx,
    require_target,
    vendor,
)
from fcn_edge.errors import BackendMissing
from tests.engines.tiny_network import compiles
from tests.refusals import refused


def test_importing_loads_no_vendor_package():
    code = (
        "import sys, fcn_edge.engines.trt;"
        "print([name for name in sys.modules if name.startswith(('tensorrt', 'onnx', 'torch'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("target", "module", "extra"), [("tensorrt", "tensorrt", "gpu"), ("tensorrt-rtx", "tensorrt_rtx", "rtx")]
)
def test_missing_package_names_the_extra(monkeypatch, target, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    with refused(BackendMissing, module, f"fcn-edge[{extra}]") as caught:
        require_target(target)
    assert caught.value.exit_code == 3


def test_tensorrt_without_a_driver_is_reported(monkeypatch, tiny):
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    without_driver(monkeypatch)
    with refused(BackendMissing, "tensorrt", "libcuda.so.1", "tensorrt-rtx") as caught:
        plan_from_onnx(tiny(), target="tensorrt")
    assert caught.value.exit_code == 3


def without_driver(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(vendor, "ctypes", SimpleNamespace(CDLL=refuse))


@pytest.mark.parametrize(("code", "gpus", "missing"), [(100, 0, "error 100"), (0, 0, "finds no GPU"), (0, 1, "")])
def test_driver_without_a_gpu_is_distinguished(monkeypatch, code, gpus, missing):
    def count_gpus(pointer):
        pointer._obj.value = gpus
        return 0

    driver = SimpleNamespace(cuInit=lambda _: code, cuDeviceGetCount=count_gpus)
    monkeypatch.setattr(vendor, "ctypes", SimpleNamespace(CDLL=lambda _: driver, c_int=c_int, byref=byref))
    found = vendor.missing_gpu()
    assert missing in found and bool(found) == bool(missing)


@compiles
def test_compiling_for_rtx_needs_no_gpu(monkeypatch):
    without_driver(monkeypatch)
    require_target("tensorrt-rtx")
