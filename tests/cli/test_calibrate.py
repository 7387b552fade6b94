"""`fcn-edge calibrate`: JSON, words for people, and what is refused."""

from __future__ import annotations

import errno
import json
import os

import pytest


@pytest.mark.slow
def test_calibrate_writes_file_and_table_and_counts_images(command, onnx_file, pairs, tmp_path):
    out = tmp_path / "net.int8.onnx"
    found = command("calibrate", onnx_file, "--calib", pairs, "--out", out, "--images", 3, "--json").json
    assert out.is_file() and found["table"] == str(tmp_path / "net.int8.table.json")
    assert json.loads((tmp_path / "net.int8.table.json").read_text())["method"] == found["method"] == "percentile"
    assert (found["images"], found["skipped"], found["placement"]) == (3, [], "any") and found["tensors"] > 50


@pytest.mark.slow
def test_calibrate_writes_a_cache_for_dla_too(command, onnx_file, table_file, tmp_path):
    cache = tmp_path / "net.dla.cache"
    words = ["calibrate", onnx_file, "--calib", table_file, "--out", tmp_path / "net.int8.onnx", "--dla-cache", cache]
    told = command(*words, "--json").json["dla"]
    assert told["trtexec"].endswith("--int8 --fp16 --calib=net.dla.cache")
    assert cache.read_text(encoding="utf-8").count("\n") == told["tensors"] + 1
    assert "trtexec" in command(*words).out
    command(*words, "--dla-tensorrt", "11.4.0").refuses(2, "11.4.0", "DLA")


@pytest.mark.slow
def test_calibrate_names_and_counts_broken_pictures_and_goes_on(command, onnx_file, broken_pairs, tmp_path):
    words = ["calibrate", onnx_file, "--calib", broken_pairs, "--out", tmp_path / "net.int8.onnx"]
    assert command(*words, "--json").json["skipped"] == ["street2.jpg"]
    done = command(*words)
    assert "street2.jpg" in done.out and "street2.jpg" in done.err


def test_calibrate_refuses_what_is_quantized_already(command, int8_file, pairs, tmp_path):
    rest = ["--calib", pairs, "--out", tmp_path / "x.onnx"]
    command("calibrate", int8_file, *rest).refuses(2, "tiny.int8.onnx", "fp32")


@pytest.mark.slow
def test_table_that_cannot_be_written_takes_the_int8_file_with_it(
    command, onnx_file, table_file, tmp_path, monkeypatch
):
    real = os.replace

    def replace(source, target):
        if str(target).endswith(".table.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    done = command("calibrate", onnx_file, "--calib", table_file, "--out", tmp_path / "net.onnx")
    done.refuses(2, "net.table.json", "disk")
    assert list(tmp_path.iterdir()) == []
