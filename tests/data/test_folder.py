"""Your own data: images/, labels/ and classes.json."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput


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
    ("entries", "words"),
    [
        ({"names": ["a", "b", "c"], "palette_rgb": [[0, 0, 0]]}, "1 colours for 3 names"),
        ({"names": ["a", "b", "c"], "ignore_index": 1}, "ignore_index 1 lies between classes"),
        ({"names": []}, "0 classes; 1 to 255 are possible"),
        ({"names": [f"c{i}" for i in range(256)], "ignore_index": 999}, "256 classes"),
        ({"names": "abc"}, "names: expected a list"),
        ({"nmaes": ["a"]}, "unknown key 'nmaes'; did you mean 'names'"),
        ({}, "missing names"),
    ],
    ids=["colours", "ignored between", "none", "too many", "text", "misspelt", "empty"],
)
def test_classes_file_that_does_not_fit_is_named(own_set, entries, words):
    with pytest.raises(BadInput, match=rf"classes.json: .*{words}"):
        dataset_from_name(own_set(**entries))


def test_missing_classes_file_is_named(own_set, tmp_path):
    name = own_set(names=["a"])
    (tmp_path / "classes.json").unlink()
    with pytest.raises(BadInput, match=r"classes.json: no such file"):
        dataset_from_name(name)


def test_label_beyond_the_names_is_named(own_set):
    with pytest.raises(BadInput, match=r"label value 2; the classes are 0..1"):
        dataset_from_name(own_set(names=["wall", "floor"])).items[0].labels()


def test_notes_in_classes_json_are_passed_over(own_set):
    dataset = dataset_from_name(own_set(names=["a", "b"], pixels={"a": 3}, size_hw=[4, 6]))
    assert dataset.classes == ("a", "b")
