"""`fcn-edge evaluate`: the metrics' JSON, and sets that are not whole."""

from __future__ import annotations

import shutil

import cv2
import pytest

KEYS = {"miou", "pixel_acc", "mean_acc", "fw_iou", "iou", "images", "target", "precision", "execution", "model_sha256"}


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
    for words in ("4 images: mean IU ", "pixel acc. ", "f.w. IU ", "road", "onnxruntime", "fp32, executed in f32"):
        assert words in done.out


def test_checkpoint_and_int8_file_are_evaluated_alike(command, checkpoint_file, int8_file, pairs):
    for model, precision in ((checkpoint_file, "fp32"), (int8_file, "int8")):
        found = command("evaluate", model, "--data", f"folder:{pairs}", "--limit", 2, "--json").json
        assert (found["images"], found["precision"]) == (2, precision)


def test_broken_picture_is_named_and_counted_and_the_rest_goes_on(command, onnx_file, broken_pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{broken_pairs}"]
    found = command(*words, "--json").json
    assert found["images"] == 3
    assert [text.rpartition("/")[2] for text in found["skipped"]] == ["street2.jpg: not an image that decodes"]
    done = command(*words)
    assert "3 images" in done.out and "1 skipped" in done.out and "street2.jpg" in done.out


@pytest.mark.parametrize("number", [1, 3])
def test_labels_of_another_size_are_refused(command, onnx_file, pairs, tmp_path, number):
    root = tmp_path / "pairs"
    shutil.copytree(pairs, root)
    labels = root / "labels" / f"street{number}.png"
    cv2.imwrite(str(labels), cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)[:40])
    done = command("evaluate", onnx_file, "--data", f"folder:{root}", "--json")
    done.refuses(2, f"street{number}.png: 96x40 labels for a 96x64 image; a label image has its image's size")
    assert done.json["exit_code"] == 2


def test_set_with_other_classes_is_refused(command, foreign_file, text_file, pairs):
    names = ", ".join(f'"class {number}"' for number in range(11))
    spec = text_file("own.toml", f"classes = [{names}]\n")
    done = command("evaluate", foreign_file, "--spec", spec, "--data", f"folder:{pairs}")
    done.refuses(2, "class 0 is 'sky'; in foreign it is 'class 0'")


def test_execution_that_the_engine_has_not_is_refused(command, onnx_file, pairs):
    words = ["evaluate", onnx_file, "--data", f"folder:{pairs}", "--target", "onnxruntime", "--execution", "bf16"]
    command(*words).refuses(2, "executes f32, not bf16")
