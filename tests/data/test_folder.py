"""Your own data: images/, labels/ and classes.json."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from tests.refusals import refused
from tests.shared_data import SHARED


@pytest.fixture
def own_set(tmp_path, write_pair):
    """Writes a set with these classes.json entries; gives its name."""

    def write(split="", **entries):
        labels = np.array([[0, 1, 2, 0, 1, 2]] * 4, np.uint8)
        write_pair(tmp_path / split, "a", labels)
        (tmp_path / "classes.json").write_text(json.dumps(entries))
        return f"folder:{tmp_path}" + (f"#{split}" if split else "")

    return write


def test_classes_come_from_the_file(own_set, tmp_path):
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    dataset = dataset_from_name(own_set(names=["wall", "floor", "door"], palette_rgb=palette, ignore_index=9))
    assert dataset.classes == ("wall", "floor", "door")
    assert dataset.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert dataset.ignore_index == 9 and dataset.name == tmp_path.name
    assert dataset.items[0].labels()[0].tolist() == [0, 1, 2, 0, 1, 2]


def test_without_colours_those_of_voc_are_used(own_set):
    dataset = dataset_from_name(own_set(names=["wall", "floor", "door"]))
    assert dataset.palette == voc_palette(3) and dataset.ignore_index == 255


def test_split_is_a_folder_and_shares_classes_json(own_set):
    assert len(dataset_from_name(own_set("val", names=["wall", "floor", "door"])).items) == 1


def test_name_of_the_ignored_value_is_dropped(own_set):
    dataset = dataset_from_name(own_set(names=["wall", "floor", "void"], ignore_index=2))
    assert dataset.classes == ("wall", "floor")
    assert 2 in dataset.items[0].labels()


@pytest.mark.parametrize(
    ("entries", "facts"),
    [
        ({"names": ["a", "b", "c"], "palette_rgb": [[0, 0, 0]]}, ("1 colours", "3 names")),
        ({"names": ["a", "b", "c"], "ignore_index": 1}, ("ignore_index", 1, 255)),
        ({"names": []}, ("0 classes", "1 to 255")),
        ({"names": [f"c{i}" for i in range(256)], "ignore_index": 999}, ("256 classes",)),
        ({"names": "abc"}, ("names", "list", "abc")),
        ({"names": ["a", "b"], "label_values": [0]}, ("1 label_values", "2 names")),
        ({"names": ["a", "b"], "label_values": [7, 7]}, ("label_values", 7)),
        ({"names": ["a", "b"], "label_values": [0, 65536]}, ("label_values", 65536, "0 to 65535")),
        ({"names": ["a", "b"], "label_values": [0, -1]}, ("label_values", -1)),
        ({"names": ["a", "b"], "label_values": [0, 9], "ignore_index": 9}, ("label_values", 9)),
        ({"names": ["a", "b"], "label_values": 255}, ("label_values", "list", 255)),
        ({"nmaes": ["a"]}, ("nmaes", "names")),
        ({}, ("names",)),
    ],
)
def test_classes_file_that_does_not_fit_is_named(own_set, entries, facts):
    with refused(BadInput, "classes.json", *facts):
        dataset_from_name(own_set(**entries))


def test_missing_classes_file_is_named(own_set, tmp_path):
    name = own_set(names=["a"])
    (tmp_path / "classes.json").unlink()
    with refused(BadInput, "classes.json"):
        dataset_from_name(name)


def test_label_beyond_the_names_is_named(own_set):
    with refused(BadInput, "labels/a.png", 2, "0..1", "label_values"):
        dataset_from_name(own_set(names=["wall", "floor"])).items[0].labels()


def test_notes_in_classes_json_are_passed_over(own_set):
    dataset = dataset_from_name(own_set(names=["a", "b"], pixels={"a": 3}, size_hw=[4, 6]))
    assert dataset.classes == ("a", "b")


@pytest.fixture
def two_classes(tmp_path, write_pair):
    """Writes a set of other and road whose label files hold these values; gives its name."""

    def write(*values, **entries):
        for number, each in enumerate(values):
            write_pair(tmp_path, f"p{number}", np.resize(np.array(each, np.uint8), (4, 6)))
        (tmp_path / "classes.json").write_text(json.dumps({"names": ["other", "road"], **entries}))
        return f"folder:{tmp_path}"

    return write


@pytest.mark.parametrize("values", [[[0, 255]], [[0], [255]], [[255]], [[0, 255], [0]]])
def test_mask_of_0_and_255_is_refused_with_both_ways_out(two_classes, values):
    with refused(BadInput, "1 (road)", '"label_values": [0, 255]', "classes.json", '"label_values": [0, 1]'):
        dataset_from_name(two_classes(*values))


@pytest.mark.parametrize("values", [[[0, 255], [0, 1]], [[0, 1]], [[0]], [[1, 255]]])
def test_labels_that_are_certain_are_taken(two_classes, values):
    dataset = dataset_from_name(two_classes(*values))
    found = {int(value) for number in range(len(values)) for value in np.unique(dataset.items[number].labels())}
    assert found == {value for each in values for value in each}


@pytest.mark.parametrize("ignore", [{}, {"ignore_index": 255}])
def test_255_is_a_class_where_label_values_say_so(two_classes, ignore):
    dataset = dataset_from_name(two_classes([0, 255, 255], label_values=[0, 255], **ignore))
    assert dataset.items[0].labels()[0].tolist() == [0, 1, 1, 0, 1, 1] and dataset.ignore_index == 255


def test_255_is_ignored_where_label_values_say_so(two_classes):
    dataset = dataset_from_name(two_classes([0, 255], label_values=[0, 1]))
    assert dataset.items[0].labels()[0].tolist() == [0, 255] * 3


def test_mapped_value_that_is_not_listed_is_named(two_classes):
    dataset = dataset_from_name(two_classes([0, 100, 7], label_values=[0, 100], ignore_index=254))
    with refused(BadInput, "p0.png", 7, "label_values", "0, 100", 254):
        dataset.items[0].labels()


def test_255_that_is_not_the_ignored_value_is_refused_with_the_way_to_map_it(two_classes):
    dataset = dataset_from_name(two_classes([0, 255], ignore_index=2))
    with refused(BadInput, "p0.png", 255, "classes.json", "label_values"):
        dataset.items[0].labels()


@pytest.mark.parametrize("ignore", [-1, 65535])
def test_ignored_value_that_8_bits_do_not_hold_is_255_in_labels(two_classes, ignore):
    assert dataset_from_name(two_classes([0, 1], ignore_index=ignore)).ignore_index == 255


CASES = SHARED / "cases" / "labels"


@pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not on this machine")
def test_labels_of_a_real_picture_with_orientation_6_lie_on_it():
    """The stored pixels lie on their side, and the labels were drawn on them."""
    dataset = dataset_from_name(f"folder:{CASES / 'pngexif6_raw'}")
    item = dataset.items[0]
    stored = cv2.imread(str(CASES / "pngexif6_raw" / "labels" / f"{item.name}.png"), cv2.IMREAD_UNCHANGED)
    assert item.image().shape == (360, 480, 3)
    np.testing.assert_array_equal(item.labels(), np.rot90(stored, -1))
    assert len(dataset.notes.lines) == 2
