"""Cityscapes: a tiny tree of its shape, train ids, and label ids that are mapped to them."""

from __future__ import annotations

import cv2
import numpy as np

from fcn_edge.data import cityscapes, dataset_from_name
from fcn_edge.errors import BadInput
from tests.refusals import assert_names, refused


def write_city(root, city, name, labels, kind, split="val"):
    image = root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
    label = root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.zeros((*labels.shape, 3), np.uint8))
    cv2.imwrite(str(label), labels)
    return image, label


def test_items_are_found_city_by_city(tmp_path):
    labels = np.array([[0, 18, 255]], np.uint8)
    write_city(tmp_path, "ulm", "ulm_000001_000019", labels, "labelTrainIds")
    write_city(tmp_path, "bonn", "bonn_000000_000019", labels, "labelTrainIds")
    write_city(tmp_path, "jena", "jena_000000_000019", labels, "labelTrainIds", split="train")
    dataset = dataset_from_name(f"cityscapes:{tmp_path}#val")
    assert [(item.sequence, item.name) for item in dataset.items] == [
        ("bonn", "bonn_000000_000019"),
        ("ulm", "ulm_000001_000019"),
    ]
    np.testing.assert_array_equal(dataset.items[0].labels(), labels)
    assert len(dataset.classes) == len(dataset.palette) == len(cityscapes.LABEL_IDS) == 19


def test_label_ids_become_train_ids(tmp_path):
    """7 road, 11 building, 26 car, 33 bicycle; 0..6 and 29 (caravan) are not trained on."""
    ids = np.array([[7, 11, 26, 33, 0, 6, 29, 255]], np.uint8)
    write_city(tmp_path, "ulm", "ulm_1", ids, "labelIds")
    labels = dataset_from_name(f"cityscapes:{tmp_path}").items[0].labels()
    assert labels.tolist() == [[0, 2, 13, 18, 255, 255, 255, 255]]
    assert cityscapes.CLASSES[13] == "car" and cityscapes.CLASSES[2] == "building"


def test_train_ids_are_preferred(tmp_path):
    write_city(tmp_path, "ulm", "ulm_1", np.full((2, 2), 7, np.uint8), "labelIds")
    write_city(tmp_path, "ulm", "ulm_1", np.full((2, 2), 5, np.uint8), "labelTrainIds")
    assert dataset_from_name(f"cityscapes:{tmp_path}").items[0].labels().tolist() == [[5, 5], [5, 5]]


def test_label_ids_where_train_ids_should_be_are_named(tmp_path):
    write_city(tmp_path, "ulm", "ulm_1", np.full((2, 2), 33, np.uint8), "labelTrainIds")
    with refused(BadInput, "ulm_1_gtFine_labelTrainIds.png", 33, "0..18"):
        dataset_from_name(f"cityscapes:{tmp_path}").items[0].labels()


def test_image_without_labels_is_named(tmp_path):
    _, label = write_city(tmp_path, "ulm", "ulm_1", np.zeros((2, 2), np.uint8), "labelIds")
    label.unlink()
    with refused(BadInput, "ulm_1_leftImg8bit.png", "ulm_1_gtFine_labelIds.png"):
        dataset_from_name(f"cityscapes:{tmp_path}")


def test_labels_of_another_size_are_named(tmp_path):
    image, _ = write_city(tmp_path, "ulm", "ulm_1", np.zeros((2, 2), np.uint8), "labelIds")
    cv2.imwrite(str(image), np.zeros((3, 2, 3), np.uint8))
    with refused(BadInput, "ulm_1_gtFine_labelIds.png", "2x2", "2x3"):
        dataset_from_name(f"cityscapes:{tmp_path}").items[0].labels()


def test_split_that_is_not_there_is_named(tmp_path):
    with refused(BadInput, "leftImg8bit/test", "*_leftImg8bit.png"):
        dataset_from_name(f"cityscapes:{tmp_path}#test")


def test_hidden_files_are_passed_over_with_a_note(tmp_path):
    image, _ = write_city(tmp_path, "ulm", "ulm_1", np.zeros((2, 2), np.uint8), "labelIds")
    image.with_name(f"._{image.name}").write_bytes(b"of another system")
    dataset = dataset_from_name(f"cityscapes:{tmp_path}")
    assert len(dataset.items) == 1
    (note,) = dataset.notes.lines
    assert_names(note, f"._{image.name}", "hidden")


def test_label_id_beyond_8_bits_is_named(tmp_path):
    write_city(tmp_path, "ulm", "ulm_1", np.full((2, 2), 26_001, np.uint16), "labelIds")
    with refused(BadInput, "ulm_1_gtFine_labelIds.png", 26001, 255):
        dataset_from_name(f"cityscapes:{tmp_path}").items[0].labels()
