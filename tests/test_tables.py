"""Tables in documents are those of the records that they name; records of other devices are sound before they show."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from fcn_edge.errors import BadInput
from fcn_edge.gating.plausibility import require_plausible
from fcn_edge.records import Record
from tests.benchrecords import record, record_table, row
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[1]
FOUND = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks/tables.py")
tables = importlib.util.module_from_spec(FOUND)
FOUND.loader.exec_module(tables)


@pytest.mark.slow
@pytest.mark.parametrize("path", tables.DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_their_records(path):
    text = path.read_text(encoding="utf-8")
    assert "<!-- table of " in text
    assert tables.with_tables(text) == text, "run python benchmarks/tables.py"


def test_table_of_rows_is_fastest_first_without_the_reference_run():
    found = record(row("fp32", ms=40.0), row(ms=20.0), row("fp32", target="reference", ms=200.0))
    lines = tables.row_table(found)
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| int8", "| fp32"]
    several = tables.row_table(record(row(), row(height=180), row(model="other", weights="random, seed 0")))
    assert "180x480" in "".join(several) and "random weights" in several[-1]


def test_table_of_a_sweep_has_a_line_for_each_network_and_size():
    rows = [
        row(precision, ms=ms, model=f"net{number}", pareto=precision == "int8")
        for number in range(6)
        for precision, ms in (("fp32", 40.0), ("int8", 20.0))
    ]
    lines = tables.sweep_table(record(*rows, row("fp32", "onnxruntime", ms=50.0, model="net0", pareto=False)))
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads[2:] == ["OpenVINO fp32, ms", "OpenVINO int8, ms", "ONNX Runtime fp32, ms", "mIoU fp32", "mIoU int8"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [line[0] for line in cells] == [f"net{number}" for number in range(6)] and cells[0][1] == "360x480"
    assert cells[0][3].startswith("**20.") and cells[0][2].startswith("40.") and cells[0][4].startswith("50.")
    assert cells[1][4] == "-"


def test_table_of_two_runs_tells_how_far_they_differ():
    summary = {
        "rows": 4,
        "same_miou": 4,
        "p50_away": [1.0, 2.0, 3.04],
        "judged": 4,
        "ratio_away": [0.5, 0.9, 1.2],
        "noise": 0.8,
        "intervals_holding_1": 3,
    }
    lines = tables.again_table(summary)
    assert "| p50, ms | 4 | 1.0 % | 2.0 % | 3.0 % |" in lines and "3 of 4" in lines[-1]


def interop_record():
    """One network: a file that is right, one that the contract refuses, one that no exporter wrote."""
    near = {"file": [20.0, 0.9], "engine": [30.0, 0.95], "whole": [19.0, 0.89], "convolutions": [2, 3]}
    right = {
        "exporter": "TorchScript",
        "variant": "default",
        "opset": 20,
        "refused": None,
        "fp32": {"onnxruntime": {"agreement": 1.0}, "openvino": {"agreement": 0.999999}},
        "int8": {"onnxruntime": {"refused": None, **near}, "openvino": {"refused": "wrong | here", **near}},
    }
    refused = {"exporter": "TorchScript", "variant": "free size", "opset": 20, "refused": "no size"}
    unwritten = {"exporter": "dynamo", "variant": "default", "exporter_error": "no such operator"}
    return {"rows": [{"family": "net", "files": [right, refused, unwritten]}]}


def test_table_of_other_libraries_shows_the_engine_with_fewer_equal_pixels_and_every_message():
    lines = tables.interop_fp32_table(interop_record())
    assert lines[2] == "| net | 20: 99.99 % | 20: **refused** | not written |"
    notes = [line.rpartition(": ")[2] for line in lines[4:]]
    assert notes == [r"wrong \| here", "no size", "no such operator …"]


def test_table_of_other_libraries_in_int8_keeps_the_figures_of_a_refused_engine():
    lines = tables.interop_int8_table(interop_record())
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[:3] == ["net", "TorchScript", "20.0 dB, 90.0 %"] and len(lines) == 3
    assert cells[3:6] == ["19.0 dB, 89.0 %", "30.0 dB, 95.0 %", "2 of 3"]
    assert cells[6:] == ["**refused**: 19.0 dB, 89.0 %", "30.0 dB, 95.0 %", "2 of 3"]


def test_other_devices_show_what_is_on_their_front(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.table_named("devices") == "*No other device has been measured yet.*"
    device = {"name": "orin-6c", "cpu": "Orin", "cores": 6, "instruction_sets": ["asimd"], "jetpack": "R36"}
    measured = record_table(row(ms=7.0), row("fp32", pareto=False), device=device)
    (tmp_path / "street.orin-6c.json").write_text(json.dumps(measured))
    lines = tables.table_named("devices").splitlines()
    assert len(lines) == 3 and "Orin, 6 cores, R36" in lines[2] and "results/street.orin-6c.json" in lines[2]
    (tmp_path / "street.orin-6c.json").write_text(json.dumps(measured | {"images": 61}))
    with refused(BadInput, "street.orin-6c.json", "sha256"):
        tables.table_named("devices")


def test_committed_results_of_other_devices_are_sound():
    for name, _ in tables.results():
        assert name.count(".") == 2, f"{name}: SUITE.DEVICE.json"


def test_trial_of_the_gate_went_as_it_must():
    """What the committed trial holds, run by run; benchmarks/gate_trial.py makes it anew."""
    trial = json.loads((ROOT / "benchmarks/gate_trial.json").read_text())
    unchanged = [each for each in trial["trials"] if each["planted"] == "nothing"]
    assert len(unchanged) == 20 and len(trial["trials"]) == 40
    assert [each for each in unchanged if each["verdict"] == "fail"] == []
    for each in trial["trials"]:
        must = (each["planted"].startswith("mIoU") and each["size"] >= 1) or (
            each["planted"].startswith("slower") and each["size"] >= 20
        )
        assert not must or each["verdict"] == "fail", each
        assert each["as_it_must"], each


def test_sweep_has_every_network_size_and_precision_and_came_out_the_same_again():
    """What the committed sweep holds; the command that makes it anew stands in docs/benchmarks/sweep.md."""
    first = Record.from_file(ROOT / "benchmarks/records/sweep.amd-epyc-2c.json.xz")
    require_plausible(first, "the sweep")
    rows = [(row.model, row.height, row.label, row.target) for row in first.rows]
    assert len({model for model, *_ in rows}) >= 5
    for model in {model for model, *_ in rows}:
        for height in (240, 360, 480):
            assert {(model, height, label, "openvino") for label in ("fp32", "bf16", "int8")} <= set(rows)
        assert {(model, 360, label, "onnxruntime") for label in ("fp32", "int8")} <= set(rows)
    again = tables.read_json(ROOT / "benchmarks/records/sweep_again.amd-epyc-2c.json")
    assert again["records"][0] == first.sha256 != again["records"][1]
    assert again["agrees"] and len(again["rows"]) == len(rows)
