"""The soak of benchmarks/soak.py in short: nothing piles up while sources die and come back."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no engine to soak")
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"
MOST_GROWN_KB = 8_000  # a run that kept its frames would grow by 60 000; what is loaded once stays below


@pytest.fixture(scope="module")
def script():
    """The script of the shelf, which is no package."""
    spec = importlib.util.spec_from_file_location("soak_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak_script"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["soak_script"]


@pytest.mark.slow
def test_memory_files_and_threads_do_not_pile_up(script):
    found = script.soak(4000, 600.0, 50, None)
    assert sum(stream["reconnects"] for stream in found["summary"]["streams"]) >= 5
    assert found["summary"]["frames_out"] >= 4000
    samples = found["samples"]
    middle = samples[len(samples) // 2]
    assert samples[-1]["resident_kb"] - middle["resident_kb"] < MOST_GROWN_KB
    for what in ("files", "threads"):
        assert found[f"least_{what}"][1] <= found[f"least_{what}"][0]


@pytest.mark.parametrize(
    ("kb_per_s", "files", "ok"), [(0.0, 9, True), (0.9, 9, True), (1.5, 9, False), (0.0, 10, False)]
)
def test_verdict_needs_flat_memory_and_no_more_files(script, kb_per_s, files, ok):
    samples = [
        script.Sample(n, 100 * n, round(50_000 + kb_per_s * n), 9 if n < 500 else files, threads=7, tasks=12)
        for n in range(1000)
    ]
    assert script.verdict(samples)["ok"] is ok
