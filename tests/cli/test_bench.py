"""`fcn-edge bench`: the record that it prints and writes, and what it refuses before measuring."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import pytest

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.benchmark.cold_start import NOTHING
from tests.refusals import assert_names

SWEEP = """
data = "synthetic:street,seed=7,images=4,size=64x96"
calib = "synthetic:street,seed=8,images=3,size=64x96"
calib_images = 2
models = ["{model}"]
sizes = ["32x64", "64x96"]
targets = ["onnxruntime"]
rounds = 1
frames = 1
camera_fps = 0
[sizes_of]
onnxruntime = ["64x96"]
"""
TOP_KEYS = {"rows", "device", "versions"}


@pytest.fixture(autouse=True)
def no_further_process(monkeypatch):
    """Memory is measured in a process for each variant; tests/bench does so once."""
    monkeypatch.setattr("fcn_edge.benchmark.measurement.fresh_process", lambda variant: dict.fromkeys(NOTHING, 100.0))


@pytest.fixture
def quick(pairs, tmp_path):
    """The words of a short bench in `tmp_path / "bench"`."""
    out = tmp_path / "bench"
    return ["--data", f"folder:{pairs}", "--out", out, "--rounds", 1, "--frames", 2, "--camera-fps", 0]


@pytest.mark.slow
def test_json_is_the_record_that_is_written(command, onnx_file, pairs, quick, tmp_path):
    done = command("bench", onnx_file, *quick, "--calib", pairs, "--allow-overlap", "--target", "onnxruntime", "--json")
    assert done.code == 0 and set(done.json) >= TOP_KEYS
    assert [row["precision"] for row in done.json["rows"]] == ["fp32", "int8"]
    assert json.loads((tmp_path / "bench" / "record.json").read_text()) == done.json
    written = sorted(path.name for path in (tmp_path / "bench").iterdir())
    assert written == [
        "record.csv",
        "record.html",
        "record.json",
        "record.md",
        *(["record.png"] if find_spec("matplotlib") else []),
        "samples",
    ]
    assert "wrote " in done.err


@pytest.mark.slow
def test_people_see_a_row_for_each_variant(command, onnx_file, quick):
    done = command("bench", onnx_file, *quick, "--target", "onnxruntime")
    assert_names(done.out, "streets", "4 images", "p50", "mIoU", "onnxruntime", "front")


@pytest.mark.slow
def test_people_see_how_sure_miou_is(command, onnx_file, tmp_path):
    words = ["--data", "synthetic:street,seed=7,images=8,size=64x96", "--rounds", 1, "--frames", 1]
    done = command("bench", onnx_file, *words, "--out", tmp_path / "bench", "--target", "onnxruntime")
    row = json.loads((tmp_path / "bench" / "record.json").read_text())["rows"][0]
    half = (row["miou_ci"][1] - row["miou_ci"][0]) / 2
    assert_names(done.out, f"{100 * row['miou']:.2f} ± {100 * half:.1f}", "95 %")
    record = tmp_path / "bench" / "record.json"
    again = command("evaluate", onnx_file, *words[:2], "--target", "onnxruntime", "--against", record, "--json").json
    assert again["miou_ci"] == row["miou_ci"] and again["against"]["difference_ci"] == [0, 0]


@pytest.mark.slow
def test_broken_picture_is_named_and_the_rest_goes_on(command, onnx_file, broken_pairs, tmp_path):
    words = ["--data", f"folder:{broken_pairs}", "--out", tmp_path / "bench", "--rounds", 1, "--frames", 4]
    done = command("bench", onnx_file, *words, "--target", "onnxruntime")
    assert done.code == 0
    assert_names(done.out, "3 images", "street2.jpg")


def test_network_made_elsewhere_is_measured_with_its_spec(command, foreign_file, spec_file, quick):
    words = ["--spec", spec_file("camvid"), "--target", "onnxruntime", "--json"]
    assert command("bench", foreign_file, *quick, *words).json["rows"][0]["model"] == "foreign"


def test_folder_that_cannot_be_written_is_told_first(command, onnx_file, pairs, text_file, monkeypatch):
    monkeypatch.setattr("fcn_edge.benchmark.measured_record", lambda *_, **__: pytest.fail("measured nevertheless"))
    out = text_file("notes.txt") / "bench"
    command("bench", onnx_file, "--data", f"folder:{pairs}", "--out", out).refuses(2, "notes.txt")


def test_full_disk_leaves_no_part_of_a_record(command, onnx_file, quick, tmp_path, full_disk, monkeypatch):
    monkeypatch.setattr("fcn_edge.benchmark.report.require_writable", lambda folder: folder.mkdir())
    full_disk(tmp_path / "bench")
    done = command("bench", onnx_file, *quick, "--target", "onnxruntime", "--no-pictures", "--json")
    done.refuses(2, "unfinished.json", "disk")
    assert done.json["exit_code"] == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_suite_of_ones_own_says_what_to_measure(command, onnx_file, pairs, text_file, tmp_path):
    suite = text_file("own.toml", f'title = "own"\ndata = "folder:{pairs}"\nrounds = 1\nframes = 1\n')
    words = ["--suite", suite, "--out", tmp_path / "bench", "--target", "onnxruntime", "--json"]
    assert command("bench", onnx_file, *words).json["protocol"]["frames"] == 1
    wrong = text_file("wrong.toml", 'data = "x"\nround = 1\n')
    command("bench", onnx_file, "--suite", wrong).refuses(2, "wrong.toml", "round", "rounds")
    command("bench", onnx_file, "--suite", "streets").refuses(2, "streets", "street")


@pytest.mark.slow
def test_files_are_prepared_once_and_taken_up_again(command, checkpoint_file, tmp_path, text_file, monkeypatch):
    """Of two sizes, one of them not on ONNX Runtime; calibrated on as many images as the suite says."""
    suite = text_file("own.toml", SWEEP.format(model=checkpoint_file))
    words = ["bench", "--suite", suite, "--files", tmp_path / "kept", "--out", tmp_path / "bench", "--json"]
    done = command(*words, "--prepare")
    names = {f"tiny.{size}{kind}" for size in ("32x64", "64x96") for kind in (".onnx", ".int8.onnx", ".table.json")}
    kept = tmp_path / "kept"
    assert {path.name for path in kept.iterdir()} == names and len(done.json["files"]) == 4
    assert not (tmp_path / "bench").exists()
    table = json.loads((kept / "tiny.32x64.table.json").read_text())
    assert len(table["images_sha256"]) == 2

    monkeypatch.setattr("fcn_edge.benchmark.preparation.export", lambda *_, **__: pytest.fail("exported again"))
    monkeypatch.setattr(
        "fcn_edge.calibration.request.table_from_images", lambda *_, **__: pytest.fail("calibrated again")
    )
    rows = command(*words).json["rows"]
    assert [(row["precision"], row["height"]) for row in rows] == [("fp32", 64), ("int8", 64)]
    command(*words, "--calib", "synthetic:street,seed=9,images=2,size=64x96").refuses(
        2, "table", "street8_000000", "street9_000001"
    )


@pytest.mark.slow
def test_files_of_other_weights_are_made_anew(command, checkpoint_file, pairs, tmp_path):
    from fcn_edge.onnxfile import contract_from_onnx

    other = tmp_path / "tiny.safetensors"
    shutil.copy(checkpoint_file, other)
    words = ["bench", other, "--data", f"folder:{pairs}", "--size", "32x64", "--files", tmp_path / "kept", "--prepare"]
    command(*words)
    retrain(other)
    assert command(*words).code == 0
    found = contract_from_onnx(tmp_path / "kept" / "tiny.32x64.onnx").spec.weights_sha256
    assert found == sha256_of_file(other) != sha256_of_file(checkpoint_file)


def retrain(path):
    """Other weights of the same network."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, "pt") as file:
        header = file.metadata()
    weights = load_file(path)
    save_file(weights | {"score_fr.bias": weights["score_fr.bias"] + 0.5}, path, metadata=header)


def test_preparing_wants_a_folder_names_that_differ_and_engines_that_exist(
    command, checkpoint_file, tmp_path, text_file
):
    suite = text_file("own.toml", SWEEP.format(model=checkpoint_file))
    command("bench", "--suite", suite, "--prepare").refuses(2, "--files")
    twice = [checkpoint_file, tmp_path / "tiny.safetensors"]
    command("bench", *twice, "--suite", suite, "--files", tmp_path / "kept", "--prepare").refuses(
        2, "--files", "two models", "tiny"
    )
    wrong = text_file("wrong.toml", SWEEP.format(model=checkpoint_file).replace("onnxruntime = [", "onnxruntim = ["))
    command("bench", "--suite", wrong, "--out", tmp_path / "bench").refuses(
        2, "wrong.toml", "onnxruntim", "onnxruntime"
    )
