"""PASCAL VOC: palette labels, the development kit's layout and plain folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fcn_edge.data import dataset_from_name, voc
from fcn_edge.errors import BadInput
from tests.refusals import refused
from tests.shared_data import SHARED

VOC_MINI = SHARED / "datasets" / "voc_mini"


def test_palette_is_the_published_one():
    palette = voc.voc_palette(256)
    assert palette[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert palette[20] == (0, 64, 128) and palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256


@pytest.fixture
def devkit(tmp_path):
    """A VOC year with one picture in its val list."""
    Image = pytest.importorskip("PIL.Image", reason="pillow is not installed: no palette image to read")
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "JPEGImages" / "2007_000001.jpg"), np.zeros((4, 6, 3), np.uint8))
    labels = Image.fromarray(np.array([[0, 0, 15, 15, 255, 20]] * 4, np.uint8), "P")
    labels.putpalette([value for colour in voc.voc_palette(256) for value in colour])
    labels.save(tmp_path / "SegmentationClass" / "2007_000001.png")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000001\n")
    return tmp_path


@pytest.mark.parametrize("split", ["", "#val"])
def test_development_kit_is_read_by_its_lists(devkit, split):
    dataset = dataset_from_name(f"voc:{devkit}{split}")
    assert len(dataset.items) == 1 and len(dataset.classes) == 21 and dataset.ignore_index == 255
    assert np.unique(dataset.items[0].labels()).tolist() == [0, 15, 20, 255]


def test_missing_list_is_named(devkit):
    with refused(BadInput, "Segmentation/test.txt"):
        dataset_from_name(f"voc:{devkit}#test")


def test_listed_file_that_is_missing_is_named(devkit):
    (devkit / "SegmentationClass" / "2007_000001.png").unlink()
    with refused(BadInput, "2007_000001.png", "val.txt"):
        dataset_from_name(f"voc:{devkit}")


def test_empty_list_is_refused(devkit):
    (devkit / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with refused(BadInput, "val.txt", "empty"):
        dataset_from_name(f"voc:{devkit}")


def test_image_that_is_listed_twice_is_refused(devkit):
    (devkit / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000001\n2007_000001\n")
    with refused(BadInput, "val.txt", "2007_000001"):
        dataset_from_name(f"voc:{devkit}")


def test_plain_folders_are_read_without_a_list(tmp_path, write_pair):
    write_pair(tmp_path, "a")
    write_pair(tmp_path / "val", "b")
    assert [item.name for item in dataset_from_name(f"voc:{tmp_path}").items] == ["a"]
    assert [item.name for item in dataset_from_name(f"voc:{tmp_path}#val").items] == ["b"]


@pytest.mark.skipif(not VOC_MINI.is_dir(), reason=f"{VOC_MINI} is not here: real VOC labels were not read")
def test_real_voc_labels_hold_classes_and_void():
    dataset = dataset_from_name(f"voc:{VOC_MINI}")
    assert len(dataset.items) == 15
    values = {int(value) for item in dataset.items for value in np.unique(item.labels())}
    assert values <= {*range(21), 255} and {0, 255} < values and len(values) > 10
