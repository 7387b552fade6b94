"""Masks as CVAT and Roboflow export them, and ADE20K's: one right set each, and what is wrong with others."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from fcn_edge.data import class_set, dataset_from_name
from fcn_edge.errors import BadInput
from tests.data.formatfiles import (
    CLASSES,
    COLOURS,
    HEIGHT,
    WIDTH,
    coloured,
    labels,
    write_ade20k,
    write_cvat,
    write_masks,
    write_picture,
    write_roboflow,
)
from tests.refusals import refused


def first_labels(name):
    return dataset_from_name(name).items[0].labels()


@pytest.mark.parametrize("write", [write_cvat, write_roboflow])
def test_scene_is_read(tmp_path, write):
    data = dataset_from_name(write(tmp_path))
    assert data.classes == CLASSES and data.ignore_index == 255 and len(data.items) == 2
    for number in range(2):
        np.testing.assert_array_equal(data.items[number].labels(), labels())
        assert data.items[number].image().shape == (HEIGHT, WIDTH, 3)
    assert pickle.loads(pickle.dumps(data.items[0])).labels().any()


# CVAT


@pytest.fixture
def cvat(tmp_path):
    return write_cvat(tmp_path)


def test_cvat_takes_the_colours_of_labelmap(cvat):
    assert dataset_from_name(cvat).palette == tuple(COLOURS.values())


def test_cvat_grey_mask_holds_numbers_of_lines(cvat, tmp_path):
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "a.png"), labels())
    np.testing.assert_array_equal(first_labels(cvat), labels())
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "a.png"), np.where(labels() == 1, 4, labels()).astype(np.uint8))
    with refused(BadInput, "a.png", 4, "0 to 3"):
        first_labels(cvat)
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "a.png"), np.where(labels() == 1, 255, 0).astype(np.uint8))
    with refused(BadInput, "a.png", 255):
        first_labels(cvat)


@pytest.mark.parametrize("is_grey", [True, False])
def test_cvat_label_ignored_is_ignored(cvat, tmp_path, is_grey):
    listing = tmp_path / "labelmap.txt"
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join([*lines[:3], "ignored:224,224,192::", *lines[3:]]))
    if is_grey:
        mask = np.array([0, 1, 3, 4], np.uint8)[labels()]
        mask[0] = 2
    else:
        mask = coloured().copy()
        mask[0] = (192, 224, 224)
    write_masks(tmp_path / "SegmentationClass", ["a"], mask)
    expected = labels()
    expected[0] = 255
    assert dataset_from_name(cvat).classes == CLASSES
    np.testing.assert_array_equal(first_labels(cvat), expected)


def test_cvat_lists_are_splits(cvat, tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "default.txt").rename(lists / "train.txt")
    (lists / "val.txt").write_text("b\n")
    assert [item.name for item in dataset_from_name(f"{cvat}#val").items] == ["b"]
    with refused(BadInput, "train", "val"):
        dataset_from_name(cvat)
    with refused(BadInput, "test", "train", "val"):
        dataset_from_name(f"{cvat}#test")
    for path in lists.iterdir():
        path.unlink()
    assert len(dataset_from_name(cvat).items) == 2


def test_cvat_image_without_mask_is_left_out_and_noted(cvat, tmp_path):
    (tmp_path / "SegmentationClass" / "a.png").unlink()
    data = dataset_from_name(cvat)
    assert [item.name for item in data.items] == ["b"]
    assert any(line.startswith("a: ") and "mask" in line for line in data.notes.lines)
    (tmp_path / "SegmentationClass" / "b.png").unlink()
    with refused(BadInput, "SegmentationClass", "default.txt"):
        dataset_from_name(cvat)


def test_cvat_wrong_files_are_refused(cvat, tmp_path):
    (tmp_path / "labelmap.txt").write_text("background:0,0,0\nroad:red::\n")
    with refused(BadInput, "labelmap.txt", "red"):
        dataset_from_name(cvat)
    (tmp_path / "labelmap.txt").unlink()
    with refused(BadInput, "labelmap.txt", "voc:"):
        dataset_from_name(cvat)
    with refused(BadInput, "SegmentationClass", "CVAT"):
        dataset_from_name(f"cvat:{tmp_path / 'JPEGImages'}")


def test_cvat_wrong_value_is_named(cvat, tmp_path):
    write_masks(tmp_path / "SegmentationClass", ["a"], np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8))
    with refused(BadInput, "a.png", "(255, 0, 0)", WIDTH * HEIGHT):
        first_labels(cvat)


def test_cvat_missing_images_are_named(cvat, tmp_path):
    (tmp_path / "JPEGImages" / "b.jpg").unlink()
    with refused(BadInput, "b.jpg", "b.png"):
        dataset_from_name(cvat)
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    (tmp_path / "JPEGImages").rmdir()
    with refused(BadInput, "JPEGImages"):
        dataset_from_name(cvat)
    write_picture(tmp_path / "images" / "a.jpg")
    write_picture(tmp_path / "images" / "a.png")
    with refused(BadInput, "a.jpg", "a.png"):
        dataset_from_name(cvat)


# Roboflow


@pytest.fixture
def roboflow(tmp_path):
    return write_roboflow(tmp_path)


def test_roboflow_values_need_not_follow_on_each_other(roboflow, tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split / "_classes.csv").write_text(
            "Pixel Value, Class\n9, car\n0, background\n4, road\n200, tree\n"
        )
    for mask in (tmp_path / "train").glob("*_mask.png"):
        cv2.imwrite(str(mask), np.array([0, 4, 9, 200], np.uint8)[labels()])
    assert dataset_from_name(roboflow).classes == CLASSES
    np.testing.assert_array_equal(first_labels(roboflow), labels())


def test_roboflow_folder_of_one_split_is_a_set(roboflow, tmp_path):
    assert len(dataset_from_name(f"roboflow:{tmp_path / 'valid'}").items) == 2
    with refused(BadInput, "train", "valid"):
        dataset_from_name(f"roboflow:{tmp_path}")
    with refused(BadInput, "test", "valid"):
        dataset_from_name(f"roboflow:{tmp_path}#test")


WRONG_CLASSES = [
    ("", []),
    ("filename, road, car\na.jpg, 1, 0\n", ["filename", "Pixel Value"]),
    ("Pixel Value, Class\n0, a, b\n", ["0, a, b"]),
    ("Pixel Value, Class\nroad, 0\n", ["road"]),
    ("Pixel Value, Class\n0, a\n256, b\n", [256, 255]),
    ("Pixel Value, Class\n0, a\n0, b\n", ["0, b"]),
    ("Pixel Value, Class\n0, a\n1, a\n", ["1, a"]),
    ("Pixel Value, Class\n", [0]),
]


@pytest.mark.parametrize(("text", "facts"), WRONG_CLASSES)
def test_roboflow_wrong_file_is_refused(roboflow, tmp_path, text, facts):
    (tmp_path / "train" / "_classes.csv").write_text(text)
    with refused(BadInput, "_classes.csv", *facts):
        dataset_from_name(roboflow)


def test_roboflow_splits_of_other_classes_are_refused(roboflow, tmp_path):
    (tmp_path / "valid" / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n2, road\n3, tree\n")
    with refused(BadInput, "valid/_classes.csv", "train/_classes.csv"):
        dataset_from_name(roboflow)


@pytest.mark.parametrize("value", [4, 255])
def test_roboflow_wrong_value_is_named(roboflow, tmp_path, value):
    values = labels()
    values[0, 0] = value
    cv2.imwrite(str(tmp_path / "train" / "a_jpg.rf.0c1_mask.png"), values)
    with refused(BadInput, "a_jpg.rf.0c1_mask.png", value, "0 to 3", "_classes.csv"):
        first_labels(roboflow)


def test_roboflow_missing_images_and_masks_are_named(roboflow, tmp_path):
    (tmp_path / "train" / "a_jpg.rf.0c1.jpg").unlink()
    with refused(BadInput, "a_jpg.rf.0c1_mask.png", "a_jpg.rf.0c1.jpg"):
        dataset_from_name(roboflow)
    (tmp_path / "train" / "b_jpg.rf.7fe_mask.png").unlink()
    with refused(BadInput, "b_jpg.rf.7fe.jpg", "b_jpg.rf.7fe_mask.png"):
        dataset_from_name(roboflow)


# ADE20K


def test_ade20k_has_150_classes_and_other_is_ignored(tmp_path):
    data = dataset_from_name(write_ade20k(tmp_path))
    assert len(data.classes) == len(data.palette) == 150 and data.ignore_index == 255
    known = class_set("ade20k")
    assert (known.classes, known.palette, known.ignore_index) == (data.classes, data.palette, 255)
    table = np.array([255, *(data.classes.index(name) for name in ("road", "car", "tree"))])
    np.testing.assert_array_equal(data.items[0].labels(), table[labels()])
    assert (data.classes[0], data.classes[149]) == ("wall", "flag") and data.palette[0] == (120, 120, 120)


def test_ade20k_splits(tmp_path):
    name = write_ade20k(tmp_path)
    assert len(dataset_from_name(f"ade20k:{tmp_path}#validation").items) == 2
    for split in ("", "#test"):
        with refused(BadInput, "train", "val"):
            dataset_from_name(f"ade20k:{tmp_path}{split}")
    with refused(BadInput, "training"):
        dataset_from_name(name.replace("#val", "#train"))


def test_ade20k_wrong_value_wrong_file_and_missing_labels_are_named(tmp_path):
    name = write_ade20k(tmp_path)
    file = tmp_path / "annotations" / "validation" / "ADE_val_00000001.png"
    cv2.imwrite(str(file), np.full((HEIGHT, WIDTH), 151, np.uint8))
    with refused(BadInput, file.name, 151, "1 to 150"):
        first_labels(name)
    cv2.imwrite(str(file), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with refused(BadInput, file.name, "colours"):
        first_labels(name)
    file.unlink()
    with refused(BadInput, "ADE_val_00000001.jpg", file.name):
        dataset_from_name(name)
