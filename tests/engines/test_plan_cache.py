"""The cache of plans: keyed by all that matters, bounded, and safe with two processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcn_edge.engines import open_engine
from fcn_edge.engines.trt import cache
from fcn_edge.engines.trt.cache import cached_plan
from fcn_edge.errors import BadInput
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]
TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from fcn_edge.engines.trt.cache import cached_plan
def build():
    with open(sys.argv[1], "a") as file: file.write("built\\n")
    time.sleep(0.5)
    return b"plan" * 1000
print(len(cached_plan({"onnx": "a"}, build)))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never():
    raise AssertionError("built again")


def test_plan_is_built_once(folder):
    assert cached_plan({"a": 1}, lambda: b"one") == b"one"
    assert cached_plan({"a": 1}, never) == b"one"
    assert cached_plan({"a": 2}, lambda: b"two") == b"two"


def test_build_that_fails_leaves_nothing_and_is_tried_again(folder):
    with pytest.raises(ZeroDivisionError):
        cached_plan({"a": 1}, lambda: bytes([1 // 0]))
    assert cached_plan({"a": 1}, lambda: b"one") == b"one"
    assert not [entry for entry in folder.iterdir() if entry.name.startswith(".")]


@pytest.mark.parametrize("damage", ["cut", "exchanged note", "missing plan"])
def test_damaged_entry_is_built_again(folder, damage):
    cached_plan({"a": 1}, lambda: b"one")
    entry = next(path for path in folder.iterdir() if path.is_dir())
    if damage == "cut":
        (entry / "model.plan").write_bytes(b"o")
    elif damage == "missing plan":
        (entry / "model.plan").unlink()
    else:
        (entry / "key.json").write_text('{"a": 2, "bytes": 3}')
    assert cached_plan({"a": 1}, lambda: b"two") == b"two"


def test_what_was_not_used_for_longest_goes_first(folder, monkeypatch):
    monkeypatch.setenv("FCN_EDGE_CACHE_MB", "1")
    half = b"x" * (450 << 10)
    for number in range(2):
        cached_plan({"a": number}, lambda: half)
    for number, entry in enumerate(sorted((p for p in folder.iterdir() if p.is_dir()), key=os.path.getmtime)):
        os.utime(entry, (time.time() - 100 + number,) * 2)
    cached_plan({"a": 0}, never)  # used now
    cached_plan({"a": 2}, lambda: half)
    cached_plan({"a": 0}, never)
    assert cached_plan({"a": 1}, lambda: b"again") == b"again"


def test_plan_larger_than_the_limit_is_still_kept(folder, monkeypatch):
    monkeypatch.setenv("FCN_EDGE_CACHE_MB", "0")
    cached_plan({"a": 1}, lambda: b"large")
    assert cached_plan({"a": 1}, never) == b"large"
    cached_plan({"a": 2}, lambda: b"other")
    assert cached_plan({"a": 1}, lambda: b"anew") == b"anew"


@pytest.mark.slow
def test_two_processes_build_once(folder, tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", TWO_AT_ONCE, str(log)]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[0].strip() for run in runs] == ["4000", "4000"]
    assert log.read_text() == "built\n"


def test_folder_that_cannot_be_written_and_a_limit_that_is_no_number_are_reported(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FCN_EDGE_CACHE", str(tmp_path / "file"))
    with refused(BadInput, "file", "FCN_EDGE_CACHE"):
        cached_plan({"a": 1}, lambda: b"one")
    monkeypatch.setenv("FCN_EDGE_CACHE_MB", "much")
    with refused(BadInput, "FCN_EDGE_CACHE_MB", "much", 4096):
        cache.limit_bytes()


@pytest.mark.slow
def test_everything_that_a_plan_depends_on_is_in_its_key(gpu, onnx_file, int8_file):
    """Another file, TensorRT, GPU or SM is another plan; the same again is not."""
    builds = 0
    for family, sm, file in (
        ("10.3", 86, onnx_file),
        ("10.3", 86, int8_file),
        ("10.13", 86, onnx_file),
        ("10.3", 89, onnx_file),
    ):
        for _ in range(2):
            found = gpu(family, sm=sm)
            open_engine(file, target="tensorrt").close()
            builds += found.trt.calls.count("Builder.build_serialized_network")
    assert builds == 4
    assert len([entry for entry in cache.cache_folder().iterdir() if entry.is_dir()]) == 4
