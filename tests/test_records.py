"""Benchmark records: read with their checksum, changed, and written back with what this version does not know."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcn_edge.atomic_io import read_json
from fcn_edge.errors import BadInput
from fcn_edge.records import Acceptance, Latency, Record, RowKey, precision_label
from tests.benchrecords import record, record_table, row, sealed
from tests.refusals import refused

STORED = [
    path
    for folder in ("baselines", "records")
    for path in sorted((Path(__file__).resolve().parents[1] / "benchmarks" / folder).iterdir())
    if "scores" in (read_json(path).get("rows") or [{}])[0]
]


def newer_table():
    """A record of a later version of this schema: keys that this one does not know, and whole numbers."""
    later = row() | {"watts_peak": 12, "end_to_end_fps": 45}
    later["latency_ms"] = later["latency_ms"] | {"p999": 40}
    later["scores"] = later["scores"] | {"boundary": {"f1": 0.5}}
    table = record_table(later)
    return sealed(table | {"weather": ["cold"], "device": table["device"] | {"fan": 1200}})


def test_unknown_keys_and_whole_numbers_survive_a_round_trip(tmp_path):
    table = newer_table()
    opened = Record.from_mapping(table)
    assert json.dumps(opened.to_mapping(), sort_keys=True) == json.dumps(table, sort_keys=True)
    opened.save(tmp_path / "record.json")
    assert read_json(tmp_path / "record.json") == table
    assert Record.from_file(tmp_path / "record.json") == opened


def test_changed_record_keeps_what_was_not_changed_and_has_a_checksum_of_its_own():
    table = newer_table()
    opened = Record.from_mapping(table)
    changed = replace(opened, acceptance=Acceptance("new backbone", "2026-11-27"))
    written = changed.to_mapping()
    assert written["baseline"] == {
        "reason": "new backbone",
        "date": "2026-11-27",
        "verdict_before": None,
        "accepted": [],
    }
    assert written["sha256"] != table["sha256"] and Record.from_mapping(written) == changed
    assert {key: value for key, value in written.items() if key not in ("baseline", "sha256")} == {
        key: value for key, value in table.items() if key != "sha256"
    }
    faster = replace(opened.rows[0], latency_ms=replace(opened.rows[0].latency_ms, p50=1.0))
    latency = replace(opened, rows=(faster,)).to_mapping()["rows"][0]["latency_ms"]
    assert latency == table["rows"][0]["latency_ms"] | {"p50": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_stored_record_comes_back_as_it_is(path):
    opened = Record.from_file(path)
    assert json.dumps(opened.to_mapping(), sort_keys=True) == json.dumps(read_json(path), sort_keys=True)


def test_file_is_recognised_as_one_of_fcn_edge_and_no_other_is_replaced(tmp_path):
    made = replace(record(), stored=None)
    for _ in range(2):
        made.save(tmp_path / "record.json")
    assert next(iter(read_json(tmp_path / "record.json"))) == "schema"
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    with refused(BadInput, tmp_path / "mine.json"):
        made.save(tmp_path / "mine.json")


def test_wrong_value_is_refused_with_its_row_and_key():
    for changes, facts in (
        ({"size_mb": "big"}, ("row 1", "size_mb", "big")),
        ({"latency_ms": row()["latency_ms"] | {"raw": [1.0, "x"]}}, ("row 1", "latency_ms", "raw", "x")),
        ({"stages_ms": {"input": {"p50": 1.0}}}, ("row 1", "stages_ms", "p90")),
    ):
        with refused(BadInput, *facts):
            Record.from_mapping(record_table(row(**changes)))


def test_row_is_known_by_its_key_and_labelled_as_people_say_it():
    every = record(row("fp32", execution="bf16"), row(schedule="fixed:2,2,6")).rows
    assert every[0].key == RowKey("fcn8s", "openvino", "fp32", "bf16", 360, 480)
    assert every[0].name == "fcn8s openvino fp32 bf16 360x480" and every[0].label == "bf16"
    assert every[1].name.endswith("360x480 fixed:2,2,6") and every[1].label == "int8 fixed:2,2,6"
    assert precision_label("int8", "bf16") == "int8"


def test_latency_is_by_nearest_rank_and_uneven_frames_count_by_their_mean():
    latency = Latency.of(np.array([4.0, 1.0, 2.0, 9.0]))
    assert (latency.p50, latency.p99, latency.mean, latency.raw) == (2.0, 9.0, 4.0, (4.0, 1.0, 2.0, 9.0))
    opened = record(row(), row(schedule="fixed:2", latency_ms=row()["latency_ms"] | {"mean": 7.0}))
    assert [each.frame_ms for each in opened.rows] == [opened.rows[0].latency_ms.p50, 7.0]
