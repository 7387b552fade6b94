"""MODEL is the same in every verb: a file, a folder, a packaged name, or nothing for the packaged network."""

from __future__ import annotations

import pytest

from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.registry import PACKAGED_INT8, PACKAGED_NETWORK

IMAGE = "synthetic:street,seed=1,images=1,size=64x96"
NAMED = [(), (PACKAGED_NETWORK,)]
ANYTHING = ["nothing", "name"]


@pytest.mark.parametrize("model", NAMED, ids=ANYTHING)
def test_inspect(command, model):
    facts = command("inspect", *model, "--json").json
    assert (facts["name"], facts["precision"]) == (PACKAGED_NETWORK, "fp32")
    assert command("inspect", PACKAGED_INT8, "--json").json["precision"] == "int8"


@pytest.mark.slow
@pytest.mark.parametrize("model", NAMED, ids=ANYTHING)
def test_export(command, tmp_path, model):
    out = tmp_path / "net.onnx"
    done = command("export", *model, "--size", "64x96", "--out", out)
    assert done.code == 0, done.err
    spec = contract_from_onnx(out).spec
    assert (spec.name, spec.preprocess.size) == (PACKAGED_NETWORK, (64, 96))


def test_export_of_the_packaged_int8_file_is_refused(command, tmp_path):
    command("export", PACKAGED_INT8, "--out", tmp_path / "net.onnx").refuses(2, f"{PACKAGED_INT8}.onnx", "contract")


@pytest.mark.slow
@pytest.mark.parametrize("model", NAMED, ids=ANYTHING)
def test_calibrate(command, tmp_path, model):
    done = command("calibrate", *model, "--calib", IMAGE, "--out", tmp_path / "net.onnx", "--json")
    assert done.json["images"] == 1
    assert contract_from_onnx(tmp_path / "net.onnx").quantization.precision == "int8"


@pytest.mark.slow
def test_calibrate_exports_a_checkpoint(command, checkpoint_file, onnx_file, tmp_path):
    for model in (checkpoint_file, onnx_file):
        out = tmp_path / f"{model.suffix[1:]}.onnx"
        assert command("calibrate", model, "--calib", IMAGE, "--out", out).code == 0
    assert (tmp_path / "safetensors.onnx").read_bytes() == (tmp_path / "onnx.onnx").read_bytes()


def test_calibrate_of_the_packaged_int8_file_is_refused(command, tmp_path):
    done = command("calibrate", PACKAGED_INT8, "--calib", IMAGE, "--out", tmp_path / "net.onnx")
    done.refuses(2, f"{PACKAGED_INT8}.onnx", "int8 already")


@pytest.mark.slow
def test_compare_of_nothing_is_of_the_packaged_networks(command):
    done = command("compare", "--images", IMAGE, "--json")
    assert (done.json["a"]["file"], done.json["b"]["file"]) == (PACKAGED_NETWORK, PACKAGED_INT8)


def test_compare_of_one_file_asks_for_the_other(command, onnx_file):
    command("compare", onnx_file, "--images", IMAGE).refuses(2, "B is missing", str(onnx_file))


@pytest.mark.parametrize("model", NAMED, ids=ANYTHING)
@pytest.mark.parametrize("verb", ["export-deepstream", "export-triton"])
def test_export_for_servers(command, tmp_path, verb, model):
    done = command(verb, *model, "--out", tmp_path / "made", "--json")
    assert done.code == 0
    (labels,) = (tmp_path / "made").rglob("labels.txt")
    assert "bicyclist" in labels.read_text()


@pytest.mark.parametrize("verb", ["export", "calibrate", "export-deepstream"])
def test_engine_directory_where_it_does_not_fit_is_refused(command, tmp_path, verb):
    words = ["--calib", IMAGE] if verb == "calibrate" else []
    command(verb, tmp_path, *words, "--out", tmp_path / "x.onnx").refuses(2, str(tmp_path), "engine directory")


class TestSpec:
    def test_inspect_reads_a_foreign_network_by_its_spec(self, command, foreign_file, spec_file):
        facts = command("inspect", foreign_file, "--spec", spec_file("camvid"), "--json").json
        assert len(facts["classes"]) == 11 and facts["input"] == "64x96 stretch"
        assert facts["operators"] == {"Conv": 1}

    @pytest.mark.parametrize("verb", ["inspect", "calibrate", "export-triton", "run", "export"])
    def test_spec_of_a_checkpoint_is_refused(self, command, checkpoint_file, spec_file, tmp_path, verb):
        words = {"calibrate": ["--calib", IMAGE, "--out", "x.onnx"], "export": ["--out", "x.onnx"]}.get(verb, [])
        done = command(verb, checkpoint_file, "--spec", spec_file("camvid"), *words)
        done.refuses(2, str(checkpoint_file), "--spec")
