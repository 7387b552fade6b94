"""Composed scenes: drawn by seed and epoch, labels on the pixels they name, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing is trained")

from fcn_edge.data import Dataset, class_set, dataset_from_name
from fcn_edge.errors import BadInput
from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe, SceneRecipe, TrainRecipe
from fcn_edge.training import scenes
from fcn_edge.training.backdrops import drawn_backdrop
from fcn_edge.training.batches import EpochBatches
from fcn_edge.training.reader import ImageReader
from fcn_edge.training.scenes import Scenes, free_rectangle
from tests.refusals import refused
from tests.training.runs import train_network

SIZE = (96, 128)
SCENES = SceneRecipe("person", share=1.0, empty=0.0, drawn=0.0, most=3)
PLAN = TrainRecipe(epochs=2, batch=4, crop=SIZE, photometric=0.0, rotation=15.0, stretch=0.3, scenes=SCENES)
GREEN, GREY, RED = (0, 255, 0), (90, 90, 90), (0, 0, 255)  # a figure, what is behind it, another background
EDGE_CELLS = 2  # pixels beside a label's border, where figure and background are mixed
CONTRASTED = 60  # levels of green over red: above them in the figure, below them behind it


@dataclass(frozen=True)
class Bust:
    """A green ellipse that reaches a photo's lower edge."""

    name: str = "bust"
    sequence: str = "bust"

    def labels(self):
        y, x = np.mgrid[:200, :150]
        return (((x - 75) / 45) ** 2 + ((y - 130) / 90) ** 2 < 1).astype(np.uint8)

    def image(self):
        return np.where(self.labels()[..., None] == 1, np.uint8(GREEN), np.uint8(GREY))


@dataclass(frozen=True)
class Plain:
    """A red picture whose right half has label 1, and a strip below it none."""

    name: str = "plain"
    sequence: str = "plain"

    def image(self):
        return np.full((60, 80, 3), RED, np.uint8)

    def labels(self):
        labels = np.zeros((60, 80), np.uint8)
        labels[:, 40:], labels[50:] = 1, 11
        return labels


PORTRAITS = Dataset("portraits", *class_set("person"), [Bust()] * 8)
STREETS = Dataset("streets", ("road", "pedestrian"), ((0, 0, 0), (1, 1, 1)), 11, [Plain()] * 4)


def scenes_of(recipe=SCENES, backgrounds=(STREETS,)):
    return Scenes(replace(PLAN, scenes=recipe), PORTRAITS, ImageReader(PORTRAITS), backgrounds)


def drawn(composer, count=40):
    rng = np.random.default_rng(0)
    return [composer.draw(composer.read(0), SIZE, rng) for _ in range(count)]


def test_labels_are_on_the_pixels_of_the_figure(monkeypatch):
    monkeypatch.setattr(scenes, "DESK_SHARE", 0.0)  # a desk may have the figure's colour
    cell = np.ones((2 * EDGE_CELLS + 1,) * 2, np.uint8)
    for image, labels in drawn(scenes_of(replace(SCENES, most=1))):
        figure = (labels == 1).astype(np.uint8)
        inside, outside = cv2.erode(figure, cell, borderValue=0) == 1, cv2.dilate(figure, cell) == 0
        greenness = image[..., 1].astype(int) - image[..., 2]
        assert image.shape == (*SIZE, 3) and labels.shape == SIZE
        assert (greenness[inside] > CONTRASTED).all() and (greenness[outside] < CONTRASTED).all()


def test_figures_of_all_sizes_are_drawn_and_some_are_cut_off():
    shares = [(labels == 1).mean() for _, labels in drawn(scenes_of(), 80)]
    cut = [(labels[:, [0, -1]] == 1).any() for _, labels in drawn(scenes_of(), 80)]
    assert min(shares) < 0.05 and max(shares) > 0.4
    assert 0.1 < np.mean(cut) < 0.9


def test_several_figures_cover_more_than_one():
    one, more = (
        np.mean([(labels == 1).mean() for _, labels in drawn(scenes_of(replace(SCENES, most=most)), 80)])
        for most in (1, 4)
    )
    assert more > 1.2 * one


def test_empty_scenes_have_no_figure():
    assert all(not (labels == 1).any() for _, labels in drawn(scenes_of(replace(SCENES, empty=1.0))))
    without = np.mean([not (y == 1).any() for _, y in drawn(scenes_of(replace(SCENES, empty=0.3)), 100)])
    assert 0.15 < without < 0.45


