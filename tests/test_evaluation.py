"""Scores of a set: exact on an engine that is known, whole sets and broken ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fcn_edge.cluster import joined
from fcn_edge.data import Dataset
from fcn_edge.data.notes import Notes
from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import boundary_band, evaluate
from fcn_edge.geometry import Sampling, stretch
from fcn_edge.metrics import confusion_from_cells
from fcn_edge.spec import Head, ModelSpec, Preprocess
from tests.refusals import assert_names, refused

SIZE = (8, 12)
CLASSES = ("blue", "green", "red")


class ColourEngine(Engine):
    """Its class is the strongest colour of the pixel."""

    target = "onnxruntime"
    runtime = "fake 1.0"

    def __init__(self, classes=CLASSES):
        head = Head("scores", Sampling(stretch(SIZE[0], SIZE[0]), stretch(SIZE[1], SIZE[1])))
        preprocess = Preprocess(*SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        spec = ModelSpec("colours", classes, ((0, 0, 255), (0, 255, 0), (255, 0, 0)), 255, preprocess, head)
        super().__init__(spec, precision="fp32", execution="f32", path=Path("colours.onnx"))

    def _run(self, x, place):
        return x.transpose(0, 3, 1, 2).astype(np.float32)


@dataclass(frozen=True)
class Painted:
    """A picture of one colour, and labels of one class; `broken` names the part that cannot be read."""

    name: str
    colour: int
    label: int
    broken: str = ""
    sequence: str = "drive"

    def image(self):
        if self.broken == "image":
            raise BadInput(f"{self.name}: not an image that decodes")
        image = np.zeros((*SIZE, 3), np.uint8)
        image[:, :, self.colour] = 200
        return image

    def labels(self):
        if self.broken == "labels":
            raise BadInput(f"{self.name}: label value 9; the classes are 0..2")
        return np.full(SIZE, self.label, np.uint8)

    def sha256(self):
        return self.name * 8


def painted(*pairs, classes=CLASSES):
    items = [Painted(f"p{number}", *pair) for number, pair in enumerate(pairs)]
    return Dataset("painted", classes, ((0, 0, 255), (0, 255, 0), (255, 0, 0)), 255, items)


def test_scores_are_those_of_the_whole_set():
    found = evaluate(ColourEngine(), painted((0, 0), (1, 1), (1, 0), (1, 255)))
    assert found.scores.iou == (0.5, 0.5, None)
    assert (found.scores.miou, found.scores.pixel_acc, found.scores.mean_acc) == (0.5, 2 / 3, 0.75)
    assert found.confusion.sum() == 3 * SIZE[0] * SIZE[1]  # what is labelled 255 does not count
    assert len(found.images) == len(found.times) == 4 and found.skipped == ()


def test_each_image_keeps_its_own_confusion_and_name():
    found = evaluate(ColourEngine(), painted((0, 0), (2, 1)))
    assert [image.sha256 for image in found.images] == ["p0" * 8, "p1" * 8]
    parts = [confusion_from_cells(image.cells, 3) for image in found.images]
    assert np.array_equal(sum(parts), found.confusion)
    assert parts[1][1, 2] == SIZE[0] * SIZE[1]


def test_progress_is_told_image_by_image_up_to_the_limit():
    seen = []
    progress = SimpleNamespace(update=lambda *told: seen.append(told))
    evaluate(ColourEngine(), painted(*[(0, 0)] * 5), limit=3, progress=progress)
    assert seen == [("evaluating", 1, 3), ("evaluating", 2, 3), ("evaluating", 3, 3)]


def test_limit_below_one_image_is_refused():
    with refused(BadInput, "limit", 0, 1):
        evaluate(ColourEngine(), painted((0, 0)), limit=0)


def test_pairs_in_memory_have_the_classes_of_the_network():
    images = [Painted("", colour, 0).image() for colour in (2, 0)]
    labels = [np.full(SIZE, 2, np.uint8), np.full(SIZE, 1, np.uint8)]
    found = evaluate(ColourEngine(), zip(images, labels))
    assert found.scores.pixel_acc == 0.5 and len(found.images) == 2
    with refused(BadInput, "7"):
        evaluate(ColourEngine(), [(images[0], np.full(SIZE, 7, np.uint8))])


@pytest.mark.parametrize("broken", [(0,), (1,), (3,), (0, 1), (2, 3)])
def test_images_that_do_not_decode_are_named_and_left_out(broken):
    pairs = [(0, 0, "image") if number in broken else (1, 1) for number in range(4)]
    found = evaluate(ColourEngine(), painted(*pairs))
    assert found.skipped == tuple(f"p{number}: not an image that decodes" for number in broken)
    assert len(found.images) == 4 - len(broken) and found.scores.miou == 1.0


def test_limit_passes_by_what_does_not_decode():
    found = evaluate(ColourEngine(), painted((0, 0, "image"), (1, 1), (1, 1), (0, 0, "image")), limit=2)
    assert len(found.images) == 2 and len(found.skipped) == 1


@pytest.mark.parametrize("number", range(3))
def test_labels_that_do_not_fit_stop_the_evaluation(number):
    pairs = [(0, 0, "labels" if index == number else "") for index in range(3)]
    with refused(BadInput, f"p{number}", 9, "0..2"):
        evaluate(ColourEngine(), painted(*pairs))


def test_set_of_which_nothing_can_be_read_is_refused():
    with refused(BadInput, "2 images", "p0"):
        evaluate(ColourEngine(), painted((0, 0, "image"), (0, 0, "image")))


@pytest.mark.parametrize(
    ("classes", "facts"),
    [
        (("blue", "green"), ("painted", "2 classes", "colours", 3)),
        (("blue", "red", "green"), ("painted", "class 1", "red", "colours", "green")),
    ],
)
def test_other_classes_are_refused(classes, facts):
    with refused(BadInput, *facts):
        evaluate(ColourEngine(), replace(painted((0, 0)), classes=classes))


def test_band_is_as_wide_as_asked_on_either_side():
    labels = np.zeros((9, 20), np.uint8)
    labels[:, 10:] = 4
    band = boundary_band(labels, 2)
    assert band.all(0).tolist() == [7 <= x <= 12 for x in range(20)]
    assert not boundary_band(np.full((5, 5), 3, np.uint8), 2).any()


@dataclass(frozen=True)
class HalfLabelled(Painted):
    """Blue all over; labelled blue on the left, red on the right, so that every error lies on the right."""

    def labels(self):
        labels = super().labels()
        labels[:, SIZE[1] // 2 :] = 2
        return labels


def test_trimap_scores_the_pixels_near_a_boundary_alone():
    items = [HalfLabelled("a.png", 0, 0), Painted("b.png", 0, 0)]
    dataset = Dataset("painted", CLASSES, ((0, 0, 255),) * 3, 255, items)
    found = evaluate(ColourEngine(), dataset, trimap=1)
    assert found.trimap.pixel_acc == 0.5 and found.trimap.iou == (0.5, None, 0.0)
    assert found.scores.pixel_acc == 0.75
    assert evaluate(ColourEngine(), dataset).trimap is None


def test_what_the_scores_say_nothing_of_is_counted():
    found = evaluate(ColourEngine(), painted((0, 0), (1, 0), (1, 255), (0, 0)))
    assert found.ignored_share == 0.25
    assert (found.without_labels, found.never_predicted) == ((1, 2), (2,))
    assert len(found.warnings) == 1 and "25.0%" in found.warnings[0]


def test_class_on_ignored_pixels_alone_is_predicted():
    found = evaluate(ColourEngine(), painted((0, 0), (2, 255)))
    assert found.never_predicted == (1,) and found.without_labels == (1, 2)


@pytest.mark.parametrize(("ignored", "warns"), [(1, False), (2, True)])
def test_more_than_a_fifth_ignored_is_a_warning(ignored, warns):
    pairs = [(0, 255)] * ignored + [(0, 0)] * (5 - ignored)
    found = evaluate(ColourEngine(), painted(*pairs))
    assert found.ignored_share == ignored / 5 and bool(found.warnings) == warns


def test_set_without_a_labelled_pixel_is_all_ignored():
    found = evaluate(ColourEngine(), painted((0, 255)))
    assert found.ignored_share == 1 and found.scores.miou is None and found.warnings


@dataclass(frozen=True)
class OneContent(Painted):
    def sha256(self):
        return "same" * 16


def test_equal_pictures_with_other_labels_are_named_both():
    def warnings(*labels):
        items = [OneContent(f"p{number}", 0, label) for number, label in enumerate(labels)]
        return evaluate(ColourEngine(), replace(painted((0, 0)), items=items)).warnings

    assert warnings(0, 0, 0) == []
    (told,) = warnings(0, 1, 0)
    assert_names(told, "p0", "p1")
    assert "p2" not in told
    (told,) = warnings(0, *[1] * 8)
    assert_names(told, "p0", "p5", "3 pairs")


def test_parts_together_report_what_the_whole_set_does():
    """So that a cluster, which joins parts, gives the same result."""
    data = painted((0, 0), (1, 0), (1, 255), (2, 255), (0, 0))
    whole = evaluate(ColourEngine(), data)
    sets = [replace(data, items=part, notes=Notes()) for part in (data.items[:2], data.items[2:])]
    sets[1].notes.add("turned", "p3.png")
    found = joined([evaluate(ColourEngine(), each) for each in sets])
    for name in ("scores", "ignored_share", "without_labels", "never_predicted", "warnings", "pairs", "images"):
        assert getattr(found, name) == getattr(whole, name)
    assert found.warnings and found.notes.lines == ["p3.png: turned"]
