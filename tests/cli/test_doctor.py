"""`fcn-edge doctor`, `models` and `inspect`: what this machine, the shelf and a file are."""

from __future__ import annotations

import json

import pytest

from fcn_edge.registry import shelf_names
from tests.benchrecords import record


def test_doctor_prints_one_object_or_a_table(command):
    found = command("doctor", "--json").json
    assert set(found) == {"device", "findings"}
    assert {"name", "state", "found", "advice"} == set(found["findings"][0])
    done = command("doctor")
    assert done.code == 0 and found["device"]["cpu"] in done.out


@pytest.mark.slow
def test_models_lists_the_shelf_with_its_cost(command):
    pytest.importorskip("torch", reason="torch is not installed: networks cannot be counted")
    found = command("models", "--json").json["networks"]
    assert [network["name"] for network in found] == shelf_names("export")
    lite = next(network for network in found if network["name"] == "fcn4s_lite0_camvid")
    assert 3.3e6 < lite["parameters"] < 3.6e6 and 1.4 < lite["gmac"] < 1.6
    assert lite["stride"] == 4 and len(lite["skips"]) == 3
    table = command("models").out
    assert "3.41 M" in table and "pool4 pool3" in table


@pytest.mark.slow
def test_inspect_tells_each_kind_of_file(command, checkpoint_file, onnx_file, int8_file, table_file, foreign_file):
    facts = {
        path: command("inspect", path, "--json").json
        for path in (checkpoint_file, onnx_file, int8_file, table_file, foreign_file)
    }
    assert facts[checkpoint_file]["kind"] == "checkpoint" and facts[checkpoint_file]["backbone"] == "efficientnet_lite0"
    assert (facts[onnx_file]["precision"], facts[onnx_file]["input"]) == ("fp32", "64x96 stretch")
    assert (facts[int8_file]["precision"], facts[int8_file]["placement"]) == ("int8", "any")
    assert facts[table_file]["kind"] == "calibration table" and facts[table_file]["images"] == 4
    assert facts[foreign_file]["contract"] == "none: made elsewhere, needs a spec"
    assert "operators" in command("inspect", onnx_file).out


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("none.onnx", None, ("none.onnx",)),
        ("notes.txt", "words", ("notes.txt", "ONNX", "checkpoint", "JSON")),
        ("other.json", '{"a": 1}', ("other.json", "table", "record", "manifest")),
        ("words.json", "words", ("words.json", "JSON", "line 1")),
        ("words.safetensors", "words", ("words.safetensors", "header")),
        ("words.onnx", "words", ("words.onnx", "ONNX")),
    ],
)
def test_inspect_refuses_the_rest(command, text_file, tmp_path, name, text, facts):
    path = tmp_path / name if text is None else text_file(name, text)
    done = command("inspect", path, "--json")
    done.refuses(2, *facts)
    assert done.json["exit_code"] == 2


def test_inspect_of_a_folder_that_is_no_engine_is_refused(command, tmp_path):
    command("inspect", tmp_path).refuses(2, "manifest.json")


@pytest.mark.parametrize(
    "value",
    [
        {"rows": "many"},
        {"rows": [1]},
        {"rows": [{}]},
        {"tensors": 1, "images_sha256": None},
        {"plan_sha256": 1, "layers": 3},
    ],
)
def test_inspect_refuses_json_that_only_looks_like_ours(command, text_file, value):
    command("inspect", text_file("odd.json", json.dumps(value))).refuses(2, "odd.json")


def test_demo_of_a_recording_that_is_cut_off_exits_4(command, monkeypatch, tmp_path):
    from fcn_edge.demo import DemoResult

    summary = {"frames_out": 3, "fps": 9.0, "lost": "my.mp4: 40 frames expected, 3 came"}
    monkeypatch.setattr(
        "fcn_edge.demo.run_demo", lambda *_, **__: DemoResult(record(), summary, (), {"out": "all of it"})
    )
    done = command("demo", "--out", tmp_path / "demo", "--json")
    done.refuses(4, "my.mp4", 40, 3)
    assert done.json["summary"]["lost"]
    assert "3 frames" in command("demo").out


def test_demo_of_a_missing_video_exits_2(command, tmp_path):
    command("demo", "--source", tmp_path / "none.mp4", "--out", tmp_path / "demo").refuses(2, "none.mp4")
