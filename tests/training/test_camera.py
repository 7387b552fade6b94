"""What a camera does to a picture, and geometry that recipes ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing is trained")

from fcn_edge.data import dataset_from_name
from fcn_edge.registry import TrainRecipe, recipe_from_shelf
from fcn_edge.training.batches import EpochBatches, normalised
from fcn_edge.training.camera import in_other_light, motion_kernel, photometric, with_camera, with_sensor
from fcn_edge.training.crops import placement, random_angle, random_crop, stretched, turned

PLAN = TrainRecipe(epochs=1, crop=(64, 96))
ROUNDING = 1e-9  # pixels


def test_camera_changes_its_share_of_pictures(frame):
    rng = np.random.default_rng(0)
    assert with_camera(frame, 0.0, rng) is frame
    seen = [with_camera(frame, 0.3, rng) for _ in range(40)]
    assert all(image.dtype == np.uint8 and image.shape == frame.shape for image in seen)
    assert 0.4 < np.mean([not np.array_equal(image, frame) for image in seen]) < 0.9


def test_warm_light_is_red_and_cold_light_is_blue():
    grey = np.full((2, 2, 3), 100, np.uint8)
    warm, cold = in_other_light(grey, 0.3)[0, 0].astype(int), in_other_light(grey, -0.3)[0, 0].astype(int)
    assert warm[2] > 110 and warm[0] < 90 and warm[1] == 100
    assert cold[0] > 110 and cold[2] < 90


@pytest.mark.parametrize("length", [3, 4, 7])
def test_motion_blur_keeps_brightness(length):
    for angle in np.linspace(0, np.pi, 9):
        kernel = motion_kernel(length, angle)
        assert kernel.shape == (length, length) and kernel.sum() == pytest.approx(1.0, abs=1e-6)
    assert (motion_kernel(length, 0.0) > 0).any(0).all()


def test_stretch_keeps_the_area_and_its_limit():
    rng = np.random.default_rng(0)
    assert stretched(0.5, 0.0, rng) == (0.5, 0.5)
    for _ in range(50):
        x, y = stretched(0.5, 0.4, rng)
        assert x * y == pytest.approx(0.25) and abs(np.log(x / y)) <= 0.4 + ROUNDING


def test_turn_is_about_its_pixel_and_within_its_limit():
    rng = np.random.default_rng(0)
    angles = [random_angle(15.0, rng) for _ in range(200)]
    assert max(map(abs, angles)) <= 15.0 and np.std(angles) > 3.0 and random_angle(0.0, rng) == 0.0
    matrix = turned(placement((1.0, 1.0), (0.0, 0.0), 96, is_flipped=False), (40.0, 30.0), 90.0)
    assert matrix @ (40.0, 30.0, 1.0) == pytest.approx((40.0, 30.0), abs=ROUNDING)
    assert matrix @ (50.0, 30.0, 1.0) == pytest.approx((40.0, 20.0), abs=ROUNDING)


def test_turned_and_stretched_crops_move_image_and_labels_alike():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (64, 96), np.uint8).repeat(4, 0).repeat(4, 1)
    image = np.stack([labels * 80] * 3, -1)
    settings = replace(PLAN, rotation=15.0, stretch=0.4)
    for _ in range(20):
        cropped, marked = random_crop(image, labels, settings, rng, 255)
        near = np.abs(cropped[..., 0].astype(int) - marked.astype(int) * 80) <= 40
        assert cropped.shape == (64, 96, 3) and (near | (marked == 255)).mean() > 0.75  # all but the classes' edges


def test_recipes_without_the_newer_options_draw_what_they_drew():
    """The random numbers of a packaged recipe's crops, one by one as they were before scenes and cameras."""
    recipe = recipe_from_shelf("fcn4s_lite0_camvid")
    settings = replace(recipe.train, batch=2, crop=(64, 96), rare_share=0.0)
    assert (settings.stretch, settings.rotation, settings.camera, settings.scenes) == (0.0, 0.0, 0.0, None)
    data = dataset_from_name("synthetic:street,seed=5,images=4,size=90x120")
    batches = EpochBatches(replace(recipe, train=settings), data, None)
    rng = np.random.default_rng((settings.seed, 3))
    order = rng.permutation(4)
    for images, labels in batches.epoch(3):
        step, order = order[:2], order[2:]
        for number, image, marked in zip(step, images, labels):
            rng.random()  # whether a rare class is looked for
            wanted, known = random_crop(*batches.read(int(number)), settings, rng, data.ignore_index)
            wanted = with_sensor(photometric(wanted, settings.photometric, rng), settings.sensor, rng)
            assert np.array_equal(image, normalised(wanted, recipe.input)) and np.array_equal(marked, known)