def test_people_and_unlabelled_pixels_of_backgrounds_are_ignored():
    recipe = replace(SCENES, empty=1.0, figures_elsewhere=("pedestrian",))
    from_streets = [labels for image, labels in drawn(scenes_of(recipe)) if (image == RED).all()]
    counts = np.bincount(np.concatenate([labels.ravel() for labels in from_streets]), minlength=256)
    assert set(np.flatnonzero(counts)) == {0, 255} and 0.3 < counts[255] / counts.sum() < 0.8


def test_backgrounds_come_from_every_source():
    images = [image for image, _ in drawn(scenes_of(replace(SCENES, empty=1.0, drawn=0.3)), 60)]
    kinds = ["street" if (i == RED).all() else "photo" if (i == GREY).all() else "drawn" for i in images]
    assert {"street", "photo", "drawn"} == set(kinds)


def test_drawn_backdrops_have_their_size_and_differ():
    rng = np.random.default_rng(0)
    for size in ((96, 128), (1, 128), (40, 30)):
        images = [drawn_backdrop(size, rng) for _ in range(20)]
        assert all(image.shape == (*size, 3) and image.dtype == np.uint8 for image in images)
        assert len({image.tobytes() for image in images}) > 15


def test_free_rectangle_is_free_and_the_largest():
    free = np.ones((120, 120), bool)
    free[40:, 30:] = False
    assert free_rectangle(free) == (slice(0, 40), slice(0, 120))
    assert free_rectangle(np.zeros((120, 120), bool)) is None
    assert free_rectangle(np.ones((120, 120), bool)) == (slice(0, 120), slice(0, 120))
    assert free_rectangle(np.ones((3, 5), bool)) == (slice(0, 3), slice(0, 5))
    rng = np.random.default_rng(0)
    for _ in range(50):
        free = rng.random((12, 12)).repeat(10, 0).repeat(10, 1) > 0.1
        found = free_rectangle(free)
        assert found is None or free[found].all()


RECIPE = Recipe(
    "tiny",
    NetworkRecipe("efficientnet_lite0", "person"),
    InputRecipe(64, 64, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    replace(PLAN, photometric=0.2, sensor=0.3, camera=0.3, scenes=replace(SCENES, share=0.5, drawn=0.5)),
)


def test_scenes_are_a_function_of_seed_and_epoch():
    batches = [EpochBatches(RECIPE, PORTRAITS, None, [STREETS]) for _ in range(2)]
    first, again, second = (list(each.epoch(number)) for each, number in zip([*batches, batches[0]], (1, 1, 0)))
    for (images, labels), (same_images, same_labels) in zip(first, again):
        assert np.array_equal(images, same_images) and np.array_equal(labels, same_labels)
    assert not np.array_equal(first[0][0], second[0][0])


def test_last_epochs_compose_at_the_input_size():
    recipe = replace(RECIPE, train=replace(RECIPE.train, full_size_epochs=1))
    shapes = [next(EpochBatches(recipe, PORTRAITS, None).epoch(number))[0].shape for number in (0, 1)]
    assert shapes == [(4, 3, *SIZE), (4, 3, 64, 64)]


def test_backgrounds_without_scenes_and_unknown_classes_are_refused():
    streets = dataset_from_name("synthetic:street,seed=1,images=4,size=64x64")
    plain = replace(RECIPE, train=replace(RECIPE.train, scenes=None))
    with refused(BadInput, "tiny", "backgrounds", "[train.scenes]"):
        EpochBatches(plain, PORTRAITS, None, [STREETS])
    with refused(BadInput, "person", "sky"):
        EpochBatches(RECIPE, streets, None)


@pytest.mark.slow
def test_backgrounds_are_in_the_record_and_belong_to_the_run(tmp_path):
    recipe, out = replace(RECIPE, train=replace(RECIPE.train, epochs=1, crop=(32, 32))), tmp_path / "net.safetensors"
    record = train_network(recipe, out, data=PORTRAITS, backgrounds=[STREETS])
    assert record["backgrounds"] == ["streets"] and record["recipe"]["train"]["scenes"]["figure"] == "person"
    assert train_network(recipe, out, data=PORTRAITS, backgrounds=[STREETS]) == record
    with refused(BadInput, "net.safetensors.state", "recipe"):
        train_network(recipe, out, data=PORTRAITS)
