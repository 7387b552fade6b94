"""Verdicts from two records, without an engine or an image."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fcn_edge.errors import BadInput, CheckFailed, Undecidable
from fcn_edge.gating import Limits, gate, limits_from, update_baseline
from fcn_edge.gating.plausibility import require_plausible
from fcn_edge.records import Record
from tests.benchrecords import DEVICE, drawn_images, record, record_table, row, sealed
from tests.refusals import assert_names, refused

ROOT = Path(__file__).resolve().parents[1]
OTHER_DEVICE = DEVICE | {"name": "xeon-2c", "cpu": "Xeon", "instruction_sets": ["avx2"]}

# `fcn-edge gate` in a process where everything heavier than numpy and typer is refused.
GATE_ALONE = """
import sys
HEAVY = ("fcn_edge.engines", "fcn_edge.data", "fcn_edge.streaming")
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED or name.startswith(HEAVY):
            raise AssertionError(f"gate imports {name}")
sys.meta_path.insert(0, Refusing())
from fcn_edge.cli import main
main()
"""
REFUSED = ("cv2", "onnx", "onnxruntime", "openvino", "torch", "tensorrt", "tensorrt_rtx", "safetensors")


@pytest.fixture(scope="module")
def baseline():
    return record()


def verdict_of(found, baseline, limits=None):
    """The verdict on a record."""
    return gate(found, baseline, limits=limits)


def named(verdict, end):
    """The check of the int8 row whose name ends so."""
    return next(check for check in verdict.checks if "int8" in check.name and check.name.endswith(end))


def test_equal_records_pass_and_every_row_has_its_checks(baseline):
    verdict = verdict_of(baseline, baseline)
    assert verdict.verdict == "pass" and verdict.notes == ()
    ends = [check.name.rpartition(": ")[2] for check in verdict.checks]
    assert ends == ["miou", "latency", "MB", "peak MB"] * 2
    assert "equal" in named(verdict, "miou").reason


@pytest.mark.parametrize("seed", range(20))
def test_another_run_of_the_same_never_fails(baseline, seed):
    """A day on which all is slower by half, and noisier."""
    rows = [row("fp32", ms=40.0, seed=100 + seed, slow=1.5, noise=0.05), row(seed=200 + seed, slow=1.5, noise=0.05)]
    verdict = verdict_of(record(*rows), baseline)
    assert verdict.verdict != "fail", [check for check in verdict.checks if check.ok is False]


def test_where_other_processes_used_the_cpu_cpu_times_are_compared(baseline):
    """Frames three times as long beside a reference workload that is less so: another process, not another network."""
    busy = row(ms=60.0, seed=5)
    busy |= {"cpu_ms": row(seed=6)["cpu_ms"], "preemptions": [30] * 20}
    check = named(verdict_of(record(row("fp32", ms=40.0), busy), baseline), "latency")
    assert check.ok is True and "CPU time" in check.reason
    slower = busy | {"cpu_ms": [1.25 * value for value in busy["cpu_ms"]]}
    assert named(verdict_of(record(row("fp32", ms=40.0), slower), baseline), "latency").ok is False
    calm = busy | {"preemptions": [2] * 20}
    assert named(verdict_of(record(row("fp32", ms=40.0), calm), baseline), "latency").ok is False, "it waits"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [1.2, 1.5])
def test_slowdown_of_a_fifth_is_caught_whatever_the_day(baseline, factor, seed):
    verdict = verdict_of(record(row("fp32", ms=40.0), row(ms=20 * factor, seed=300 + seed, slow=0.7)), baseline)
    assert named(verdict, "latency").ok is False and verdict.verdict == "fail"


def test_slowdown_within_the_limit_passes_and_one_at_it_is_undecidable(baseline):
    assert named(verdict_of(record(row("fp32"), row(ms=20.6)), baseline), "latency").ok is True
    at = named(verdict_of(record(row("fp32"), row(ms=22.0, seed=3)), baseline), "latency")
    assert at.ok is None and "undecided" in at.reason
    assert at.low < at.limit < at.high


def test_too_much_noise_asks_for_more_rounds(baseline):
    noisy = verdict_of(record(row("fp32", ms=40.0), row(rounds=10, noise=0.12, seed=5)), baseline)
    check = named(noisy, "latency")
    assert check.ok is None and "24 rounds" in check.reason and noisy.verdict == "undecidable"
    assert check.power > 1.2, "and says that a fifth could not have been seen"
    hopeless = named(verdict_of(record(row("fp32", ms=40.0), row(rounds=8, noise=0.8, seed=5)), baseline), "latency")
    assert hopeless.ok is None and "quieter machine" in hopeless.reason


def test_few_rounds_are_no_test(baseline):
    check = named(verdict_of(record(row("fp32", ms=40.0), row(rounds=3)), baseline), "latency")
    assert check.ok is None and "6 or more" in check.reason


def test_rounds_that_resemble_their_neighbours_count_for_fewer(baseline):
    """A load that stays for half the run leaves the interval wide, where as many independent rounds would not."""
    calm, slow = row(noise=0.01), row(noise=0.01, ms=22.0)
    raw = calm["latency_ms"]["raw"][:50] + slow["latency_ms"]["raw"][50:]
    mixed = [part for pair in zip(calm["latency_ms"]["raw"], slow["latency_ms"]["raw"]) for part in pair][:100]
    widths = []
    for values in (raw, mixed):
        latency = calm["latency_ms"] | {"raw": values}
        check = named(verdict_of(record(row("fp32"), calm | {"latency_ms": latency}), baseline), "latency")
        widths.append(check.high - check.low)
    assert widths[0] > widths[1]


@pytest.mark.parametrize("lost", [0.02, 0.05])
def test_loss_of_accuracy_beyond_the_limit_is_caught(baseline, lost):
    check = named(verdict_of(record(row("fp32"), row(images=drawn_images(lost=lost))), baseline), "miou")
    assert check.ok is False and check.value < check.limit and check.power > 0.5


def test_small_loss_passes_and_one_near_the_limit_is_undecidable(baseline):
    small = named(verdict_of(record(row("fp32"), row(images=drawn_images(lost=0.001))), baseline), "miou")
    assert small.ok is True and small.value < small.baseline
    near = drawn_images(lost=0.004, spread=8)
    check = named(verdict_of(record(row("fp32"), row(images=near)), baseline, Limits(max_miou_drop=0.5)), "miou")
    assert check.ok is None and "labelled images" in check.reason


def test_one_class_lost_is_caught_by_its_name_where_asked(baseline):
    found = record(row("fp32"), row(images=drawn_images(no_class=2)))
    loose = Limits(max_miou_drop=60)
    assert verdict_of(found, baseline, loose).verdict == "pass"
    verdict = verdict_of(found, baseline, Limits(max_miou_drop=60, max_class_drop=5))
    assert [check.name for check in verdict.checks if check.ok is False][
        -1
    ] == "fcn8s openvino int8 f32 360x480: IU of car"


@pytest.mark.parametrize(("change", "end"), [({"size_mb": 3.6}, "MB"), ({"peak_rss_mb": 230.0}, "peak MB")])
def test_growth_of_file_and_memory_is_caught(baseline, change, end):
    verdict = verdict_of(record(row("fp32", ms=40.0), row(**change)), baseline)
    assert [check.name.rpartition(": ")[2] for check in verdict.checks if check.ok is False] == [end]


def test_memory_that_was_not_measured_is_undecidable(baseline):
    assert named(verdict_of(record(row("fp32", ms=40.0), row(peak_rss_mb=None)), baseline), "peak MB").ok is None


def test_row_that_is_missing_fails_and_one_more_is_told(baseline):
    verdict = verdict_of(record(row()), baseline)
    assert verdict.verdict == "fail" and "missing" in verdict.checks[0].reason
    more = verdict_of(record(row("fp32", ms=40.0), row(), row("fp16")), baseline)
    assert more.verdict == "pass" and "fcn8s openvino fp16" in more.notes[-1]


def test_absolute_limits_hold_whatever_the_baseline_says(baseline):
    limits = Limits(min_miou=99, max_p50_ms=1, max_p99_ms=1, max_size_mb=1, max_memory_mb=1)
    failed = [
        check.name.rpartition(": ")[2] for check in verdict_of(baseline, baseline, limits).checks if check.ok is False
    ]
    assert failed == ["miou floor", "p50 ms", "p99 ms", "most MB", "most peak MB"] * 2


def test_limits_of_single_rows_override_those_of_all(baseline, tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text('max_p50_ms = 30\n[[only]]\nprecision = "fp32"\nmax_p50_ms = 60\n')
    assert verdict_of(baseline, baseline, path).verdict == "pass"
    assert gate(baseline, baseline, limits=path, max_class_drop=1).verdict == "pass"
    assert limits_from(path, {"max_p50_ms": 20.0}).all == Limits(max_p50_ms=20.0)
    assert gate(baseline, baseline, limits=limits_from(path, {"max_p50_ms": 10.0})).verdict == "fail"
    for text, facts in (
        ("max_drop = 1", ("limits.toml", "max_drop", "max_miou_drop")),
        ("[[only]]\nmin_miou = 3", ("[[only]] 1", "model", "precision")),
        ('[[only]]\ntarget = "openvino"', ("[[only]] 1", "limit")),
        ("max_latency_ratio = 0.5", ("max_latency_ratio", "0.5", 1)),
        ("max_miou_drop = 101", ("max_miou_drop", 101, "0 to 100")),
        ("max_size_mb = -1", ("max_size_mb", -1)),
        ("only = 3", ("only", "tables")),
        ('[[only]]\ntarget = "x"\nmax_mious = 3', ("[[only]] 1", "max_mious")),
    ):
        path.write_text(text)
        with refused(BadInput, *facts):
            limits_from(path)


def on_two_devices(images=None, reference=None):
    """(record of the other device, baseline here), both with a reference run."""
    here = record(row(), row(target="reference"))
    there = record(row(images=images, ms=90.0), row(target="reference", images=reference), device=OTHER_DEVICE)
    return there, here


def test_on_another_device_accuracy_is_judged_on_the_reference_run_and_times_are_not():
    found, base = on_two_devices()
    verdict = verdict_of(found, base)
    assert verdict.verdict == "undecidable"
    oks = {(check.name.split()[1], check.kind): check.ok for check in verdict.checks}
    assert oks == {
        ("openvino", "miou"): True,
        ("openvino", "latency"): None,
        ("openvino", "size"): True,
        ("reference", "miou"): True,
        ("reference", "size"): True,
    }
    assert "another device (epyc-2c)" in verdict.notes[0]
    worse = drawn_images(lost=0.05)
    assert verdict_of(*on_two_devices(worse, worse)).verdict == "fail", "both: the file lost it"
    assert verdict_of(*on_two_devices(worse)).verdict == "fail", "the engine departs from its own reference run"


def test_two_devices_without_a_reference_run_are_refused(baseline):
    with refused(BadInput, "epyc-2c", "xeon-2c", "reference"):
        verdict_of(record(device=OTHER_DEVICE), baseline)
    nameless = record(device=None)
    with refused(BadInput, "device", "reference"):
        verdict_of(nameless, nameless)


def test_another_reference_workload_is_not_compared(baseline):
    check = named(verdict_of(record(yardstick="multiplications"), baseline), "latency")
    assert check.ok is None and "reference workload" in check.reason


def edited(found):
    changed = copy.deepcopy(found)
    changed["rows"][0]["miou"] = 0.99
    return changed


def outside():
    found = row()
    found["scores"]["images"][0]["cells"] = [[99, 1]]
    return found


BAD = {
    "another schema": (lambda: sealed(record_table() | {"schema": 1}), ("schema 1", 2)),
    "a newer schema": (lambda: sealed(record_table() | {"schema": 9}), ("schema 9", 2)),
    "an edited record": (lambda: edited(record_table()), ("sha256",)),
    "no raw latencies": (
        lambda: record_table(row(latency_ms=latency_without("raw"))),
        ("fcn8s openvino int8 f32", "latencies"),
    ),
    "no percentiles": (lambda: record_table(row(latency_ms={"p50": 1.0, "raw": [1.0]})), ("p90", "p95", "p99")),
    "no raw confusions": (lambda: record_table(scores_without_images()), ("fcn8s openvino int8 f32", "confusions")),
    "counts of no class": (lambda: record_table(outside()), ("confusion matrix",)),
    "nothing": (dict, ("benchmark record",)),
    "no rows": (lambda: record_table() | {"rows": []}, ("benchmark record",)),
    "no row": (lambda: record_table("fast"), ("row 1", "str")),
    "no model": (lambda: record_table({"target": "openvino"}), ("row 1", "model", "precision")),
}
NOT_COMPARABLE = {
    "two of a kind": (lambda: record(row(), row()), ("two rows", "fcn8s openvino int8 f32")),
    "another model": (lambda: record(row(model="fcn16s")), ("fcn8s", "fcn16s")),
    "another data set": (lambda: record(row(images=drawn_images(50))), (60, 50, "images")),
    "other labels": (lambda: record(row(images=drawn_images(seed=9))), ("labels", "60 of 60")),
    "other classes": (lambda: record(classes=["a", "b", "c"]), ("classes",)),
}


def latency_without(name):
    return {key: value for key, value in row()["latency_ms"].items() if key != name}


def scores_without_images():
    found = row()
    return found | {"scores": {key: value for key, value in found["scores"].items() if key != "images"}}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_refused_on_either_side_with_the_reason(name, baseline, tmp_path):
    make, facts = BAD[name]
    with refused(BadInput, *facts):
        Record.from_mapping(make())
    bad, good = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_text(json.dumps(make()))
    baseline.save(good)
    for pair in ((bad, good), (good, bad)):
        with refused(BadInput, "bad.json", *facts):
            gate(*pair)


@pytest.mark.parametrize("name", NOT_COMPARABLE)
def test_records_that_do_not_compare_are_refused_on_either_side_with_the_reason(name, baseline):
    make, facts = NOT_COMPARABLE[name]
    for pair in ((make(), baseline), (baseline, make())):
        with refused(BadInput, *facts):
            verdict_of(*pair)


def test_baseline_is_updated_with_a_reason_that_stays(baseline, tmp_path):
    found = record(row("fp32", ms=40.0), row(ms=40.0))
    path = tmp_path / "baseline.json"
    baseline.save(path)
    assert verdict_of(found, path).verdict == "fail"
    for reason in ("", "  ok  "):
        with pytest.raises(BadInput, match="`reason`"):
            update_baseline(found, path, reason=reason)
    assert update_baseline(found, path, reason="twice the channels in the head") == path
    table = json.loads(path.read_text())
    assert table["baseline"]["reason"] == "twice the channels in the head"
    assert table["baseline"]["accepted"] == ["fcn8s openvino int8 f32 360x480: latency"]
    assert table["baseline"]["verdict_before"] == "fail"
    assert verdict_of(found, path).verdict == "pass"
    assert update_baseline(found, tmp_path / "new.json", reason="the first of this device") == tmp_path / "new.json"
    assert Record.from_file(tmp_path / "new.json").acceptance.verdict_before is None


def test_baseline_of_the_suite_and_device_is_taken_from_a_folder(baseline, tmp_path):
    with refused(BadInput, tmp_path, "quick.epyc-2c.json"):
        gate(baseline, tmp_path)
    record(device=OTHER_DEVICE).save(tmp_path / "quick.a-device.json")
    assert update_baseline(baseline, tmp_path, reason="the first one here") == tmp_path / "quick.epyc-2c.json"
    assert gate(baseline, tmp_path).baseline == str(tmp_path / "quick.epyc-2c.json")
    with_reference = record(row(), row(target="reference"), device=OTHER_DEVICE | {"name": "third"})
    with_reference.save(tmp_path / "quick.a-device.json")
    assert gate(with_reference, str(tmp_path)).baseline == str(tmp_path / "quick.a-device.json")
    assert gate(baseline, baseline).baseline is None


def test_exit_code_and_error_are_those_of_the_verdict_and_undecided_maps_it(baseline):
    passed = gate(baseline, baseline)
    assert (passed.exit_code, passed.error) == (0, None)
    failed = gate(record(row("fp32", ms=40.0), row(ms=30.0)), baseline, undecided="pass")
    assert failed.exit_code == 1 and isinstance(failed.error, CheckFailed)
    assert "fcn8s openvino int8 f32 360x480: latency" in str(failed.error)
    few = record(row("fp32", ms=40.0, rounds=3), row(rounds=3))
    assert gate(few, baseline).exit_code == 5 and isinstance(gate(few, baseline).error, Undecidable)
    assert [check.kind for check in gate(few, baseline).undecided_checks] == ["latency", "latency"]
    assert (gate(few, baseline, undecided="fail").exit_code, gate(few, baseline, undecided="pass").exit_code) == (1, 0)
    assert gate(few, baseline, undecided="pass").verdict == "undecidable"


def test_records_are_left_as_they_were(baseline):
    before = copy.deepcopy(baseline.to_mapping())
    verdict_of(baseline, baseline)
    assert baseline.to_mapping() == before


def test_junit_summary_and_annotations_tell_the_same(baseline):
    verdict = verdict_of(record(row("fp32", ms=40.0, rounds=3), row(ms=30.0, runtime="a|b")), baseline)
    suite = ElementTree.fromstring(verdict.junit())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "1", "1")
    failure = suite.find(".//failure")
    assert "1.5" in failure.get("message")
    markdown = verdict.summary()
    assert markdown.startswith("## fcn-edge gate **failed**")
    assert_names(markdown, "6 checks", "1 failed", "1 undecided")
    assert markdown.index("❌") < markdown.index("❔") < markdown.index("✅")
    error, warning = sorted(verdict.annotations())
    assert error.startswith("::error title=fcn-edge gate::fcn8s openvino int8") and warning.startswith("::warning")


def test_figures_that_no_measurement_gives_are_found(baseline):
    require_plausible(baseline, "r")
    latency = row()["latency_ms"]
    for found, facts in (
        (record(row(latency_ms=latency | {"p50": 0.001})), ("latencies", "20.746")),
        (record(row(latency_ms=latency | {"p50": latency["p99"] + 1})), ("latencies", "20.746")),
        (record(row(latency_ms=latency | {"raw": [1.0]})), ("p50", "20.257")),
        (record(row(miou=75.0)), ("mIoU", "75.0")),
        (record(date="today"), ("r", "date")),
        (record(device=None), ("r", "device")),
    ):
        with refused(BadInput, "r", *facts):
            require_plausible(found, "r")


@pytest.mark.slow
def test_command_runs_where_no_engine_and_no_pixels_can_be_loaded(tmp_path, baseline):
    path = tmp_path / "record.json"
    baseline.save(path)
    code = f"REFUSED = {REFUSED}{GATE_ALONE}"
    command = [sys.executable, "-c", code, "gate", str(path), "--baseline", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    verdict = json.loads(done.stdout)
    assert verdict["verdict"] == "pass"
    assert all(set(check) >= {"name", "value", "baseline", "limit", "power", "ok"} for check in verdict["checks"])
