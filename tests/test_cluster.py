"""Sets and recordings on a cluster: the same result bit for bit, also where a worker is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import ExitStack, nullcontext
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

from fcn_edge import cli, cluster
from fcn_edge.cluster import evaluate_on_ray, run_on_ray
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.evaluation import evaluate
from fcn_edge.schema import to_mapping
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.sinks import sinks_of_sources
from fcn_edge.streaming.sources import source_from_uri
from tests.cli.conftest import write_pairs, write_video
from tests.refusals import refused

STREETS = "synthetic:street,seed=7,images=96,size=64x96"
ONE = EngineOptions(threads=1)
LENGTHS = (12, 400, 300)  # frames; the first is done long before the others
MEASURED = {
    "fps",
    "seconds",
    "stages_ms",
    "frame_age_ms",
    "end_to_end_ms",
    "peak_rss_mb",
    "first_frame_ms",
    "last_frame_ms",
    "longest_gap_ms",
}


class Watching:
    """A progress that calls a function; what is for people is dropped."""

    def __init__(self, update):
        self.update = update

    def note(self, text):
        pass


@pytest.fixture(scope="module", autouse=True)
def needs_ray():
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install 'fcn-edge[cluster]'): no cluster was tried")
    os.environ[cluster.BEYOND_THIS_MACHINE] = "0"  # before a test that names another cluster imports Ray


@pytest.fixture(scope="module")
def started():
    """One cluster of this machine's cores for all tests that need one; those that need none stand before them."""
    with ExitStack() as ends, pytest.MonkeyPatch.context() as patch:
        try:
            ray = ends.enter_context(cluster._cluster())
        except BackendMissing as error:  # Ray gives up on a machine that is too busy to start it in half a minute
            pytest.skip(f"no cluster was tried: {error}")
        patch.setattr(cluster, "_cluster", lambda: nullcontext(ray))
        yield


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A folder of three videos and a text; never written to."""
    folder = tmp_path_factory.mktemp("archive")
    for name, length in zip("abc", LENGTHS):
        write_video(folder / f"{name}.mp4", "mp4v", length)
    (folder / "notes.txt").write_text("not a video")
    return folder


def segmented_locally(model, recordings, sinks):
    with ExitStack() as ends:
        engine = ends.enter_context(open_engine(model, target="onnxruntime", options=ONE))
        sources = [ends.enter_context(source_from_uri(uri)) for uri in recordings]
        own = sinks_of_sources(sinks, engine, sources, ends)
        return run_feeds([Feed(source, those) for source, those in zip(sources, own)], engine)


def counted(summary) -> dict:
    """A summary's JSON without what a clock says, and its streams'."""
    kept = {key: value for key, value in summary.items() if key not in MEASURED | {"outputs", "notes"}}
    return {**kept, "streams": [{k: v for k, v in row.items() if k not in MEASURED} for row in summary["streams"]]}


def files_below(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern)}


def frames_of(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    return sum(1 for _ in iter(lambda: capture.read()[0], False))


def workers() -> list[int]:
    """Ray's workers that run a unit now and descend from this process."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile
            continue

    def is_ours(pid: int) -> bool:
        while pid in parents and pid > 1:
            pid = parents[pid]
            if pid == os.getpid():
                return True
        return False

    return [pid for pid, name in names.items() if name.startswith("ray::_worked") and is_ours(pid)]


def test_cluster_that_is_not_there_is_told(onnx_file, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "no address")
    with refused(BackendMissing, "ray", "no address"):
        evaluate_on_ray(onnx_file, STREETS, target="onnxruntime")


