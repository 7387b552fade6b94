"""`fcn-edge gate` as CI uses it: exit codes and the mapping of what cannot be decided."""

from __future__ import annotations

import json

import pytest

ROW = {"model": "fcn8s", "target": "openvino", "precision": "int8", "execution": "f32", "height": 360, "width": 480}


@pytest.fixture
def write_record(tmp_path):
    """A record of one row on a machine of `cores` cores."""

    def write(name, miou=0.6, p50=20.0, cores=2):
        path = tmp_path / f"{name}.json"
        row = ROW | {"miou": miou, "latency_ms": {"p50": p50}}
        device = {"cpu": "EPYC", "cores": cores, "instruction_sets": []}
        path.write_text(json.dumps({"schema": 1, "data": "d", "images": 3, "rows": [row], "device": device}))
        return path

    return write


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        ({}, [], 0),
        ({"miou": 0.5}, [], 1),
        ({"miou": 0.5}, ["--max-miou-drop", "10"], 0),
        ({"p50": 30.0}, [], 1),
        ({"p50": 30.0}, ["--max-latency-ratio", "2"], 0),
        ({"cores": 8}, [], 5),
        ({"cores": 8}, ["--undecided", "pass"], 0),
        ({"cores": 8}, ["--undecided", "fail"], 1),
        ({"cores": 8, "miou": 0.5}, ["--undecided", "pass"], 1),
    ],
)
def test_exit_code_is_the_verdict(command, write_record, change, words, code):
    done = command("gate", write_record("now", **change), "--baseline", write_record("then"), *words, "--json")
    assert done.code == code
    assert set(done.json) == {"verdict", "checks"}


def test_people_see_each_check_and_the_verdict(command, write_record):
    done = command("gate", write_record("now", miou=0.5), "--baseline", write_record("then"))
    assert done.out.rstrip().endswith("fail")
    assert "FAIL" in done.out and "fcn8s openvino int8 f32 360x480: miou" in done.out and "-10.00 points" in done.out


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.json", None, "none.json: no such file; expected a JSON file"),
        ("words.json", "these are words", "words.json: not JSON"),
        ("list.json", "[1, 2]", "list.json: expected a JSON object, found list"),
        ("table.json", '{"schema": 1, "tensors": {}}', "is not a benchmark record"),
    ],
)
def test_what_is_no_record_exits_2(command, write_record, text_file, tmp_path, name, text, told):
    path = tmp_path / name if text is None else text_file(name, text)
    done = command("gate", path, "--baseline", write_record("then"), "--json")
    done.refuses(2, told)
    assert done.json["exit_code"] == 2
    command("gate", write_record("now"), "--baseline", path).refuses(2, told)
