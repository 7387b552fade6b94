"""Every calibration set of the shelf gives the images that it promises."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.calibration.images import CalibrationRecipe, images_from_source
from fcn_edge.registry import shelf_file, shelf_names
from fcn_edge.schema import from_mapping, read_toml


@pytest.mark.parametrize("name", shelf_names("calib"))
def test_calibration_set_gives_its_images(name):
    recipe = from_mapping(CalibrationRecipe, read_toml(shelf_file("calib", name)), name)
    assert len(images_from_source(name).images) == recipe.images
    few = images_from_source(name, 2).images
    pictures = [image.read() for image in few]
    assert all(picture.ndim == 3 and picture.dtype == np.uint8 for picture in pictures)
    assert not np.array_equal(*pictures) and len({image.sha256() for image in few}) == 2
