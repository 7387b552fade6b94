"""A GPU that is not there: a recorded TensorRT over numpy's CUDA, in the place of the packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from fcn_edge.engines.trt import kernels as kernels_module
from fcn_edge.engines.trt import opening, vendor
from fcn_edge.engines.trt import plan as plan_module
from fcn_edge.engines.trt.cuda import Cuda
from fcn_edge.errors import BackendMissing
from tests.engines.fake_tensorrt import FakeTensorRT
from tests.engines.numpy_cuda import AMPERE, NumpyDriver
from tests.engines.tiny_network import tiny_model


class FakeGpu:
    """trt: the module. kernels: of an installation that has built them; without, it has not.

    Each engine has a driver of its own, as each has a Cuda of its own.
    """

    def __init__(
        self, family: str, *, sm: int = 86, can_capture: bool = True, kernels: dict[str, Any] | None = None
    ) -> None:
        self.device, self.can_capture, self.kernels = replace(AMPERE, sm=sm), can_capture, kernels or {}
        self.drivers: list[NumpyDriver] = []
        self.failing: tuple[str, int] | None = None
        self.trt = FakeTensorRT(family, self.drivers)

    def open_cuda(self) -> Cuda:
        self.drivers.append(NumpyDriver(self.can_capture, self.device, self.kernels))
        if self.failing is not None:
            self.drivers[-1].fail(*self.failing)
        return Cuda(self.drivers[-1])

    def kernels_image(self) -> bytes:
        if not self.kernels:
            raise BackendMissing("the CUDA kernels are not built")
        return b"stands for a fatbin"

    @property
    def leaks(self) -> list[str]:
        """What was left behind: of drivers, and of the vendor's objects."""
        return [leak for driver in self.drivers for leak in driver.leaks] + self.trt.alive

    @property
    def calls(self) -> list[str]:
        return [call for driver in self.drivers for call in driver.calls]


@pytest.fixture
def gpu(monkeypatch: Any, tmp_path: Any) -> Callable[..., FakeGpu]:
    """Puts a TensorRT of that family (and a GPU) into this process until the test ends."""

    def install(family: str = "10.3", **options: Any) -> FakeGpu:
        found = FakeGpu(family, **options)
        monkeypatch.setitem(sys.modules, "tensorrt_rtx" if family == "rtx" else "tensorrt", found.trt)
        monkeypatch.setattr(vendor, "missing_gpu", lambda: "")
        for module in (opening, plan_module):
            monkeypatch.setattr(module, "open_cuda", found.open_cuda)
        monkeypatch.setattr(opening, "missing_gpu", lambda: "")
        monkeypatch.setattr(kernels_module, "kernels_image", found.kernels_image)
        monkeypatch.setenv("FCN_EDGE_CACHE", str(tmp_path / "cache"))
        return found

    return install


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny network in a precision, changed by `change(model)`."""

    def make(precision: str = "fp32", *, change: Any = None, **options: Any) -> Path:
        model = tiny_model(precision, **options)
        if change is not None:
            change(model)
        path = tmp_path / f"tiny.{precision}.onnx"
        onnx.save(model, path)
        return path

    return make
