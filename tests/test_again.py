"""benchmarks/again.py: two runs of one suite compared, row by row."""

from __future__ import annotations

import importlib.util
import json
import lzma
import sys
from pathlib import Path

import pytest

from fcn_edge.errors import BadInput
from tests.benchrecords import drawn_images, record, record_table, row
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[1]
FOUND = importlib.util.spec_from_file_location("again", ROOT / "benchmarks/again.py")
again = importlib.util.module_from_spec(FOUND)
FOUND.loader.exec_module(again)


def test_same_network_on_a_slower_day_agrees_in_units_of_the_reference_workload():
    first, second = record(), record(row("fp32", ms=40.0, seed=2, slow=1.0), row(seed=3))
    slower = record(*({**each, **slowed(each, 1.3)} for each in second.to_mapping()["rows"]))
    found = again.comparison(first, slower, 1.1)
    assert found["agrees"] and found["summary"]["same_miou"] == 2
    assert min(each["p50_ratio"] for each in found["rows"]) > 1.2
    for each in found["rows"]:
        low, high = each["interval"]
        assert low < each["ratio"] < high and 0.95 < each["ratio"] < 1.05
    half, most, worst = found["summary"]["p50_away"]
    assert 20 < half <= most <= worst and found["summary"]["ratio_away"][2] < 5


def slowed(each, factor):
    latency = {
        key: [factor * v for v in value] if key == "raw" else factor * value
        for key, value in each["latency_ms"].items()
    }
    return {"latency_ms": latency, "yardstick_ms": [factor * value for value in each["yardstick_ms"]]}


@pytest.mark.parametrize("other", [row(ms=26.0), row(ms=15.0), row(images=drawn_images(lost=0.05))])
def test_slower_faster_or_less_accurate_for_sure_does_not_agree(other):
    assert not again.comparison(record(row()), record(other), 1.1)["agrees"]
    assert again.comparison(record(row()), record(row(seed=4)), 1.1)["agrees"]


def test_few_turns_have_ratios_without_intervals_and_a_missing_row_is_named():
    few = again.comparison(record(row(rounds=2)), record(row(rounds=2)), 1.1)
    assert few["rows"][0]["ratio"] is None and few["summary"]["judged"] == 0 and few["summary"]["p50_away"] == [0, 0, 0]
    lacking = again.comparison(record(), record(row()), 1.1)
    assert lacking["missing"] == ["fcn8s openvino fp32 f32 360x480"] and not lacking["agrees"]
    with refused(BadInput, "fcn8s", "other"):
        again.comparison(record(row()), record(row(model="other")), 1.1)


def test_command_reads_packed_records_writes_the_comparison_and_tells_by_its_exit_code(tmp_path, monkeypatch, capsys):
    (tmp_path / "first.json.xz").write_bytes(lzma.compress(json.dumps(record_table()).encode()))
    (tmp_path / "second.json").write_text(json.dumps(record_table(row("fp32", ms=40.0), row(ms=30.0))))
    words = ["again", str(tmp_path / "first.json.xz"), str(tmp_path / "second.json"), "--out", str(tmp_path / "a.json")]
    monkeypatch.setattr(sys, "argv", words)
    assert again.main() == 1
    assert "fcn8s openvino int8 f32 360x480: " in capsys.readouterr().out
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["agrees"] is False and [each["same_miou"] for each in written["rows"]] == [True, True]
    monkeypatch.setattr(sys, "argv", ["again", str(tmp_path / "none.json"), words[2]])
    assert again.main() == 2 and "none.json" in capsys.readouterr().err
