"""`fcn-edge inspect`: facts about each kind of file."""

from __future__ import annotations

import json

import pytest


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
