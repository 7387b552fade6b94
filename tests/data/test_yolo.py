"""YOLO polygons: data.yaml and text files, and what is wrong with them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.errors import BadInput
from tests.data.formatfiles import CLASSES, HEIGHT, WIDTH, labels, write_picture, write_yolo
from tests.data.test_coco import jpeg_with_orientation
from tests.refusals import refused

pytest.importorskip("yaml", reason="pyyaml is not installed: data.yaml of YOLO cannot be read")


@pytest.fixture
def yolo(tmp_path):
    """Writes the scene with other text in its data.yaml or in a.txt; gives the data set's name."""

    def write(yaml=None, a=None):
        name = write_yolo(tmp_path)
        if yaml is not None:
            (tmp_path / "data.yaml").write_text(yaml)
        if a is not None:
            (tmp_path / "train" / "labels" / "a.txt").write_text(a)
        return name

    return write


def first_labels(name):
    return dataset_from_name(name).items[0].labels()


def test_scene_is_read_with_background_before_the_classes(yolo):
    data = dataset_from_name(yolo())
    assert data.classes == CLASSES and data.ignore_index == 255
    assert [item.name for item in data.items] == ["a", "b"]
    np.testing.assert_array_equal(data.items[1].labels(), labels())
    assert data.items[1].image().shape == (HEIGHT, WIDTH, 3)
    assert pickle.loads(pickle.dumps(data.items[0])).labels().any()


YAMLS = [
    "train: train/images\nnames:\n  0: road\n  1: car\n  2: tree\n",
    "path: .\ntrain: [train/images]\nnames: [road, car, tree]\n",
    "path: {folder}\ntrain: train/images\nval:\nnames: [road, car, tree]\n",
    "train: list.txt\nnames: [road, car, tree]\n",
]


@pytest.mark.parametrize("yaml", YAMLS)
def test_ways_to_write_data_yaml(yolo, tmp_path, yaml):
    (tmp_path / "list.txt").write_text("./train/images/a.jpg\ntrain/images/b.jpg\n")
    data = dataset_from_name(yolo(yaml.replace("{folder}", str(tmp_path))))
    assert data.classes == CLASSES
    np.testing.assert_array_equal(data.items[0].labels(), labels())


def test_smaller_polygon_counts_whatever_the_order(yolo, tmp_path):
    name = yolo()
    file = tmp_path / "train" / "labels" / "a.txt"
    file.write_text("\n".join(reversed(file.read_text().splitlines())))
    np.testing.assert_array_equal(first_labels(name), labels())
    assert first_labels(f"{name},overlap=later")[22, 15] == CLASSES.index("road")


def test_image_without_text_file_has_no_object_and_that_is_noted(yolo, tmp_path):
    name = yolo()
    (tmp_path / "train" / "labels" / "a.txt").unlink()
    data = dataset_from_name(name)
    assert not data.items[0].labels().any()
    assert any(line.startswith("a.jpg") for line in data.notes.lines)


def test_shares_are_of_the_upright_picture(yolo, tmp_path):
    name = yolo(a="0 0 0.5 1 0.5 1 1 0 1\n")
    jpeg_with_orientation(tmp_path / "train" / "images" / "a.jpg", 6)
    values = first_labels(name)
    assert values.shape == (WIDTH, HEIGHT) and (values[20:] == 1).all() and not values[:20].any()


WRONG_FILES = [
    ("names: [a, b", ["YAML"]),
    ("- a\n- b\n", ["list"]),
    ("a: !!python/object/apply:os.system ['true']\n", ["YAML"]),
    ("train: train/images\n", ["names"]),
    ("names: [road]\nnc: 3\ntrain: train/images\n", ["nc", 3, 1]),
    ("names: {1: road, 2: car}\ntrain: train/images\n", ["names", "1"]),
    ("names: [road, road]\ntrain: train/images\n", ["road"]),
    ("names: [road]\ntrain: train/images\nmasks_dir: masks\n", ["masks_dir", "folder:"]),
    ("names: [road]\ntrain: photos\n", ["photos"]),
    ("names: [road]\nval: train/images\n", ["train", "val"]),
    ("names: [road]\ntrain: missing.txt\n", ["missing.txt"]),
    ("x" * 1_000_001, [1_000_001]),
    ("&a " + "[" * 3000, ["YAML"]),
]


@pytest.mark.parametrize(("yaml", "facts"), WRONG_FILES)
def test_wrong_data_yaml_is_refused(yolo, yaml, facts):
    with refused(BadInput, "data.yaml" if facts[0] not in ("photos", "missing.txt") else facts[0], *facts):
        dataset_from_name(yolo(yaml))


WRONG_VALUES = [
    ("0 0.5 0.5 0.2 0.2\n", ["line 1", "box"]),
    ("3 0 0 1 0 1 1\n", ["line 1", "class 3", 2]),
    ("-1 0 0 1 0 1 1\n", ["line 1", "class -1"]),
    ("0 0 0 1 0 1 1\nroad 0 0 1 0 1 1\n", ["line 2"]),
    ("0 0 0 40 0 40 30\n", ["line 1", "0 to 1"]),
    ("0 0 0 nan 0 1 1\n", ["line 1"]),
    ("0 0 0 1 0 1\n", ["line 1", 5]),
    ("0\n", ["line 1"]),
    ("0 0 0 1 1\n", ["line 1", "box"]),
]


@pytest.mark.parametrize(("text", "facts"), WRONG_VALUES)
def test_wrong_line_is_refused_with_its_number(yolo, text, facts):
    name = yolo(a=text)
    with refused(BadInput, "a.txt", *facts):
        first_labels(name)


def test_missing_image_of_a_list_is_named(yolo, tmp_path):
    (tmp_path / "list.txt").write_text("train/images/a.jpg\ntrain/images/z.jpg\n")
    with refused(BadInput, "z.jpg", "list.txt"):
        dataset_from_name(yolo("train: list.txt\nnames: [road]\n"))


def test_images_without_any_label_are_refused(yolo, tmp_path):
    name = yolo()
    for file in (tmp_path / "train" / "labels").iterdir():
        file.unlink()
    with refused(BadInput, "a.jpg", "a.txt"):
        dataset_from_name(name)


def test_split_has_to_be_named_and_to_hold_images(yolo, tmp_path):
    with refused(BadInput, "train", "val"):
        dataset_from_name(yolo().partition("#")[0])
    write_picture(tmp_path / "other" / "images" / "x.jpg").unlink()
    with refused(BadInput, "data.yaml", "train"):
        dataset_from_name(yolo("train: other/images\nnames: [road]\n"))
    with refused(BadInput, "none.yaml"):
        dataset_from_name(f"yolo:{tmp_path / 'none.yaml'}#train")
