"""The whole pipeline in one command: on a tiny network in any case, on the packaged one where it is there."""

from __future__ import annotations

from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from fcn_edge import demo
from fcn_edge.benchmark import BenchOptions
from fcn_edge.benchmark.cold_start import NOTHING
from fcn_edge.engines.manifest import LayerReport, Manifest
from fcn_edge.errors import BadInput
from fcn_edge.records import Record
from fcn_edge.registry import packaged_file
from tests.refusals import assert_names, refused

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: the demo calibrates with it")

PARTS = ("street.fp32.onnx", "street.int8.onnx", "street.table.json", "street.mp4", "street.png", "report.md")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The same pipeline on a few small pictures."""
    monkeypatch.setattr(demo, "CALIBRATION", "synthetic:street,seed=2,images=2,size=64x96")
    monkeypatch.setattr(demo, "EVALUATION", "synthetic:street,seed=3,images=2,size=64x96")
    monkeypatch.setattr(demo, "VIDEO", "synthetic:street,seed=4,images=6,size=64x96,video=1")
    monkeypatch.setattr(demo, "BenchOptions", lambda rounds: BenchOptions(rounds=1, frames=1, warmup=1))
    monkeypatch.setattr("fcn_edge.benchmark.measurement.fresh_process", lambda variant: dict.fromkeys(NOTHING, 100.0))


@pytest.fixture
def tiny(monkeypatch, checkpoint_file, onnx_file):
    """The tiny network in the packaged one's place."""
    files = {".safetensors": checkpoint_file, ".onnx": onnx_file}
    monkeypatch.setattr(demo, "packaged_file", files.__getitem__)


@pytest.fixture
def without(monkeypatch):
    """The demo on a machine without these targets."""
    real = demo.available_targets

    def hide(*targets):
        monkeypatch.setattr(demo, "available_targets", lambda: tuple(t for t in real() if t not in targets))

    return hide


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "my.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (96, 64))
    for image in np.random.default_rng(0).integers(0, 255, (5, 64, 96, 3), np.uint8):
        writer.write(image)
    writer.release()
    return path


class Notes:
    """Keeps the lines that are for people."""

    def __init__(self):
        self.lines = []

    def update(self, task, done, total=None):
        pass

    def note(self, text):
        self.lines.append(text)


def check_demo(result, out):
    for name in PARTS:
        assert (out / name).stat().st_size > 0 and str(out / name) in result.files
    rows = result.record.rows
    assert {row.precision for row in rows} == {"fp32", "int8"} and all(row.miou is not None for row in rows)
    assert Record.from_file(out / "bench" / "record.json") == result.record
    page = (out / "report.md").read_text()
    assert page.count("\n| int8 | ") == sum(row.precision == "int8" for row in rows)
    assert not any(word in page for word in ("None", "{", "nan"))


@pytest.mark.slow
def test_demo_ends_in_engines_figures_a_video_and_a_report(tiny, tmp_path):
    notes, out = Notes(), tmp_path / "demo"
    result = demo.run_demo(out, progress=notes)
    check_demo(result, out)
    assert result.summary["frames_out"] == 6
    assert notes.lines[0].startswith("exporting") and notes.lines[-1].startswith("segmenting")
    assert ("pytorch" in {row.target for row in result.record.rows}) == (find_spec("torch") is not None)
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: the demo compiled no NVIDIA engine, the rest was checked")
    assert [manifest.precision for manifest in result.nvidia] == ["fp16", "int8"]
    assert (out / "street.int8.rtx" / "model.plan").stat().st_size > 0
    assert_names((out / "report.md").read_text(), "52 of 52 convolutions", "INT8")


@pytest.mark.slow
def test_own_video_is_segmented(tiny, without, video, tmp_path):
    without("tensorrt-rtx", "pytorch", "openvino")
    notes = Notes()
    result = demo.run_demo(tmp_path / "demo", source=str(video), progress=notes)
    assert (result.summary["frames_out"], result.summary["source"]) == (5, str(video))
    assert_names(" ".join(notes.lines), "PyTorch", "TensorRT-RTX")
    assert result.nvidia == ()


def test_wrong_source_and_wrong_folder_are_told_before_anything_is_made(tiny, tmp_path, video, monkeypatch):
    monkeypatch.setattr(demo, "export", lambda *_: pytest.fail("exported nevertheless"))
    with refused(BadInput, "none.mp4"):
        demo.run_demo(tmp_path / "demo", source=str(tmp_path / "none.mp4"))
    with refused(BadInput, video / "demo", "Not a directory"):
        demo.run_demo(video / "demo")


@pytest.mark.slow
def test_demo_of_the_packaged_network(without, tmp_path):
    try:
        packaged_file(".safetensors"), packaged_file(".onnx")
    except BadInput as error:
        pytest.skip(f"{error}: only a tiny network was used")
    without("tensorrt-rtx")  # compiling its engines is the tiny network's part
    check_demo(demo.run_demo(tmp_path / "demo"), tmp_path / "demo")


@pytest.mark.parametrize(
    ("report", "facts"),
    [
        (LayerReport(convolutions_int8=50, convolutions_float=2), ("50 of 52 convolutions", "INT8")),
        (LayerReport(), ("tensorrt-rtx 1.4", "int8")),
        (None, ("tensorrt-rtx 1.4", "int8")),
    ],
)
def test_layer_report_of_the_compiler_in_words(report, facts):
    manifest = Manifest(target="tensorrt-rtx", runtime="tensorrt-rtx 1.4", precision="int8", layer_report=report)
    assert_names(demo.plan_in_words(manifest), *facts)
