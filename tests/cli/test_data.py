"""`fcn-edge data`: check, show, split and convert, and what each format is refused for."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from tests.data.formatfiles import (
    CLASSES,
    HEIGHT,
    WIDTH,
    edit_json,
    write_ade20k,
    write_coco,
    write_colours,
    write_cvat,
    write_labelme,
    write_masks,
    write_roboflow,
    write_yolo,
)
from tests.refusals import assert_names


def overwrite(*parts):
    """Other text in the file of these names."""
    *names, text = parts
    return lambda folder: folder.joinpath(*names).write_text(text)


def remove(*names):
    return lambda folder: folder.joinpath(*names).unlink()


def recolour(*names):
    """One grey value that is no class throughout a mask."""
    return lambda folder: cv2.imwrite(str(folder.joinpath(*names)), np.full((HEIGHT, WIDTH), 99, np.uint8))


def edited(name, change):
    return lambda folder: edit_json(folder / name, change)


BROKEN = [
    (write_coco, overwrite("instances.json", '{"shapes": []}'), ["instances.json", "images"]),
    (write_coco, edited("instances.json", lambda c: c["annotations"][0].update(category_id=5)), ["annotation", 5]),
    (write_coco, remove("images", "b.jpg"), ["b.jpg"]),
    (write_labelme, overwrite("a.json", '{"images": []}'), ["a.json", "shapes"]),
    (write_labelme, edited("a.json", lambda c: c["shapes"][1].update(label="lorry")), ["a.json", "lorry"]),
    (write_labelme, remove("b.jpg"), ["b.jpg"]),
    (write_cvat, overwrite("labelmap.txt", "road\n"), ["labelmap.txt"]),
    (write_cvat, recolour("SegmentationClass", "a.png"), ["a.png", 99]),
    (write_cvat, remove("JPEGImages", "b.jpg"), ["b.jpg"]),
    (write_roboflow, overwrite("train", "_classes.csv", "filename,road\n"), ["_classes.csv"]),
    (write_roboflow, recolour("train", "a_jpg.rf.0c1_mask.png"), ["a_jpg.rf.0c1_mask.png", 99]),
    (write_roboflow, remove("train", "b_jpg.rf.7fe.jpg"), ["b_jpg.rf.7fe.jpg"]),
    (write_yolo, overwrite("data.yaml", "names: [road\n"), ["data.yaml", "YAML"]),
    (write_yolo, overwrite("train", "labels", "a.txt", "7 0 0 1 0 1 1\n"), ["a.txt", "line 1", 7]),
    (write_yolo, overwrite("data.yaml", "train: photos\nnames: [road, car, tree]\n"), ["photos"]),
    (write_ade20k, overwrite("annotations", "validation", "ADE_val_00000001.png", "x"), ["ADE_val_00000001.png"]),
    (write_ade20k, lambda folder: recolour_151(folder), ["ADE_val_00000001.png", 151]),
    (write_ade20k, remove("annotations", "validation", "ADE_val_00000002.png"), ["ADE_val_00000002.jpg"]),
    (write_colours, overwrite("class_dict.csv", "name,r,g\n"), ["class_dict.csv"]),
    (write_colours, recolour("labels", "a.png"), ["a.png", "(99, 99, 99)"]),
    (write_colours, remove("labels", "b.png"), ["b.jpg"]),
]


def recolour_151(folder):
    file = folder / "annotations" / "validation" / "ADE_val_00000001.png"
    cv2.imwrite(str(file), np.full((HEIGHT, WIDTH), 151, np.uint8))


WRITERS = [write_coco, write_labelme, write_cvat, write_roboflow, write_yolo, write_ade20k, write_colours]


def needs_yaml(write):
    if write is write_yolo:
        pytest.importorskip("yaml", reason="pyyaml is not installed: data.yaml of YOLO cannot be read")


@pytest.mark.parametrize("write", WRITERS)
def test_right_set_of_each_format_has_no_problem(command, tmp_path, write):
    needs_yaml(write)
    done = command("data", "check", write(tmp_path), "--json")
    assert done.code == 0 and done.json["problems"] == []
    (found,) = done.json["sets"]
    assert found["images"] == 2 and found["sizes"] == {"40x30": 2}
    shares = {name: entry["share"] for name, entry in found["classes"].items() if entry["images"]}
    assert {"road", "car", "tree"} <= set(shares) and sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(("write", "break_it", "facts"), BROKEN)
def test_broken_set_of_each_format_ends_in_its_sentence_and_code_2(command, tmp_path, write, break_it, facts):
    needs_yaml(write)
    name = write(tmp_path)
    break_it(tmp_path)
    done = command("data", "check", name)
    assert done.code == 2 and "Traceback" not in done.err
    assert_names(done.err, *facts)
    assert done.err.splitlines()[-1].startswith(("fcn-edge: ", "problem: "))


def test_check_prints_a_table_and_every_problem(command, tmp_path):
    train, val = write_coco(tmp_path / "train"), write_colours(tmp_path / "val")
    write_masks(tmp_path / "val" / "labels", ["a"], np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    done = command("data", "check", train, val)
    assert done.code == 2
    assert_names(done.out, *CLASSES, "40x30", "2 problems")
    lines = [line for line in done.err.splitlines() if line.startswith("problem: ")]
    assert len(lines) == 2
    assert_names(lines[0], "a.png", "(9, 9, 9)")
    assert_names(lines[1], "val/images/b.jpg", "train/images/b.jpg")


def test_check_prints_one_json_object_with_problems_too(command, tmp_path):
    train, val = write_coco(tmp_path / "train"), write_colours(tmp_path / "val")
    done = command("data", "check", train, val, "--json")
    assert done.code == 2 and len(done.json["problems"]) == len(done.json["in_two_sets"]) == 2
    assert [each["name"] for each in done.json["sets"]] == [train, val]


def test_show_writes_a_sheet(command, tmp_path):
    name = write_coco(tmp_path)
    done = command("data", "show", name, "--out", tmp_path / "sheet.png", "--images", 2, "--columns", 2, "--json")
    assert done.code == 0 and done.json["images"] == ["a", "b"] and done.json["unreadable"] == []
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] == 2 * 320 + 8
    command("data", "show", name, "--out", tmp_path / "s.png", "--images", 0).refuses(2, "--images", "--columns")
    command("data", "show", name, "--out", tmp_path / "images" / "a.jpg").refuses(2, "a.jpg")
    assert command("data", "show", name, "--out", tmp_path / "s.png").code == 0


def test_split_writes_lists_that_name_the_same_images_as_shares_do(command, tmp_path):
    name = write_coco(tmp_path, [f"d{drive}_{frame:02d}" for drive in range(8) for frame in range(3)])
    words = ("--train", "0.5", "--test", ".2", "--seed", 3, "--by", "sequence", "--out", tmp_path / "lists")
    done = command("data", "split", name, *words, "--json")
    assert done.code == 0 and sum(done.json["images"].values()) == 24
    for part, share in (("train", "0.5"), ("val", "0.3")):
        listed = dataset_from_name(f"{name}#list={done.json['lists'][part]}")
        shared = dataset_from_name(f"{name}#{part}={share},seed=3,by=sequence")
        assert [item.name for item in listed.items] == [item.name for item in shared.items]
        assert len(listed.items) == done.json["images"][part]
    again = command("data", "split", name, *words)
    assert again.code == 0 and f"{name}#list=" in again.out


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["--train", "1.5"], ["--train", "1.5"]),
        (["--train", "0.5", "--val", "0.6"], ["0.5", "0.6"]),
        (["--train", "0.9999999"], ["val", 2, "--seed"]),
        (["--by", "drive"], ["--by", "drive"]),
    ],
)
def test_split_that_cannot_be_is_refused(command, tmp_path, words, facts):
    command("data", "split", write_coco(tmp_path), *words, "--out", tmp_path / "lists").refuses(2, *facts)
    assert not (tmp_path / "lists").exists()


def test_split_replaces_no_other_file(command, tmp_path):
    name = write_coco(tmp_path, [f"{number}" for number in range(20)])
    (tmp_path / "train.txt").write_text("mine\n")
    command("data", "split", name, "--out", tmp_path).refuses(2, "train.txt")
    assert not (tmp_path / "val.txt").exists()


def test_convert_writes_a_folder_that_opens(command, tmp_path):
    name = write_coco(tmp_path / "in")
    done = command("data", "convert", f"{name}#ignore=tree", "--out", tmp_path / "out", "--json")
    assert done.code == 0 and done.json["images"] == 2 and done.json["classes"] == list(CLASSES[:3])
    assert json.loads((tmp_path / "out" / "classes.json").read_text())["names"] == list(CLASSES[:3])
    assert command("data", "check", f"folder:{tmp_path / 'out'}").code == 0


def test_group_without_a_verb_and_unknown_verbs_are_refused(command):
    done = command("data")
    assert done.code == 2 and "convert" in done.err and done.out == ""
    command("data", "chek", "x").refuses(2, "chek", "check", "fcn-edge data --help")
    command("data", "check").refuses(2, "fcn-edge data check --help")
    command("data", "check", "nothing").refuses(2, "nothing", "coco")
