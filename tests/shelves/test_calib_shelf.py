"""Every calibration set and every benchmark suite of the shelves gives the images that it promises."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.calib.images import CalibrationRecipe, images_from_source
from fcn_edge.data import dataset_from_name
from fcn_edge.schema import from_mapping, read_toml
from fcn_edge.shelf import shelf_file, shelf_names, suite_from_shelf


@pytest.mark.parametrize("name", shelf_names("calib"))
def test_calibration_set_gives_its_images(name):
    recipe = from_mapping(CalibrationRecipe, read_toml(shelf_file("calib", name)), name)
    assert len(images_from_source(name).images) == recipe.images
    few = images_from_source(name, 2).images
    pictures = [image.read() for image in few]
    assert all(picture.ndim == 3 and picture.dtype == np.uint8 for picture in pictures)
    assert not np.array_equal(*pictures) and len({image.sha256() for image in few}) == 2


@pytest.mark.parametrize("name", shelf_names("benchmarks"))
def test_suite_opens_its_data_and_its_calibration(name):
    suite = suite_from_shelf(name)
    item = dataset_from_name(suite.data).items[0]
    assert item.image().shape[:2] == item.labels().shape
    assert suite.calib is None or images_from_source(suite.calib, 1).images
    assert suite.title and suite.rounds > 0 and suite.frames > 0


def test_suites_and_calibration_share_no_picture():
    calibrated = {image.sha256() for name in shelf_names("calib") for image in images_from_source(name, 4).images}
    for name in shelf_names("benchmarks"):
        items = dataset_from_name(suite_from_shelf(name).data).items
        assert calibrated.isdisjoint({items[index].sha256() for index in range(4)})
