"""A data set is named KIND:PATH#SPLIT; what is not is refused with the nearest."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name, is_dataset_name
from fcn_edge.errors import BadInput
from tests.refusals import refused


@pytest.mark.parametrize("text", ["camvid:DIR#val", "synthetic:street", "voc:C:/VOC#val", "folder:"])
def test_kind_and_colon_make_a_name(text):
    assert is_dataset_name(text)


@pytest.mark.parametrize("text", ["images/", "camvid", "clip.mp4", "http://host/camvid:1", "CamVid:DIR"])
def test_paths_are_no_names(text):
    assert not is_dataset_name(text)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("camvd:DIR", ("camvd:DIR", "KIND:PATH#SPLIT", "'camvid'")),
        ("camvid", ("KIND:PATH#SPLIT", "camvid")),
        ("xyz:DIR", ("xyz:DIR", "camvid", "voc", "cityscapes", "folder", "synthetic")),
        ("camvid:", ("camvid:", "camvid:DIR#SPLIT")),
        ("voc:#val", ("voc:#val", "voc:DIR#SPLIT")),
        ("folder:/nowhere/at/all", ("folder:/nowhere/at/all",)),
    ],
)
def test_what_is_no_name_is_refused(text, facts):
    with refused(BadInput, *facts):
        dataset_from_name(text)


def drives(folder, *names):
    """A CamVid-like split with an image of each name."""
    for part in ("images", "labels"):
        (folder / "train" / part).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(folder / "train" / part / f"{name}.png"), np.zeros((4, 6), np.uint8))
    return f"camvid:{folder}#train"


def test_a_drive_is_left_out_or_alone(tmp_path):
    name = drives(tmp_path, "A_001", "A_002", "B_001", "C_001")
    found = {option: dataset_from_name(f"{name},{option}") for option in ("only=A", "without=A", "without=B,without=C")}
    assert {option: [item.name for item in data.items] for option, data in found.items()} == {
        "only=A": ["A_001", "A_002"],
        "without=A": ["B_001", "C_001"],
        "without=B,without=C": ["A_001", "A_002"],
    }
    assert [data.name for data in found.values()] == [f"camvid#train,{option}" for option in found]


@pytest.mark.parametrize(
    ("option", "facts"),
    [
        ("without=AA", ("camvid#train,without=AA", "sequence", "'A'")),
        ("seed=3", ("camvid#train,seed=3", "train=SHARE", "val=SHARE")),
        ("sead=3", ("sead", "seed")),
        ("without=A", ("camvid#train,without=A", "sequence")),
    ],
)
def test_drives_that_are_not_there_are_refused(tmp_path, option, facts):
    name = drives(tmp_path, "A_001", "A_002")
    with refused(BadInput, *facts):
        dataset_from_name(f"{name},{option}")
