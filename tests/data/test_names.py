"""A data set is named KIND:PATH#SPLIT; what is not is refused with the nearest."""

from __future__ import annotations

import pytest

from fcn_edge.data import dataset_from_name, is_dataset_name
from fcn_edge.errors import BadInput


@pytest.mark.parametrize("text", ["camvid:DIR#val", "synthetic:street", "voc:C:/VOC#val", "folder:"])
def test_kind_and_colon_make_a_name(text):
    assert is_dataset_name(text)


@pytest.mark.parametrize("text", ["images/", "camvid", "clip.mp4", "http://host/camvid:1", "CamVid:DIR"])
def test_paths_are_no_names(text):
    assert not is_dataset_name(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("camvd:DIR", r"named KIND:PATH#SPLIT; did you mean 'camvid'"),
        ("camvid", r"did you mean 'camvid'"),
        ("xyz:DIR", r"known: camvid, voc, cityscapes, folder, synthetic"),
        ("camvid:", r"no folder given; a data set is named camvid:DIR#SPLIT"),
        ("voc:#val", r"no folder given"),
        ("folder:/nowhere/at/all", r"folder:/nowhere/at/all: no such folder"),
    ],
)
def test_what_is_no_name_is_refused(text, words):
    with pytest.raises(BadInput, match=words):
        dataset_from_name(text)
