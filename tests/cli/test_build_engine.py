"""`fcn-edge build-engine`: JSON, words for people, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusals import assert_names

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60  # a subprocess on a busy machine

BUILD_KEYS = {
    "engine",
    "manifest",
    "target",
    "precision",
    "execution",
    "miou",
    "miou_reference",
    "miou_drop",
    "kept_float",
    "seconds",
}


@pytest.mark.slow
def test_build_engine_from_a_checkpoint_tells_miou_and_drop(command, checkpoint_file, pairs, tmp_path):
    out = tmp_path / "engine"
    words = ["build-engine", checkpoint_file, "--target", "onnxruntime", "--precision", "int8", "--calib", pairs]
    words.append("--allow-overlap")
    found = command(*words, "--data", f"folder:{pairs}", "--out", out, "--json").json
    assert set(found) == BUILD_KEYS
    assert (found["engine"], found["manifest"]) == (str(out), str(out / "manifest.json"))
    assert found["miou_drop"] == pytest.approx(100 * (found["miou_reference"] - found["miou"]))
    done = command("inspect", out)
    assert "engine directory" in done.out and "int8" in done.out


@pytest.mark.slow
def test_build_engine_says_what_it_made(command, onnx_file, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed: it told no layers")
    done = command("build-engine", onnx_file, "--target", "openvino", "--out", tmp_path / "engine")
    assert_names(done.out, "fp32", "f32", "layers", "Convolution f32", "mIoU", "--data")


@pytest.mark.slow
def test_missed_budget_exits_1_and_leaves_no_engine(command, onnx_file, pairs, tmp_path, monkeypatch):
    mious = iter([0.42])  # of fp32; each INT8 file gets less
    monkeypatch.setattr("fcn_edge.calibration.budget.evaluate", lambda *_, **__: evaluated(next(mious, 0.30)))
    monkeypatch.setattr("fcn_edge.calibration.budget.layer_costs", lambda model: [])
    words = ["build-engine", onnx_file, "--target", "onnxruntime", "--precision", "int8", "--calib", pairs]
    words += ["--data", f"folder:{pairs}", "--allow-overlap", "--max-miou-drop", "5", "--json"]
    done = command(*words, "--out", tmp_path / "engine")
    done.refuses(1, "12.00", "budget", 5)
    assert done.json["exit_code"] == 1
    assert not (tmp_path / "engine").exists()


def evaluated(miou):
    import numpy as np

    from fcn_edge.evaluation import Evaluation
    from fcn_edge.metrics import Scores

    return Evaluation(Scores(miou, 0.5, 0.5, 0.5, ()), (), (), np.zeros((1, 1)))


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_engines_that_do_not_run_here_exit_3_with_what_is_missing(command, onnx_file, video, tmp_path, target):
    from fcn_edge.engines.trt.vendor import missing_gpu
    from tests.engines.directories import plan_directory

    if not missing_gpu():
        pytest.skip("there is a GPU here: what is missing was not told")
    mark = b"vtrt" if target == "tensorrt-rtx" else b"ftrt"
    folder = plan_directory(tmp_path / "engine", onnx_file, mark + b"\0" * 100, target=target)
    done = command("run", folder, "--source", video, "--sink", "null:")
    done.refuses(3, "NVIDIA driver", f"fcn-edge run {folder}/model.fp32.onnx --target")
    done = command("run", onnx_file, "--target", target, "--source", video, "--sink", "null:")
    done.refuses(3, "NVIDIA driver", f"fcn-edge run {onnx_file} --target openvino")


@pytest.mark.slow
def test_builder_options_reach_the_plan_and_its_command_lines(command, onnx_file, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: nothing was compiled")
    words = ["build-engine", onnx_file, "--target", "tensorrt-rtx", "--precision", "fp16", "--sm", "86,89"]
    words += ["--workspace", "256", "--builder-optimization-level", "2", "--sparsity", "--out", tmp_path / "engine"]
    done = command(*words)
    assert_names(done.out, "plan", "fp32", "kernels")
    assert "--computeCapabilities=86,89 " in done.out and "--sparsity=enable" in done.out
    manifest = json.loads((tmp_path / "engine" / "manifest.json").read_text())
    assert manifest["flags"]["workspace_mb"] == 256 and manifest["flags"]["optimisation_level"] == 2
    assert manifest["story"]["plan_bytes"] < manifest["story"]["fp32_plan_bytes"]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--target", "openvino", "--workspace", "64"], ("TensorRT", "openvino")),
        (["--target", "tensorrt-rtx", "--version-compatible"], ("version compatible", "tensorrt-rtx")),
        (["--target", "tensorrt-rtx", "--min-shapes", "frame:1x2"], ("--min-shapes", "--opt-shapes", "--max-shapes")),
        (["--target", "tensorrt", "--hardware-compatibility-level", "ampere"], ("ampere", "ampere+")),
        (
            ["--target", "tensorrt-rtx", "--min-shapes", "a:1", "--opt-shapes", "a:1", "--max-shapes", "b:1"],
            ("a:1 a:1 b:1", "NAME:1x360x480x3"),
        ),
    ],
)
def test_builder_options_that_do_not_fit_are_refused(command, onnx_file, tmp_path, words, facts):
    command("build-engine", onnx_file, *words, "--out", tmp_path / "engine").refuses(2, *facts)


def test_tensorrt_without_a_gpu_exits_3_and_says_what_is_missing(command, onnx_file, tmp_path, monkeypatch):
    import types

    from fcn_edge.engines.trt import vendor

    monkeypatch.setattr(vendor, "vendor_module", lambda target: types.SimpleNamespace(__version__="10.9"))
    monkeypatch.setattr(vendor, "missing_gpu", lambda: "there is no NVIDIA driver here (libcuda.so.1 not found)")
    done = command("build-engine", onnx_file, "--target", "tensorrt", "--out", tmp_path / "engine", "--json")
    done.refuses(3, "libcuda.so.1", "--target tensorrt-rtx")
    assert done.json["exit_code"] == 3 and not (tmp_path / "engine").exists()


def test_tensorrt_that_is_not_installed_exits_3_and_says_how_to_get_it(command, onnx_file, tmp_path):
    from importlib.util import find_spec

    if find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    done = command("build-engine", onnx_file, "--target", "tensorrt", "--out", tmp_path / "engine")
    done.refuses(3, "tensorrt", "fcn-edge[gpu]")


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--calib", "images"], ("--calib", "--precision int8")),
        (["--method", "minmax", "--placement", "x86"], ("--method", "--placement", "INT8")),
        (["--sm", "86"], ("--sm", "tensorrt-rtx")),
        (["--sm", "86,new"], ("--sm", "86,new", "86,89,120")),
        (["--precision", "fp16"], ("onnxruntime", "fp16", "fp32, int8")),
        (["--precision", "int8"], ("INT8", "--calib")),
        (["--max-miou-drop", "1"], ("--max-miou-drop", "--data")),
    ],
)
def test_words_that_do_not_go_together_are_refused(command, onnx_file, tmp_path, words, facts):
    out = tmp_path / "engine"
    command("build-engine", onnx_file, "--target", "onnxruntime", *words, "--out", out).refuses(2, *facts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_no_part_of_an_engine(onnx_file, tmp_path, number):
    words = ["build-engine", onnx_file, "--target", "onnxruntime", "--precision", "int8", "--images", 5000]
    words += ["--calib", "synthetic:street,seed=2,images=5000,size=64x96", "--out", tmp_path / "engine"]
    command = [sys.executable, "-m", "fcn_edge", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        while "calibrating" not in process.stderr.readline():
            assert process.poll() is None, "the build ended before its calibration"
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[1]
    finally:
        process.kill()
    assert (process.returncode, said) == (130, "fcn-edge: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_engine_directory_is_replaced_and_no_other_folder_is(command, onnx_file, int8_file, tmp_path):
    out, words = tmp_path / "engine", ["build-engine", "--target", "onnxruntime", "--out"]
    assert command(*words, out, int8_file, "--precision", "int8").code == 0
    assert command(*words, out, onnx_file).code == 0
    assert json.loads((out / "manifest.json").read_text())["precision"] == "fp32"
    other = tmp_path / "photos"
    other.mkdir()
    command(*words, other, onnx_file).refuses(2, "photos")
    shutil.copy(out / "manifest.json", other)
    (other / "holiday.jpg").write_bytes(b"x")
    command(*words, other, onnx_file).refuses(2, "photos", "holiday.jpg")
    assert (other / "holiday.jpg").is_file()
