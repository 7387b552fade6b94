"""Batches: crops, whole pictures, rare classes, noise, the thread that draws them."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.data import dataset_from_name  # noqa: E402
from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.training.batches import EpochBatches, prefetched  # noqa: E402
from fcn_edge.training.camera import with_sensor  # noqa: E402
from fcn_edge.training.crops import random_crop, whole_picture  # noqa: E402
from fcn_edge.training.reader import ImageReader  # noqa: E402
from tests.labelfiles import GREY, RGB, png_from_samples  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import (  # noqa: E402
    PLAN,
    RECIPE,
)

LABELS = np.arange(24).reshape(4, 6) % 5 % 2


def test_training_reads_pictures_and_labels_upright(tmp_path):
    for part, samples, kind, tag in (("images", np.zeros((4, 6, 3), int), RGB, 6), ("labels", LABELS, GREY, None)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.png").write_bytes(png_from_samples(samples, 1 if kind == GREY else 8, kind, tag))
    (tmp_path / "classes.json").write_text('{"names": ["a", "b"]}')
    image, labels = ImageReader(dataset_from_name(f"folder:{tmp_path}"))(0)
    assert image.shape == (6, 4, 3)
    np.testing.assert_array_equal(labels, np.rot90(LABELS, -1))


@pytest.mark.slow
def test_epochs_draw_the_same_batches_whenever_they_are_asked(streets):
    batches = EpochBatches(RECIPE, streets["data"], None)
    first, again, second = (list(batches.epoch(number)) for number in (3, 3, 4))
    assert len(first) == batches.per_epoch == 2
    assert all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, again))
    assert not np.array_equal(first[0][0], second[0][0])
    images, labels = first[0]
    assert images.shape == (4, 3, 64, 96) and images.dtype == np.float32
    assert labels.shape == (4, 64, 96) and labels.dtype == np.int64


def test_supplement_takes_its_share_and_ignores_what_the_set_ignores(streets):
    data = replace(streets["data"], ignore_index=11)
    recipe = replace(RECIPE, train=replace(PLAN, synthetic_share=0.5, scales=(0.2, 0.3)))  # smaller than the crop
    batches = EpochBatches(recipe, data, streets["val"])
    assert (batches.real, batches.extra, batches.per_epoch) == (2, 2, 4)
    labels = next(batches.epoch(0))[1]
    assert set(np.unique(labels)) <= set(range(12)) and (labels == 11).any()


def test_crops_move_image_and_labels_alike():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (64, 96), np.uint8).repeat(4, 0).repeat(4, 1)
    image = np.stack([labels * 80] * 3, -1)
    for _ in range(20):
        cropped, marked = random_crop(image, labels, PLAN, rng, 255)
        inside = marked != 255
        near = np.abs(cropped[..., 0].astype(int) - marked.astype(int) * 80) <= 40
        assert cropped.shape == (64, 96, 3) and (near | ~inside).mean() > 0.75  # all but the edges between classes


def test_crop_around_a_pixel_holds_it():
    rng = np.random.default_rng(0)
    image, labels = np.zeros((120, 200, 3), np.uint8), np.zeros((120, 200), np.uint8)
    for x, y in ((0, 0), (199, 119), (100, 7), (3, 60)):
        labels[:] = 0
        labels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 9
        for _ in range(20):
            assert (random_crop(image, labels, PLAN, rng, 255, (x, y))[1] == 9).any(), (x, y)


def test_rare_classes_are_looked_for(streets):
    """A class of a single pixel is in every crop where `rare_share` is 1, and in few where it is 0."""

    @dataclass(frozen=True)
    class Sparse:
        name: str = "sparse"
        sequence: str = "drive"

        def image(self):
            return np.zeros((256, 512, 3), np.uint8)

        def labels(self):
            labels = np.zeros((256, 512), np.uint8)
            labels[200:203, 31:34] = 4
            return labels

    data = replace(streets["data"], items=[Sparse()] * 8)
    found = []
    for share in (0.0, 1.0):
        recipe = replace(RECIPE, train=replace(PLAN, rare_share=share, scales=(1.0, 1.0)))
        labels = np.concatenate([y for _, y in EpochBatches(recipe, data, None).epoch(0)])
        found.append((labels == 4).any((1, 2)).mean())
    assert found[0] < 0.5 and found[1] == 1.0


@pytest.mark.parametrize("size", [(64, 96), (60, 90)])
def test_whole_pictures_are_padded_as_at_inference(street, size):
    image, labels = street(3, (120, 180))
    given = replace(RECIPE.input, height=size[0], width=size[1])
    rng, seen = np.random.default_rng(0), set()
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(int)
    for _ in range(8):
        whole, marked = whole_picture(image, labels, given, rng, 255)
        assert whole.shape == (64, 96, 3)
        assert (marked[: size[0], : size[1]] != 255).all()
        assert (marked[size[0] :] == 255).all() and (marked[:, size[1] :] == 255).all()
        inside = whole[: size[0], : size[1]].astype(int)
        errors = [np.abs(inside - turned).mean() for turned in (resized, resized[:, ::-1])]
        seen.add(int(np.argmin(errors)))
        assert min(errors) < 4
    assert seen == {0, 1}


def test_last_epochs_see_whole_pictures(streets):
    recipe = replace(RECIPE, train=replace(PLAN, crop=(32, 32), full_size_epochs=1))
    batches = EpochBatches(recipe, streets["data"], None)
    assert [next(batches.epoch(number))[0].shape for number in (0, 1)] == [(4, 3, 32, 32), (4, 3, 64, 96)]


def test_sensor_blurs_and_adds_noise_to_its_share(frame):
    rng = np.random.default_rng(0)
    assert with_sensor(frame, 0.0, rng) is frame
    worse = [with_sensor(frame, 0.5, rng) for _ in range(40)]
    assert all(image.dtype == np.uint8 and image.shape == frame.shape for image in worse)
    assert 0.5 < np.mean([not np.array_equal(image, frame) for image in worse]) < 0.95


def test_error_in_the_drawing_thread_comes_out_in_the_caller():
    def broken():
        yield "a batch"
        raise BadInput("street.jpg: not an image that decodes")

    taken = prefetched(broken())
    assert next(taken) == "a batch"
    with refused(BadInput, "street.jpg"):
        next(taken)


FAULTS = """
import resource, sys
import numpy as np
from fcn_edge.training.fine_tuning import keep_freed_memory
keep_freed_memory() if sys.argv[1] == "kept" else None
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_not_handed_back_to_the_kernel():
    """Page faults of 64 MiB arrays that come and go."""
    handed_back, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True, text=True).stdout)
        for how in ("as it is", "kept")
    )
    assert kept < 100 < handed_back
