"""`fcn-edge export`: JSON, words for people, and what is refused."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_export_tells_how_near_it_is_to_pytorch(command, checkpoint_file, tmp_path):
    out = tmp_path / "new" / "net.onnx"
    found = command("export", checkpoint_file, "--out", out, "--json").json
    assert out.is_file() and found["onnx"] == str(out)
    assert found["opset"] == 17 and found["agreement"] >= 0.999 and found["relative_error"] < 1e-3


def test_export_wraps_a_network_made_elsewhere(command, foreign_file, spec_file, tmp_path):
    out = tmp_path / "wrapped.onnx"
    done = command("export", foreign_file, "--spec", spec_file("camvid"), "--out", out)
    assert done.code == 0 and "contract" in done.out
    assert command("inspect", out, "--json").json["io"] == "contract (uint8 BGR frames)"


def test_export_of_a_wrapped_file_has_nothing_to_do(command, onnx_file, tmp_path):
    command("export", onnx_file, "--out", tmp_path / "x.onnx").refuses(2, "tiny.onnx", "contract")


def test_options_for_checkpoints_are_not_passed_over_for_onnx_files(command, foreign_file, spec_file, tmp_path):
    words = ["export", foreign_file, "--spec", spec_file("camvid"), "--out", tmp_path / "x.onnx", "--size", "64x96"]
    command(*words).refuses(2, "--size", "--head", "--io", "--dynamic", "--same-padding")


def test_data_without_same_padding_is_refused(command, checkpoint_file, tmp_path):
    words = ["export", checkpoint_file, "--data", "synthetic:street", "--out", tmp_path / "x.onnx"]
    command(*words).refuses(2, "--data", "--same-padding")
    command(*words, "--same-padding").refuses(2, "tiny", "padding")
