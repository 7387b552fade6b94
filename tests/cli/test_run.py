"""`fcn-edge run`: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from fcn_edge import cluster
from fcn_edge.device import this_device
from fcn_edge.streaming.sources.video import VideoFile
from fcn_edge.streaming.writer import DEPTH
from tests.refusals import assert_names

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "frames_in",
    "frames_out",
    "dropped",
    "duplicated",
    "reconnects",
    "fps",
    "stages_ms",
    "frame_age_ms",
    "end_to_end_ms",
    "peak_rss_mb",
    "target",
    "precision",
    "execution",
}
STAGES = {"capture", "input", "infer", "view", "sink"}
FRAMES = 10  # of the fixture `video`
A_SECOND = 10  # frames of a video made of pictures
PATIENCE_S = 60  # a subprocess on a busy machine


def frames_in(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


@pytest.mark.slow
def test_json_has_the_keys_that_others_read(command, onnx_file, video, tmp_path):
    done = command("run", onnx_file, "--source", video, "--sink", tmp_path / "out.mp4", "--json")
    summary = done.json
    assert done.code == 0 and set(summary) >= KEYS
    assert set(summary["stages_ms"]) == STAGES
    for quantiles in (*summary["stages_ms"].values(), summary["frame_age_ms"], summary["end_to_end_ms"]):
        assert set(quantiles) == {"p50", "p99"}
    assert (summary["frames_in"], summary["frames_out"], summary["dropped"]) == (FRAMES, FRAMES, 0)
    assert (summary["precision"], summary["execution"]) == ("fp32", "f32")
    assert frames_in(tmp_path / "out.mp4") == FRAMES


@pytest.mark.slow
def test_packaged_network_runs_in_int8_unless_told_otherwise(command, video):
    words = ("run", "--source", video, "--sink", "null:", "--limit", 2, "--json")
    summary, told = command(*words).json, command(*words, "--execution", "f32").json
    assert summary["precision"] == ("int8" if this_device().has_vnni else "fp32")
    assert (told["precision"], told["execution"]) == ("fp32", "f32")


def test_several_sinks_are_served_at_once_and_told(command, onnx_file, video, tmp_path):
    masks, out = tmp_path / "masks", tmp_path / "out.mp4"
    done = command("run", onnx_file, "--source", video, "--sink", out, "--sink", f"{masks}/", "--limit", 4)
    assert done.code == 0
    assert len(list(masks.glob("*.png"))) == frames_in(out) == 4
    assert_names(done.out, out, "4 frames", f"{masks}/", "4 class maps")


@pytest.mark.slow
def test_broken_pictures_are_named_and_counted_and_the_rest_goes_on(command, onnx_file, broken_pairs, tmp_path):
    words = ["run", onnx_file, "--source", broken_pairs / "images", "--sink", f"{tmp_path / 'masks'}/"]
    done = command(*words)
    assert done.code == 0
    assert_names(done.out, "1 skipped", "street2.jpg")
    assert [path.stem for path in sorted((tmp_path / "masks").iterdir())] == ["street0", "street1", "street3"]
    summary = command(*words, "--json").json
    assert summary["frames_out"] == 3 and len(summary["skipped"]) == 1


@pytest.mark.slow
def test_recording_that_was_cut_off_exits_4_and_keeps_what_came(command, onnx_file, cut_video, tmp_path):
    out = tmp_path / "out.mp4"
    done = command("run", onnx_file, "--source", cut_video, "--sink", out, "--json")
    done.refuses(4, "cut.avi", "40 frames")
    summary = done.json
    assert "40 frames expected" in summary["lost"]
    assert 0 < summary["frames_out"] == frames_in(out) < 40


@pytest.mark.slow
def test_checkpoint_and_engine_directory_run_too(command, checkpoint_file, onnx_file, video, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed: no directory was built")
    engine = tmp_path / "engine"
    assert command("build-engine", onnx_file, "--target", "openvino", "--out", engine).code == 0
    for model, target in ((checkpoint_file, "pytorch"), (engine, "openvino")):
        done = command("run", model, "--source", video, "--sink", "null:", "--limit", 2, "--json")
        assert (done.code, done.json["target"]) == (0, target)


def test_network_made_elsewhere_runs_with_its_spec(command, foreign_file, spec_file, video):
    spec = spec_file("camvid")
    done = command("run", foreign_file, "--spec", spec, "--source", video, "--sink", "null:", "--json")
    assert (done.code, done.json["frames_out"]) == (0, FRAMES)


@pytest.mark.slow
def test_classes_can_be_left_undrawn_by_name(command, onnx_file, video):
    words = ["run", onnx_file, "--source", video, "--sink", "null:", "--limit", 1, "--ignore-class"]
    assert command(*words, "sky", "--ignore-class", "road").code == 0
    command(*words, "skye").refuses(2, "skye", "sky")


def test_full_disk_ends_a_run_with_whole_masks_only(command, onnx_file, video, tmp_path, full_disk, monkeypatch):
    masks = tmp_path / "masks"
    masks.mkdir()
    monkeypatch.setattr("fcn_edge.streaming.sinks.masks.require_writable", lambda folder: None)
    full_disk(masks)
    command("run", onnx_file, "--source", video, "--sink", f"{masks}/").refuses(2, "000000.png", "disk")
    assert list(masks.iterdir()) == []


def test_full_disk_ends_a_run_with_a_video_that_plays(command, onnx_file, video, tmp_path, monkeypatch):
    free = iter([2**30] * 4 + [0] * FRAMES)
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**30, 0, next(free)))
    out = tmp_path / "out.mp4"
    command("run", onnx_file, "--source", video, "--sink", out).refuses(2, "out.mp4", "disk")
    assert frames_in(out) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_the_video_and_print_the_summary(onnx_file, tmp_path, number):
    out, masks = tmp_path / "out.mp4", tmp_path / "masks"
    source = "synthetic:street,seed=4,images=5000,size=64x96"
    words = ["run", onnx_file, "--source", source, "--sink", out, "--sink", f"{masks}/", "--json"]
    command = [sys.executable, "-m", "fcn_edge", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        wait_for(lambda: len(list(masks.glob("street*.png"))) > 3, process)
        process.send_signal(number)
        printed, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0, said
    summary = json.loads(printed)
    assert summary["interrupted"] and 3 < summary["frames_out"] < 5000
    assert frames_in(out) == summary["frames_out"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "out.mp4"]


@pytest.mark.slow
def test_killed_run_leaves_a_video_that_plays_up_to_its_last_second(onnx_file, tmp_path):
    out, masks = tmp_path / "out.mp4", tmp_path / "masks"
    source = "synthetic:street,seed=4,images=5000,size=64x96"
    words = ["run", onnx_file, "--source", source, "--sink", out, "--sink", f"{masks}/"]
    process = subprocess.Popen([sys.executable, "-m", "fcn_edge", *map(str, words)], cwd=ROOT)
    try:
        wait_for(lambda: len(list(masks.glob("street*.png"))) > 30, process)
    finally:
        process.kill()  # SIGKILL: nothing of the program runs any more
        process.wait()
    seen = len(list(masks.glob("street*.png")))
    assert not out.exists()
    assert frames_in(tmp_path / "out.recording.mp4") >= seen - A_SECOND - DEPTH - 1
    assert command_line(*words[:-2], "--limit", "2").returncode == 0
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["out.killed-1.mp4", "out.mp4"]


def command_line(*words) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "fcn_edge", *map(str, words)], cwd=ROOT, timeout=PATIENCE_S)


def wait_for(is_true, process) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_true():
        assert process.poll() is None and time.monotonic() < until, "the run ended before its third frame"
        time.sleep(0.05)


def test_signal_handler_of_the_caller_is_given_back(command, onnx_file, video):
    before = signal.getsignal(signal.SIGTERM)
    command("run", onnx_file, "--source", video, "--sink", "null:", "--limit", 1)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "display://0"),
        (["--sink", "http://127.0.0.1:0"], "http://127.0.0.1:0"),
        (["--sink", "null:", "--policy", "newest"], "--policy newest"),
        (["--sink", "null:", "--event", "car>20%", "--events", "events.jsonl"], "--event, --events"),
    ],
)
def test_cluster_refuses_what_needs_one_machine(command, onnx_file, video, words, named):
    done = command("run", onnx_file, "--source", video, "--cluster", "ray", *words)
    done.refuses(2, "--cluster ray", named, "FOLDER/")


def test_cluster_refuses_live_sources_and_names_the_extra(command, onnx_file, video, monkeypatch):
    words = ["run", onnx_file, "--source", video, "--sink", "null:", "--target", "onnxruntime", "--cluster", "ray"]
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    command(*words).refuses(3, "fcn-edge[cluster]")
    monkeypatch.setattr(VideoFile, "is_live", True)
    command(*words).refuses(2, "--cluster ray", "noise.mp4")
