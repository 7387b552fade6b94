"""Verdicts from two records, without an engine, an image or numpy."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fcn_edge.errors import BadInput
from fcn_edge.gate import Limits, verdict_from_records

ROOT = Path(__file__).resolve().parents[1]
DEVICE = {"cpu": "AMD EPYC", "cores": 2, "instruction_sets": ["avx2", "avx512_vnni"]}

# `fcn-edge gate` in a process where everything heavier than the standard library and typer is refused.
GATE_ALONE = """
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED or name.startswith(("fcn_edge.engines", "fcn_edge.data", "fcn_edge.stream")):
            raise AssertionError(f"gate imports {name}")
sys.meta_path.insert(0, Refusing())
from fcn_edge.cli import main
main()
"""
REFUSED = ("numpy", "cv2", "onnx", "onnxruntime", "openvino", "torch", "tensorrt", "tensorrt_rtx", "safetensors")


def record(**changes):
    """A record of two rows on one device."""
    rows = [row("fp32", 0.60, 40.0), row("int8", 0.59, 20.0)]
    return {"schema": 1, "data": "camvid#val", "images": 101, "rows": rows, "device": DEVICE} | changes


def row(precision, miou, p50, **changes):
    return {
        "model": "fcn8s", "target": "openvino", "precision": precision, "execution": "f32", "height": 360,
        "width": 480, "miou": miou, "latency_ms": {"p50": p50},
    } | changes  # fmt: skip


def with_row(index, **changes):
    found = record()
    found["rows"][index] |= changes
    return found


def verdict_of(found, baseline=None, **limits):
    return verdict_from_records(found, baseline or record(), Limits(**limits))


def test_equal_records_pass_with_two_checks_a_row():
    verdict = verdict_of(record())
    assert verdict.verdict == "pass"
    names = [check.name for check in verdict.checks]
    assert names == [
        "fcn8s openvino fp32 f32 360x480: miou", "fcn8s openvino fp32 f32 360x480: latency p50 ms",
        "fcn8s openvino int8 f32 360x480: miou", "fcn8s openvino int8 f32 360x480: latency p50 ms",
    ]  # fmt: skip
    assert all(check.ok for check in verdict.checks)


@pytest.mark.parametrize(
    ("miou", "expected"), [(0.59, "pass"), (0.585, "pass"), (0.70, "pass"), (0.5849, "fail"), (0.0, "fail")]
)
def test_accuracy_may_fall_by_the_limit_and_no_further(miou, expected):
    assert verdict_of(with_row(1, miou=miou), miou_drop=0.5).verdict == expected


@pytest.mark.parametrize(("p50", "expected"), [(20.0, "pass"), (23.0, "pass"), (5.0, "pass"), (23.1, "fail")])
def test_latency_may_grow_by_the_ratio_and_no_further(p50, expected):
    assert verdict_of(with_row(1, latency_ms={"p50": p50}), latency_ratio=1.15).verdict == expected


def test_other_device_leaves_latency_undecided_and_accuracy_decided():
    other = DEVICE | {"cores": 8}
    verdict = verdict_of(record(device=other))
    assert verdict.verdict == "undecidable"
    oks = {check.name.rpartition(": ")[2]: check.ok for check in verdict.checks}
    assert oks == {"miou": True, "latency p50 ms": None}
    assert "another device" in verdict.checks[1].reason
    assert verdict_of(with_row(0, miou=0.2) | {"device": other}).verdict == "fail"


@pytest.mark.parametrize("device", [{}, {"device": None}, {"device": "epyc"}])
def test_unknown_device_is_not_the_same_device(device):
    found = {key: value for key, value in record().items() if key != "device"} | device
    assert verdict_of(found, found).verdict == "undecidable"


@pytest.mark.parametrize("change", [{"data": "camvid#test"}, {"images": 100}, {"images": None}])
def test_other_set_leaves_accuracy_undecided(change):
    verdict = verdict_of(record(**change))
    assert verdict.verdict == "undecidable"
    assert [check.ok for check in verdict.checks] == [None, True, None, True]


def test_row_that_is_missing_fails_and_one_more_does_not():
    longer = record(rows=[*record()["rows"], row("fp16", 0.6, 9.0)])
    verdict = verdict_of(record(), longer)
    assert verdict.verdict == "fail"
    assert (verdict.checks[-1].name, verdict.checks[-1].ok) == ("fcn8s openvino fp16 f32 360x480: row", False)
    assert verdict_of(longer).verdict == "pass"


@pytest.mark.parametrize(
    "value", [None, "0.6", True, [0.6], float("nan"), float("inf"), 10**400], ids=lambda value: str(value)[:6]
)
def test_what_is_no_number_was_not_measured(value):
    assert verdict_of(with_row(0, miou=value)).verdict == "undecidable"
    assert verdict_of(with_row(0, latency_ms={"p50": value})).verdict == "undecidable"
    assert verdict_of(with_row(0, latency_ms=value)).verdict == "undecidable"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, "not a benchmark record"),
        ({"schema": 2, "rows": [{}]}, "not a benchmark record"),
        (record(rows=[]), "not a benchmark record"),
        (record(rows={}), "not a benchmark record"),
        (record(rows=["fast"]), "row 1 says nothing of model, target"),
        (record(rows=[{"model": "fcn8s"}]), "row 1 says nothing of target, precision, execution, height, width"),
        (record(rows=[row("int8", 0.6, 1.0), row("int8", 0.6, 2.0)]), "two rows are fcn8s openvino int8 f32 360x480"),
        (record(rows=[row(["int8"], 0.6, 1.0)]), "row 1 says nothing of precision"),
    ],
)
def test_what_is_no_record_is_refused_on_either_side(found, told):
    with pytest.raises(BadInput, match=f"the record.*{told}"):
        verdict_of(found)
    with pytest.raises(BadInput, match=f"the baseline.*{told}"):
        verdict_from_records(record(), found)


@pytest.mark.parametrize("limits", [{"miou_drop": -1}, {"miou_drop": float("nan")}, {"latency_ratio": 0},
                                    {"latency_ratio": float("inf")}, {"miou_drop": 101}])  # fmt: skip
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(BadInput, match=r"expected 0\.\.100 points and a ratio above 0"):
        Limits(**limits)


def test_records_are_left_as_they_were():
    found, baseline = record(), record()
    before = copy.deepcopy((found, baseline))
    verdict_from_records(found, baseline)
    assert (found, baseline) == before


def gate(tmp_path, found, baseline, *words):
    for name, value in (("record", found), ("baseline", baseline)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    code = f"REFUSED = {REFUSED}{GATE_ALONE}"
    paths = [str(tmp_path / "record.json"), "--baseline", str(tmp_path / "baseline.json")]
    command = [sys.executable, "-c", code, "gate", *paths, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_command_runs_where_no_engine_and_no_numpy_can_be_loaded(tmp_path):
    done = gate(tmp_path, record(), record(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    verdict = json.loads(done.stdout)
    assert verdict["verdict"] == "pass"
    assert all(set(check) >= {"name", "value", "baseline", "limit", "power", "ok"} for check in verdict["checks"])
