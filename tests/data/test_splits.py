"""Parts of a data set: lists, shares by hash, and a class that is ignored."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.data import dataset_from_name
from fcn_edge.data.splits import places_of_items, selected, sequence_of
from fcn_edge.errors import BadInput
from tests.data.formatfiles import labels, write_coco
from tests.data.test_names import drives
from tests.refusals import refused

STEMS = [f"{drive}_{number:03d}" for drive in ("A", "B", "C", "D", "E", "F") for number in range(5)]


@pytest.fixture
def drives_name(tmp_path):
    return drives(tmp_path, *STEMS)


def names_in(text):
    return [item.name for item in dataset_from_name(text).items]


@pytest.mark.parametrize("by", ["name", "sequence"])
@pytest.mark.parametrize("share", ["0.8", ".5", "0.345", "0.7"])
def test_train_and_val_are_all_items_each_in_one_of_them(drives_name, share, by):
    rest = f"{1 - float(share):.3f}"
    train = names_in(f"{drives_name},train={share},seed=1,by={by}")
    val = names_in(f"{drives_name},val={rest},seed=1,by={by}")
    assert sorted(train + val) == STEMS and not set(train) & set(val)
    if by == "sequence":
        assert not {name[0] for name in train} & {name[0] for name in val}


def test_share_depends_on_the_seed_and_on_no_order_and_stays_when_images_are_added(drives_name, tmp_path):
    data = dataset_from_name(drives_name)
    options = [("train", "0.6"), ("seed", "7")]
    chosen = [item.name for item in selected(data, options, tmp_path).items]
    backwards = replace(data, items=list(data.items)[::-1])
    assert [item.name for item in selected(backwards, options, tmp_path).items] == chosen[::-1]
    half = replace(data, items=list(data.items)[:15])
    assert [item.name for item in selected(half, options, tmp_path).items] == [n for n in chosen if n < "D"]
    assert names_in(f"{drives_name},train=0.6,seed=8") != chosen


def test_shares_are_about_as_large_as_asked_for(drives_name):
    items = list(dataset_from_name(drives_name).items)
    many = [replace(items[0], name=f"image{number}") for number in range(2000)]
    below = sum(place < Fraction("0.8") for place in places_of_items(many, 1, "name"))
    assert 0.77 < below / 2000 < 0.83


def test_split_of_the_set_and_its_share_go_together(drives_name):
    assert len(names_in(f"{drives_name},only=B,train=0.8,seed=1")) <= 5
    with refused(BadInput, "B"):
        names_in(f"{drives_name},only=B,train=0.8,seed=1,by=sequence")


@settings(max_examples=40, deadline=None)
@given(st.text("ab_0", min_size=1, max_size=8), st.integers(0, 99999), st.sampled_from(["_", "-", "", "_frame_", " "]))
def test_sequence_of_a_numbered_name_is_what_stands_before_the_number(prefix, number, between):
    class Numbered:
        name = f"{prefix.rstrip('_0') or 'x'}{between}{number:05d}"
        sequence = name

    assert sequence_of(Numbered()) == (prefix.rstrip("_0") or "x")


@pytest.mark.parametrize(
    "text",
    [
        "A_003\nB_001\n",
        "# two frames\n\nA_003.png\n  B_001.png  \n",
        "images/A_003.png\r\nimages\\B_001.png\r\n",
        "\ufeff/elsewhere/A_003.PNG\n./B_001\n",
    ],
)
def test_list_names_items_in_its_order_with_or_without_folder_and_suffix(drives_name, tmp_path, text):
    (tmp_path / "part.txt").write_text(text, encoding="utf-8")
    assert names_in(f"{drives_name},list={tmp_path / 'part.txt'}") == ["A_003", "B_001"]


def test_list_is_found_beside_the_set_and_without_a_split(tmp_path):
    name = write_coco(tmp_path)
    (tmp_path / "val.txt").write_text("b\n")
    assert names_in(f"{name}#list=val.txt") == ["b"]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A_003\nA_999\n", ["A_999", "part.txt"]),
        ("A_003\nA_003.png\n", ["A_003", "part.txt"]),
        ("\n# nothing\n", ["part.txt"]),
    ],
)
def test_list_that_does_not_fit_is_refused(drives_name, tmp_path, text, facts):
    (tmp_path / "part.txt").write_text(text)
    with refused(BadInput, *facts):
        names_in(f"{drives_name},list={tmp_path / 'part.txt'}")


def test_list_that_is_no_text_or_not_there_is_refused(drives_name, tmp_path):
    (tmp_path / "part.txt").write_bytes(b"\xff\xfe\x00\xd8")
    for file in ("part.txt", "none.txt"):
        with refused(BadInput, file):
            names_in(f"{drives_name},list={tmp_path / file}")


def test_stem_of_two_images_needs_its_folder(tmp_path):
    name = write_coco(tmp_path, ("x/a", "y/a"))
    (tmp_path / "part.txt").write_text("y/a.jpg\n")
    assert names_in(f"{name}#list=part.txt") == ["y/a"]
    (tmp_path / "part.txt").write_text("a.jpg\n")
    with refused(BadInput, "a", 2):
        names_in(f"{name}#list=part.txt")


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("train=1.5", ["1.5"]),
        ("train=0", ["0"]),
        ("val=1", ["1"]),
        ("train=-0.5", ["-0.5"]),
        ("train=1e-3", ["1e-3"]),
        ("train=0.8,seed=x", ["seed=x"]),
        ("train=0.8,by=drive", ["by=drive", "sequence"]),
        ("train=0.000001,seed=1", [30]),
        ("seed=1", ["seed", "train"]),
        ("by=name", ["by", "train"]),
        ("train=", ["train="]),
        ("train", ["train"]),
        ("ignore=cat", ["cat"]),
    ],
)
def test_options_that_cannot_be_are_refused(drives_name, options, facts):
    with refused(BadInput, *facts):
        names_in(f"{drives_name},{options}")


def test_ignored_class_is_gone_and_the_others_move_up(tmp_path):
    name = write_coco(tmp_path)
    data = dataset_from_name(f"{name}#ignore=road")
    kept = ("background", "car", "tree")
    assert data.classes == kept and len(data.palette) == 3 and data.ignore_index == 255
    whole, found = labels(), data.items[0].labels()
    for old, new in ((0, 0), (1, 255), (2, 1), (3, 2)):
        assert (found[whole == old] == new).all()
    assert data.items[0].sha256() == dataset_from_name(name).items[0].sha256()
    np.testing.assert_array_equal(data.items[0].image(), dataset_from_name(name).items[0].image())
    only_tree = dataset_from_name(f"{name}#ignore=road,ignore=background,ignore=car")
    assert only_tree.classes == ("tree",) and set(np.unique(only_tree.items[0].labels())) == {0, 255}
    with refused(BadInput, "tree"):
        dataset_from_name(f"{name}#ignore=road,ignore=background,ignore=car,ignore=tree")


def test_ignored_value_of_the_set_stays_ignored(tmp_path):
    name = drives(tmp_path, "A_1")
    file = tmp_path / "train" / "labels" / "A_1.png"
    cv2.imwrite(str(file), np.array([[0, 1, 2, 9, 10, 11]] * 4, np.uint8))
    found = dataset_from_name(f"{name},ignore=building").items[0].labels()[0]
    assert found.tolist() == [0, 255, 1, 8, 9, 255]
