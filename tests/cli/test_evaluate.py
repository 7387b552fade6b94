"""`fcn-edge evaluate`: the metrics' JSON, and sets that are not whole."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from tests.refusals import assert_names
from tests.shared_data import SHARED

KEYS = {
    "miou",
    "pixel_acc",
    "mean_acc",
    "fw_iou",
    "iou",
    "images",
    "target",
    "precision",
    "execution",
    "model_sha256",
    "miou_ci",
    "iou_ci",
    "scores",
    "ignored_share",
    "classes_without_labels",
    "classes_never_predicted",
    "warnings",
    "notes",
}
AGAINST_KEYS = {
    "name",
    "miou",
    "miou_ci",
    "difference",
    "difference_ci",
    "probability_better",
    "verdict",
    "pixel_acc",
    "classes",
}
STREETS = "synthetic:street,seed=7,images=8,size=64x96"


def test_json_has_the_keys_that_others_read(command, onnx_file, pairs):
    done = command("evaluate", onnx_file, "--data", f"folder:{pairs}", "--json")
    found = done.json
    assert done.code == 0 and set(found) >= KEYS
    assert found["images"] == 4 and found["skipped"] == []
    assert 0 <= found["miou"] <= 1 and 0 <= found["pixel_acc"] <= 1
    assert len(found["iou"]) == 11 and "road" in found["iou"]
    assert (found["precision"], found["execution"], len(found["model_sha256"])) == ("fp32", "f32", 64)


def test_people_read_the_paper_s_names_and_what_ran(command, onnx_file, pairs):
    done = command("evaluate", onnx_file, "--data", f"folder:{pairs}", "--target", "onnxruntime")
    assert_names(done.out, "4 images", "mIoU", "pixel acc.", "f.w. IoU", "road", "onnxruntime", "fp32", "f32")


@pytest.mark.slow
def test_checkpoint_and_int8_file_are_evaluated_alike(command, checkpoint_file, int8_file, pairs):
    for model, precision in ((checkpoint_file, "fp32"), (int8_file, "int8")):
        found = command("evaluate", model, "--data", f"folder:{pairs}", "--limit", 2, "--json").json
        assert (found["images"], found["precision"]) == (2, precision)


@pytest.mark.slow
def test_broken_picture_is_named_and_counted_and_the_rest_goes_on(command, onnx_file, broken_pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{broken_pairs}"]
    found = command(*words, "--json").json
    assert found["images"] == 3
    (skipped,) = found["skipped"]
    assert_names(skipped, "street2.jpg")
    done = command(*words)
    assert "3 images" in done.out and "1 skipped" in done.out and "street2.jpg" in done.out


@pytest.mark.parametrize("number", [1, 3])
def test_labels_of_another_size_are_refused(command, onnx_file, pairs, tmp_path, number):
    root = tmp_path / "pairs"
    shutil.copytree(pairs, root)
    labels = root / "labels" / f"street{number}.png"
    cv2.imwrite(str(labels), cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)[:40])
    done = command("evaluate", onnx_file, "--data", f"folder:{root}", "--json")
    done.refuses(2, f"street{number}.png", "96x40", "96x64")
    assert done.json["exit_code"] == 2


@pytest.mark.slow
def test_what_the_scores_say_nothing_of_is_reported(command, onnx_file, pairs, tmp_path):
    root = tmp_path / "pairs"
    shutil.copytree(pairs, root)
    for number in range(2):
        cv2.imwrite(str(root / "labels" / f"street{number}.png"), np.full((64, 96), 255, np.uint8))
    for number in range(2, 4):
        cv2.imwrite(str(root / "labels" / f"street{number}.png"), np.zeros((64, 96), np.uint8))
    shutil.copyfile(root / "images" / "street2.jpg", root / "images" / "street1.jpg")
    (root / "images" / "._street1.jpg").write_bytes(b"of another system")
    words = ["evaluate", onnx_file, "--data", f"folder:{root}", "--target", "onnxruntime"]
    found = command(*words, "--json").json
    assert found["ignored_share"] == 0.5
    assert len(found["classes_without_labels"]) == 10 and "sky" not in found["classes_without_labels"]
    assert set(found["classes_never_predicted"]) <= set(found["iou"])
    assert [("50.0%" in text, "street2" in text) for text in found["warnings"]] == [(1, 0), (0, 1)]
    (note,) = found["notes"]
    assert_names(note, "._street1.jpg", "hidden")
    done = command(*words)
    for text in found["warnings"]:
        assert f"warning: {text}" in done.err
    assert_names(done.out, "50.0%", "building", "._street1.jpg")


CASES = SHARED / "cases" / "labels"


@pytest.mark.slow
@pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not on this machine")
def test_mask_of_0_and_255_is_refused_and_right_once_it_is_mapped(command, tmp_path):
    words = ["evaluate", CASES / "bin_road.onnx", "--spec", CASES / "bin_road.toml", "--target", "onnxruntime"]
    command(*words, "--data", f"folder:{CASES / 'binary_255'}").refuses(2, "label_values", "[0, 255]", "road")
    root = tmp_path / "mapped"
    shutil.copytree(CASES / "binary_255", root, copy_function=shutil.copyfile)
    root.chmod(0o755)
    (root / "classes.json").write_text('{"names": ["other", "road"], "ignore_index": 255, "label_values": [0, 255]}')
    found = command(*words, "--data", f"folder:{root}", "--json").json
    assert found["miou"] > 0.976 and found["ignored_share"] == 0


def test_set_with_other_classes_is_refused(command, foreign_file, text_file, pairs):
    names = ", ".join(f'"class {number}"' for number in range(11))
    spec = text_file("own.toml", f"classes = [{names}]\n")
    done = command("evaluate", foreign_file, "--spec", spec, "--data", f"folder:{pairs}")
    done.refuses(2, "class 0", "sky", "foreign")


def test_execution_that_the_engine_has_not_is_refused(command, onnx_file, pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{pairs}", "--target", "onnxruntime", "--execution", "bf16"]
    command(*words).refuses(2, "f32", "bf16")


@pytest.fixture(scope="module")
def result(onnx_file):
    """What `evaluate --json` prints of the fp32 file on STREETS."""
    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines import open_engine
    from fcn_edge.evaluation import evaluate
    from fcn_edge.evaluation_report import EvaluationReport, scored_model

    data = dataset_from_name(STREETS)
    with open_engine(onnx_file) as engine:
        scored = scored_model(evaluate(engine, data), engine)
    return json.dumps(EvaluationReport(data.name, data.classes, scored).to_mapping())


@pytest.fixture
def saved(text_file, result):
    """The same as a file of an earlier run."""
    return text_file("before.json", result)


@pytest.mark.slow
def test_scores_have_intervals_and_each_image_its_own_counts(command, onnx_file):
    words = ["evaluate", onnx_file, "--data", STREETS]
    found = command(*words, "--json").json
    assert found["miou_ci"][0] < found["miou"] < found["miou_ci"][1]
    assert found["pixel_acc_ci"][0] < found["pixel_acc"] < found["pixel_acc_ci"][1]
    assert set(found["iou_ci"]) == set(found["iou"])
    assert found["interval"] == {"level": 0.95, "block_length": 1, "reason": ""}
    assert [set(image) for image in found["scores"]["images"]] == [{"sha256", "sequence", "cells"}] * 8
    assert command(*words, "--json").json["miou_ci"] == found["miou_ci"], "the same each time"
    low, high = found["miou_ci"]
    assert f"{100 * found['miou']:.1f} ({100 * low:.1f} to {100 * high:.1f})" in command(*words).out


@pytest.mark.slow
def test_too_few_images_have_no_interval_and_the_reason_is_told(command, onnx_file, pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{pairs}"]
    found = command(*words, "--against", onnx_file, "--json").json
    assert found["miou_ci"] is None and set(found["iou_ci"].values()) == {None}
    assert (found["against"]["difference"], found["against"]["verdict"]) == (0, "undecidable")
    assert_names(command(*words).out, "interval", "4 images", 6)


@pytest.mark.slow
def test_difference_to_a_second_model_is_told_with_its_interval(command, onnx_file, int8_file):
    words = ["evaluate", int8_file, "--data", STREETS, "--against", onnx_file]
    found = command(*words, "--json").json
    against, alone = found["against"], command("evaluate", onnx_file, "--data", STREETS, "--json").json
    assert set(against) == AGAINST_KEYS and "fp32 f32" in against["name"]
    assert (against["miou"], against["miou_ci"]) == (alone["miou"], alone["miou_ci"])
    assert against["difference"] == pytest.approx(found["miou"] - alone["miou"])
    assert against["difference_ci"][0] <= against["difference"] <= against["difference_ci"][1]
    excludes_0 = not against["difference_ci"][0] <= 0 <= against["difference_ci"][1]
    assert against["verdict"] == ("real" if excludes_0 else "not distinguishable")
    assert list(against["classes"]) == list(found["iou"])
    for name, of_class in against["classes"].items():
        assert of_class["iou"] == alone["iou"][name]
    shown = command(*words).out
    assert f"{100 * against['difference']:+.2f} (" in shown
    assert "significant" in shown and ("not significant" in shown) != excludes_0


@pytest.mark.slow
def test_saved_scores_stand_in_for_the_other_model(command, onnx_file, int8_file, saved):
    words = ["evaluate", int8_file, "--data", STREETS, "--json", "--against"]
    assert command(*words, saved).json["against"] == command(*words, onnx_file).json["against"]


@pytest.mark.slow
def test_difference_that_is_everywhere_is_real(command, onnx_file, saved):
    """As many pixels of each image moved from right to wrong as right ones are left."""
    worse = json.loads(saved.read_text())
    for image in worse["scores"]["images"]:
        image["cells"] = [moved for index, count in image["cells"] for moved in halved(index, count)]
    saved.write_text(json.dumps(worse))
    done = command("evaluate", onnx_file, "--data", STREETS, "--against", saved, "--json")
    against = done.json["against"]
    assert (against["verdict"], against["probability_better"]) == ("real", 1)
    assert against["difference_ci"][0] > 0


def halved(index, count):
    label, predicted = divmod(index, 11)
    if label != predicted:
        return [[index, count]]
    return [[index, count - count // 2], [11 * label + (label + 1) % 11, count // 2]]


@pytest.mark.slow
def test_row_of_a_bench_record_stands_in_too(command, onnx_file, saved, text_file):
    row = {**json.loads(saved.read_text()), "target": "openvino"}
    one, two = (text_file(f"record{n}.json", json.dumps({"schema": 1, "rows": [row] * n})) for n in (1, 2))
    words = ["evaluate", onnx_file, "--data", STREETS, "--json", "--against"]
    for given in (one, f"{two}#2"):
        assert command(*words, given).json["against"]["difference"] == 0
    for given in (two, f"{two}#3", f"{two}#x"):
        command(*words, given).refuses(2, "record2.json#1", "#1 tiny openvino fp32 f32", "#2 tiny openvino fp32 f32")


@pytest.mark.slow
def test_runs_on_other_images_or_labels_are_refused(command, onnx_file, saved):
    words = ["evaluate", onnx_file, "--data", STREETS, "--against", saved]
    command(*words, "--limit", 6).refuses(2, "6 images", 8)
    relabelled = json.loads(saved.read_text())
    relabelled["scores"]["images"][0]["cells"].append([0, 1])
    saved.write_text(json.dumps(relabelled))
    command(*words).refuses(2, "labels", "1 of 8")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda s: s.clear(), ("before.json", "scores")),
        (lambda s: s.update(scores=3), ("before.json", "scores")),
        (lambda s: s["scores"].update(images=3), ("before.json", "images", "int")),
        (lambda s: s["scores"]["images"][0].pop("sha256"), ("before.json", "sha256")),
        (lambda s: s["scores"]["images"][0]["cells"].append([121, 1]), ("before.json", "confusion matrix", 11)),
        (lambda s: s["scores"]["images"][0]["cells"].append([0, -1]), ("before.json", "confusion matrix", 11)),
        (lambda s: s.update(rows=[]), ("before.json#1",)),
        (lambda s: s.update(rows=[3]), ("before.json", "scores")),
    ],
)
def test_other_without_scores_is_refused_before_anything_runs(command, onnx_file, saved, monkeypatch, change, facts):
    value = json.loads(saved.read_text())
    change(value)
    saved.write_text(json.dumps(value))
    monkeypatch.setattr("fcn_edge.evaluation.evaluate", lambda *_, **__: pytest.fail("measured nevertheless"))
    command("evaluate", onnx_file, "--data", STREETS, "--against", saved).refuses(2, *facts)


@pytest.mark.parametrize("name", ["none.onnx", "none.json"])
def test_other_that_is_not_there_is_refused_before_anything_runs(command, onnx_file, tmp_path, monkeypatch, name):
    monkeypatch.setattr("fcn_edge.evaluation.evaluate", lambda *_, **__: pytest.fail("measured nevertheless"))
    command("evaluate", onnx_file, "--data", STREETS, "--against", tmp_path / name).refuses(2, name)


@pytest.mark.slow
def test_other_with_other_classes_is_refused(command, onnx_file, saved):
    value = json.loads(saved.read_text())
    value["scores"]["iou"].append(None)
    saved.write_text(json.dumps(value))
    done = command("evaluate", onnx_file, "--data", STREETS, "--against", saved)
    done.refuses(2, "12 classes", 11)


@pytest.mark.slow
def test_cluster_takes_whole_sets_and_gives_the_same_json(command, onnx_file, pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{pairs}", "--target", "onnxruntime", "--cluster", "ray"]
    for more in (["--limit", 2], ["--trimap", 3], ["--schedule", "fixed:2"]):
        command(*words, *more).refuses(2, "--cluster", "--limit", "--trimap", "--schedule")
    if find_spec("ray") is None:  # it is not imported here: what it may listen on is said before
        pytest.skip("Ray is not installed (pip install 'fcn-edge[cluster]'): no cluster was tried")
    spread = command(*words, "--json")
    if spread.code == 3:
        pytest.skip(f"no cluster was tried: {spread.err}")
    assert spread.json == command(*words[:-2], "--json").json
