"""Sets evaluated on a cluster: the same result bit for bit, also where a worker is killed meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fcn_edge import cluster
from fcn_edge.cluster import evaluate_on_ray
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.evaluate import evaluate_engine

STREETS = "synthetic:street,seed=7,images=96,size=64x96"
ONE = EngineOptions(threads=1)


@pytest.fixture(scope="module", autouse=True)
def needs_ray():
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'fcn-edge[cluster]'): no cluster was tried")


def started(*words, **options):
    """Ray itself gives up on a machine that is too busy to start it in half a minute."""
    try:
        return evaluate_on_ray(*words, **options)
    except BackendMissing as error:
        pytest.skip(f"no cluster was tried: {error}")


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

    return [pid for pid, name in names.items() if name.startswith("ray::_evaluated") and is_ours(pid)]


def test_killed_worker_loses_nothing_and_counts_nothing_twice(onnx_file):
    with open_engine(onnx_file, target="onnxruntime", options=ONE) as engine:
        local = evaluate_engine(engine, dataset_from_name(STREETS))
    killed, told = [], []

    def on_image(done, total):
        told.append((done, total))
        if not killed and (running := workers()):
            os.kill(running[0], signal.SIGKILL)
            killed.append(running[0])

    found = started(onnx_file, STREETS, target="onnxruntime", options=ONE, on_image=on_image)
    assert killed, "no worker was there to be killed"
    assert (found.confusion == local.confusion).all() and found.images == local.images
    assert found.scores == local.scores and told[-1] == (96, 96)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "Ray's own handler is gone with it"


def test_error_of_a_worker_is_the_error_of_the_command(onnx_file, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"broken\.onnx"):
        started(tmp_path / "broken.onnx", STREETS, target="onnxruntime")


def test_cluster_that_is_not_there_is_told(onnx_file, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "no address at all")
    with pytest.raises(BackendMissing, match="--cluster ray: not reached or not started"):
        evaluate_on_ray(onnx_file, STREETS, target="onnxruntime")


def test_without_ray_it_is_named(onnx_file, monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match=r"fcn-edge\[cluster\]"):
        evaluate_on_ray(onnx_file, STREETS, target="onnxruntime")