def test_without_ray_it_is_named(onnx_file, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with refused(BackendMissing, "fcn-edge[cluster]"):
        evaluate_on_ray(onnx_file, STREETS, target="onnxruntime")


@pytest.mark.slow
def test_cluster_of_our_own_listens_on_this_machine_only(started):
    with cluster._cluster() as ray:
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == [cluster.LOOPBACK]


@pytest.mark.slow
def test_killed_worker_loses_nothing_and_counts_nothing_twice(started, onnx_file):
    with open_engine(onnx_file, target="onnxruntime", options=ONE) as engine:
        local = evaluate(engine, dataset_from_name(STREETS))
    killed, told = [], []

    def update(task, done, total):
        told.append((done, total))
        if not killed and (running := workers()):
            os.kill(running[0], signal.SIGKILL)
            killed.append(running[0])

    found = evaluate_on_ray(onnx_file, STREETS, target="onnxruntime", options=ONE, progress=Watching(update))
    assert killed, "no worker was there to be killed"
    assert (found.confusion == local.confusion).all() and found.images == local.images
    assert found.scores == local.scores and told[-1] == (96, 96)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "Ray's own handler is gone with it"


@pytest.mark.slow
def test_killed_worker_begins_its_recording_again(started, onnx_file, archive, tmp_path):
    recordings = [str(archive / f"{name}.mp4") for name in "abc"]
    local, spread = ([f"{tmp_path}/{where}/masks/", f"{tmp_path}/{where}/out.mp4"] for where in ("local", "spread"))
    expected = segmented_locally(onnx_file, recordings, local)
    unfinished, told = {}, []

    def update(task, done, total):
        told.append((done, total))
        while not unfinished and not any(
            (tmp_path / f"spread/masks/{number}/000009.png").exists() for number in (1, 2)
        ):
            time.sleep(0.01)
        for pid in [] if unfinished else workers():
            os.kill(pid, signal.SIGKILL)
            unfinished[pid] = len(files_below(tmp_path / "spread", "*.png"))

    found = run_on_ray(onnx_file, recordings, spread, target="onnxruntime", options=ONE, progress=Watching(update))
    assert unfinished and max(unfinished.values()) < sum(LENGTHS), "no worker was in the middle of a recording"
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert counted(to_mapping(found)) == counted(to_mapping(expected))
    assert [row.frames_out for row in found.streams] == list(LENGTHS)
    maps = files_below(tmp_path / "spread/masks", "[0-9]*.png")
    assert maps == files_below(tmp_path / "local/masks", "*.png") and len(maps) == sum(LENGTHS)
    assert [frames_of(tmp_path / f"spread/out-{number}.mp4") for number in range(3)] == list(LENGTHS)
    assert tuple(text.replace("/spread/", "/local/") for text in found.outputs) == expected.outputs
    assert any("killed" in note for note in found.notes), "what the killed worker had recorded is told"


@pytest.mark.slow
def test_command_line_takes_a_pattern_a_limit_and_a_schedule(started, onnx_file, archive, monkeypatch, capsys):
    monkeypatch.chdir(archive.parent)

    def command(*words):
        fixed = ["--target", "onnxruntime", "--threads", "1", "--schedule", "fixed:2", "--limit", "7", "--json"]
        monkeypatch.setattr(sys, "argv", ["fcn-edge", "run", str(onnx_file), *words, "--sink", "null:", *fixed])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    local = command(*(word for name in "abc" for word in ("--source", f"{archive.name}/{name}.mp4")))
    found = command("--source", f"{archive.name}/*.mp4", "--cluster", "ray")
    assert counted(found) == counted(local) and found["frames_out"] == 21
    assert found.keys() == local.keys() and found["stage_runs"][0]["frames"] == 21
    assert found["stages_ms"]["infer"]["p50"] > 0 and found["end_to_end_ms"]["p99"] > 0


@pytest.mark.slow
def test_interrupted_run_tells_of_what_was_done(started, onnx_file, archive):
    def update(task, done, total):
        raise KeyboardInterrupt

    found = run_on_ray(
        onnx_file, [str(archive / "a.mp4")] * 3, ["null:"], target="onnxruntime", options=ONE, progress=Watching(update)
    )
    assert found.interrupted and (found.frames_out, len(found.streams)) == (LENGTHS[0], 1)


@pytest.mark.slow
def test_images_that_do_not_decode_are_left_out_as_in_a_local_run(started, onnx_file, tmp_path):
    root = write_pairs(tmp_path / "streets", 20)
    images = sorted((root / "images").iterdir())
    for path in images[: cluster.PART]:
        path.write_bytes(b"this is no picture")
    with open_engine(onnx_file, target="onnxruntime", options=ONE) as engine:
        local = evaluate(engine, dataset_from_name(f"folder:{root}"))
    found = evaluate_on_ray(onnx_file, f"folder:{root}", target="onnxruntime", options=ONE)
    assert (found.images, found.skipped, found.scores) == (local.images, local.skipped, local.scores)
    assert (len(found.images), len(found.skipped)) == (4, 16)
    for path in images:
        path.write_bytes(b"this is no picture")
    with refused(BadInput, "20 images", "street0.jpg"):
        evaluate_on_ray(onnx_file, f"folder:{root}", target="onnxruntime", options=ONE)


@pytest.mark.slow
def test_error_of_a_worker_is_the_error_of_the_command(started, onnx_file, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with refused(BadInput, "broken.onnx"):
        evaluate_on_ray(tmp_path / "broken.onnx", STREETS, target="onnxruntime")
