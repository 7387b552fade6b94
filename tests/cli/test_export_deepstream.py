"""export-deepstream and export-triton as commands."""

from __future__ import annotations

import json

import pytest


def test_deepstream_folder_is_told_and_not_written_over(command, onnx_file, tmp_path):
    told = command("export-deepstream", onnx_file, "--out", tmp_path / "out", "--json").json
    assert told["config"] == str(tmp_path / "out" / "nvinfer.txt") and "nvinfer" in told["pipeline"]
    command("export-deepstream", onnx_file, "--out", tmp_path / "out").refuses(2, tmp_path / "out", "--out")
    printed = command("export-deepstream", onnx_file, "--out", tmp_path / "more").out
    assert "trtexec --onnx=model.onnx" in printed and "gst-launch-1.0" in printed


def test_triton_models_stand_beside_each_other_and_are_not_written_over(command, onnx_file, tmp_path):
    names = [
        command("export-triton", onnx_file, "--out", tmp_path, *more, "--json").json["path"]
        for more in ([], ["--name", "again"])
    ]
    assert names == [str(tmp_path / "tiny"), str(tmp_path / "again")]
    command("export-triton", onnx_file, "--out", tmp_path).refuses(2, tmp_path / "tiny")
    assert "tritonserver --model-repository=" in command("export-triton", onnx_file, "--out", tmp_path / "more").out


@pytest.mark.parametrize(
    ("verb", "facts"),
    [
        (["export-triton", "--recipe", "fcn8s_vgg16_voc"], ("engine", "--recipe")),
        (["export-deepstream"], ("engine directory", "ONNX")),
    ],
)
def test_engine_directory_where_it_does_not_fit_is_refused(command, tmp_path, verb, facts):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "manifest.json").write_text(json.dumps({"target": "tensorrt"}), encoding="utf-8")
    command(*verb, tmp_path / "engine", "--out", tmp_path / "out").refuses(2, *facts)
    assert not (tmp_path / "out").exists()
