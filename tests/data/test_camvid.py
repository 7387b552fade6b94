"""CamVid in the SegNet split."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.data import camvid, dataset_from_name
from fcn_edge.errors import BadInput
from tests.refusals import refused


def test_split_pairs_images_with_labels(tmp_path, write_pair):
    labels = np.full((4, 6), camvid.IGNORE, np.uint8)
    labels[0] = 10
    write_pair(tmp_path / "val", "0016E5_07961", labels)
    write_pair(tmp_path / "val", "0001TP_006690")
    write_pair(tmp_path / "train", "other")
    dataset = dataset_from_name(f"camvid:{tmp_path}#val")
    assert [item.name for item in dataset.items] == ["0001TP_006690", "0016E5_07961"]
    assert [item.sequence for item in dataset.items] == ["0001TP", "0016E5"]
    np.testing.assert_array_equal(dataset.items[1].labels(), labels)
    assert dataset.ignore_index == 11 and len(dataset.classes) == len(dataset.palette) == 11


@pytest.mark.parametrize(("split", "facts"), [("", ("split",)), ("#vla", ("split", "vla"))])
def test_missing_split_lists_those_that_are_there(tmp_path, write_pair, split, facts):
    write_pair(tmp_path / "val", "a")
    write_pair(tmp_path / "train", "a")
    (tmp_path / "notes").mkdir()
    with refused(BadInput, f"camvid:{tmp_path}", "train, val", *facts):
        dataset_from_name(f"camvid:{tmp_path}{split}")


def test_folder_without_any_split_says_so(tmp_path):
    with refused(BadInput, f"camvid:{tmp_path}", "split", "none"):
        dataset_from_name(f"camvid:{tmp_path}")


def test_classes_are_those_of_the_synthetic_street():
    """One network serves both sets."""
    assert dataset_from_name("synthetic:street").classes == camvid.CLASSES
    assert dataset_from_name("synthetic:street").palette == camvid.PALETTE
