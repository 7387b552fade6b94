"""benchmarks/gpu_smoke.py as far as a machine without a GPU allows: its checks find faults, and pass none by."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fcn_edge.engines import open_engine
from fcn_edge.engines.trt.cuda import Cuda
from fcn_edge.engines.trt.vendor import missing_gpu
from fcn_edge.errors import BadInput
from tests.engines.kernel_shim import GuardedDriver, shim_kernels, shim_library

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu_smoke.py"
IMAGE = b"stands for a fatbin"


@pytest.fixture(scope="module")
def smoke():
    spec = importlib.util.spec_from_file_location("gpu_smoke", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def report(smoke):
    return smoke.Report(lambda text: None)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return shim_library(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def gpu(library):
    """Cuda on numpy with the real kernels."""
    cuda = Cuda(GuardedDriver(kernels=shim_kernels(library)))
    with cuda.active():
        yield cuda
    cuda.close()


@pytest.fixture
def small(smoke, monkeypatch):
    """Frames that numpy's GPU is through with quickly."""
    monkeypatch.setattr(smoke, "FRAME", (90, 160))
    shapes = {name: case for name, case in smoke.SHAPES.items() if name in ("odd sizes", "one class")}
    monkeypatch.setattr(smoke, "SHAPES", shapes)
    monkeypatch.setattr(smoke, "WARM_UP", 1)


@pytest.mark.skipif(not missing_gpu(), reason="this machine has a GPU: run benchmarks/gpu_smoke.py itself")
def test_without_a_gpu_it_says_what_is_missing_and_writes_nothing(tmp_path):
    command = [sys.executable, str(SCRIPT), "--out", "record.json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 3 and "NVIDIA" in done.stderr
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_interface_and_kernels_agree_on_the_shim(smoke, report, gpu, small):
    smoke.check_interface(gpu, report)
    smoke.check_kernels(gpu, report, IMAGE)
    assert report.failed == [] and len(report.checks) == 2 + 1 + 4 + 2
    gpu.driver.check_margins()


@pytest.mark.parametrize("kernel", ["view_bgr_f32", "input_frames_nv12", "input_frames_bgr"])
def test_kernel_that_is_wrong_is_found(smoke, report, gpu, small, kernel):
    def silent(driver, grid, block, args):
        """Writes nothing: what is read back is poison."""

    gpu.driver.kernels[kernel] = silent
    smoke.check_kernels(gpu, report, IMAGE)
    assert len(report.failed) >= 1 and report.checks[0]["ok"]


def test_kernels_that_do_not_load_are_one_failure(smoke, report, gpu):
    gpu.driver.fail("load_module")
    smoke.check_kernels(gpu, report, IMAGE)
    assert report.failed == ["CUDA kernels: load"] and "reinstall" in report.checks[0]["wrong"][0]


def test_kernels_are_timed_by_the_device(smoke, report, gpu, small):
    with open_engine(None, target="reference") as engine:
        smoke.time_kernels(gpu, report, engine.spec, 3, IMAGE)
    assert report.failed == [] and set(report.times) == {"input kernel", "view kernel"}
    assert report.times["view kernel"]["samples"] == 3 and {"p50", "p95", "p99"} <= set(report.times["view kernel"])


def test_check_that_breaks_is_recorded_and_the_next_goes_on(smoke, report):
    for error in (BadInput("a plain sentence"), ZeroDivisionError("a defect")):
        with report.checked(str(error)):
            raise error
    with report.checked("fine"):
        pass
    assert report.failed == ["a plain sentence", "a defect"]
    assert report.checks[0]["wrong"] == ["a plain sentence"] and "Traceback" in report.checks[1]["wrong"][0]


@pytest.fixture
def built(smoke, monkeypatch, onnx_file, frame):
    """check_engine with an engine that is there: ONNX Runtime in the place of TensorRT, on a small network."""

    def build(model, out, **options):
        (out / "spec").mkdir(parents=True)
        (out / "model.onnx").write_bytes(onnx_file.read_bytes())

    real = open_engine
    monkeypatch.setattr("fcn_edge.build.build_engine", build)
    monkeypatch.setattr(
        smoke,
        "open_engine",
        lambda path, target="onnxruntime", options=None: real(
            path if path.is_file() else path / "model.onnx", target=target
        ),
    )
    monkeypatch.setattr(smoke, "FRAME", frame.shape[:2])
    monkeypatch.setattr(smoke, "WARM_UP", 1)
    monkeypatch.setattr(
        smoke, "dataset_from_name", lambda name: SimpleNamespace(items=[SimpleNamespace(image=lambda: frame)])
    )
    return smoke


@pytest.mark.slow
def test_engine_that_agrees_is_timed_with_and_without_a_graph(built, report, tmp_path):
    built.check_engine("tensorrt", "fp32", tmp_path, report, 2)
    assert report.failed == []
    timed = {
        f"tensorrt fp32, {what} {how} a CUDA graph"
        for what in ("network", "whole frame")
        for how in ("with", "without")
    }
    assert set(report.times) == timed


def test_engine_that_computes_something_else_is_found_and_not_timed(built, report, tmp_path, monkeypatch):
    monkeypatch.setattr(
        built, "class_map_from_output", lambda scores, spec, size: np.random.default_rng().integers(0, 9, size)
    )
    built.check_engine("tensorrt", "fp32", tmp_path, report, 2)
    assert len(report.failed) == 1 and "pixels" in report.checks[0]["wrong"][0] and report.times == {}


def test_record_says_all_and_the_exit_code_follows(smoke, monkeypatch, tmp_path, gpu, capsys):
    def run(cuda, report, rounds):
        with report.checked("one that fails") as wrong:
            wrong.append("because")

    monkeypatch.setattr(smoke, "missing_gpu", lambda: "")
    monkeypatch.setattr(smoke, "open_cuda", lambda: Cuda(GuardedDriver()))
    monkeypatch.setattr(smoke, "run", run)
    monkeypatch.setattr(sys, "argv", ["gpu_smoke.py", "--out", str(tmp_path / "record.json")])
    assert smoke.main() == 1
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert record["failed"] == ["one that fails"] and record["gpu"]["sm"] == 86 and record["cuda"] == "numpy 1"
    assert {"versions", "device", "findings", "date", "git", "times_ms", "seconds"} <= set(record)
    assert "one that fails" in capsys.readouterr().out
