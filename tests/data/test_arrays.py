"""Data sets of arrays in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fcn_edge.data import dataset_from_name, open_dataset
from fcn_edge.errors import BadInput
from tests.refusals import refused

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
LABELS = np.array([[0, 1, 255], [1, 1, 0]])


def test_pairs_of_a_list_and_of_a_generator_are_the_same_set():
    sets = [
        open_dataset(pairs, classes=["a", "b"]) for pairs in ([(IMAGE, LABELS)] * 2, ((IMAGE, LABELS) for _ in "ab"))
    ]
    for data in sets:
        assert len(data.items) == 2 and data.classes == ("a", "b") and len(data.palette) == 2
        item = data.items[1]
        assert np.array_equal(item.image(), IMAGE) and np.array_equal(item.labels(), LABELS)
        assert item.labels().dtype == np.uint8
    assert sets[0].items[0].sha256() == sets[1].items[0].sha256()


def test_sequence_is_read_item_by_item():
    asked = []

    class Drive(list):
        def __getitem__(self, number):
            asked.append(number)
            return IMAGE, LABELS

        def __len__(self):
            return 1000

    data = open_dataset(Drive([0]), classes=["a", "b"])
    data.items[7].labels()
    assert asked == [7]


@pytest.mark.parametrize("value", [2, -1, 300])
def test_label_value_that_is_no_class_is_refused(value):
    data = open_dataset([(IMAGE, np.where(LABELS == 1, value, 0))], classes=["a", "b"])
    with refused(BadInput, "image 0", value, "0..1", "255"):
        data.items[0].labels()


@pytest.mark.parametrize(
    ("image", "labels", "facts"),
    [
        (IMAGE.astype(float), LABELS, ("float64", "(2, 3, 3)")),
        (IMAGE[..., 0], LABELS, ("uint8", "(2, 3)")),
        (IMAGE, LABELS[:1], ("(1, 3)", "(2, 3)")),
        (IMAGE, LABELS.astype(float), ("float64",)),
    ],
)
def test_array_of_another_kind_is_refused(image, labels, facts):
    data = open_dataset([(image, labels)], classes=["a", "b"])
    with refused(BadInput, "image 0", *facts):
        data.items[0].labels()


def test_pairs_need_class_names_and_something_in_them():
    with refused(BadInput, "`classes`"):
        open_dataset([(IMAGE, LABELS)])
    with refused(BadInput, "(image, labels)"):
        open_dataset([], classes=["a"])
    with refused(BadInput, "`palette`", 1, 2):
        open_dataset([(IMAGE, LABELS)], classes=["a", "b"], palette=[(0, 0, 0)])
    with refused(BadInput, "item 0"):
        open_dataset([IMAGE], classes=["a", "b"]).items[0]


def test_name_path_and_open_set_are_taken(tmp_path):
    name = "synthetic:street,seed=1,images=1,size=32x48"
    data = dataset_from_name(name)
    assert open_dataset(data) is data and open_dataset(name).classes == data.classes
    with refused(BadInput, tmp_path / "none"):
        open_dataset(Path(tmp_path / "none"))
