"""Block bootstrap intervals: how often they hold the truth, and what they do where there is little to draw from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fcn_edge.errors import BadInput
from fcn_edge.intervals import (
    block_length,
    correlation_of,
    difference_from_images,
    intervals_from_images,
    student_quantile,
    widening,
)
from fcn_edge.metrics import ImageScore, scores_from_confusion, sparse_cells
from tests.refusals import assert_names, refused

CLASSES = 3
PIXELS = 5000
DRAWS = 1000  # sets a simulation draws: a coverage of 95 % is known to 0.7 points (one standard error)
FEWER = 300  # where a point or two do not matter
RESAMPLES = 200  # enough to tell coverage; the limits of one interval take more
ROUNDING = 1e-12


def confusions(random, frames, correlation=0.0, sets=1, skill=0.0):
    """(sets, frames, C, C): images whose difficulty follows an AR(1) of that correlation between neighbours.

    skill: how much fewer pixels are wrong, in logits.
    """
    noise = random.normal(size=(sets, frames, 1 + CLASSES))
    hard = noise.copy()
    for frame in range(1, frames):
        hard[:, frame] = correlation * hard[:, frame - 1] + (1 - correlation**2) ** 0.5 * noise[:, frame]
    wrong = 1 / (1 + np.exp(1.2 + skill - 0.6 * hard[..., :1] - np.array([-1.0, 0.0, 0.8])))
    share = np.exp(0.7 * hard[..., 1:] + np.array([1.5, 0.5, -0.5]))
    share /= share.sum(-1, keepdims=True)
    labelled = np.round(share * PIXELS).astype(np.int64)
    missed = np.round(labelled * wrong / (CLASSES - 1)).astype(np.int64)
    found = np.repeat(missed[..., None], CLASSES, -1)
    for label in range(CLASSES):
        found[..., label, label] = labelled[..., label] - (CLASSES - 1) * missed[..., label]
    return found


def images_of(matrices, sequence="drive"):
    return [ImageScore(f"{number:064d}", sequence, sparse_cells(matrix)) for number, matrix in enumerate(matrices)]


def miou(matrices):
    return scores_from_confusion(matrices.sum(0)).miou


TRUTH = miou(confusions(np.random.default_rng(0), 1, sets=100_000)[:, 0])


def coverage(sets):
    """Share of the sets whose interval holds the mIoU of endlessly many images."""
    listed = [images_of(each) if isinstance(each, np.ndarray) else each for each in sets]
    found = [intervals_from_images(images, CLASSES, resamples=RESAMPLES).miou for images in listed]
    return np.mean([low <= TRUTH <= high for low, high in found])


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_covers_93_to_97_percent_of_independent_images_and_of_video(correlation):
    sets = confusions(np.random.default_rng(1), 100, correlation, DRAWS)
    assert 0.93 <= coverage(sets) <= 0.97


@pytest.mark.slow
def test_where_neighbours_are_nearly_equal_it_covers_less():
    sets = confusions(np.random.default_rng(1), 100, 0.9, FEWER)
    assert 0.88 <= coverage(sets) <= 0.95


@pytest.mark.slow
def test_sequences_are_drawn_from_as_one():
    drives = confusions(np.random.default_rng(1), 20, 0.8, 5 * FEWER).reshape(FEWER, 5, 20, CLASSES, CLASSES)
    sets = [
        [image for number, drive in enumerate(drives) for image in images_of(drive, f"drive{number}")]
        for drives in drives
    ]
    assert coverage(sets) >= 0.88


@pytest.mark.slow
def test_difference_of_two_runs_is_covered():
    seeds = range(FEWER)
    usual, better = ([confusions(np.random.default_rng(n), 100, 0.5, skill=s)[0] for n in seeds] for s in (0.0, 0.1))
    truth = miou(confusions(np.random.default_rng(0), 1, sets=100_000, skill=0.1)[:, 0]) - TRUTH
    found = [
        difference_from_images(images_of(one), images_of(other), CLASSES, resamples=RESAMPLES).intervals.miou
        for one, other in zip(better, usual, strict=True)
    ]
    assert 0.91 <= np.mean([low <= truth <= high for low, high in found]) <= 0.98


@pytest.fixture
def drive():
    """(60, C, C) of one sequence."""
    return confusions(np.random.default_rng(4), 60, correlation=0.7)[0]


def test_interval_holds_the_score_and_is_the_same_each_time(drive):
    images = images_of(drive)
    found = intervals_from_images(images, CLASSES)
    assert found == intervals_from_images(images, CLASSES) and found.reason == ""
    scores = scores_from_confusion(drive.sum(0))
    for interval, value in zip((found.miou, found.pixel_acc, *found.iou), (scores.miou, scores.pixel_acc, *scores.iou)):
        assert 0 <= interval[0] < value < interval[1] <= 1


def test_pairing_sees_what_two_intervals_side_by_side_hide(drive):
    worse = drive.copy()
    worse[:, 0, 0] -= 40  # pixels of each image
    worse[:, 0, 1] += 40
    ours, theirs = images_of(drive), images_of(worse)
    difference = difference_from_images(ours, theirs, CLASSES)
    one, other = (intervals_from_images(run, CLASSES).miou for run in (ours, theirs))
    assert one[0] < other[1], "the intervals of the two overlap"
    assert difference.is_real and difference.probability_better == 1
    assert difference.miou == pytest.approx(miou(drive) - miou(worse), abs=ROUNDING)
    assert 0 < difference.intervals.miou[0] < difference.miou < difference.intervals.miou[1]
    swapped = difference_from_images(theirs, ours, CLASSES)
    assert swapped.intervals.miou == pytest.approx([-limit for limit in reversed(difference.intervals.miou)])
    assert swapped.probability_better == 0


def test_run_does_not_differ_from_itself(drive):
    images = images_of(drive)
    same = difference_from_images(images, images[::-1], CLASSES)
    assert (same.miou, same.intervals.miou, same.is_real, same.probability_better) == (0, (0, 0), False, 0.5)


def test_resamples_are_scored_as_sets_are(drive):
    """With one image many times over every resample is that set."""
    found = intervals_from_images(images_of(np.repeat(drive[:1], 12, 0)), CLASSES)
    assert found.miou == pytest.approx((miou(drive[:1]),) * 2, abs=ROUNDING)


@pytest.mark.parametrize(
    ("correlation", "count", "expected"),
    [(0.0, 100, 1), (0.5, 100, 6), (0.8, 100, 14), (0.9, 100, 16), (0.97, 1000, 117), (0.8, 8, 1), (0.5, 0, 1)],
)
def test_blocks_grow_with_correlation_and_stay_six(correlation, count, expected):
    assert block_length(correlation, count) == expected


def test_correlation_is_that_of_neighbours_of_one_sequence():
    series = np.random.default_rng(3).normal(size=(4000, 1))
    for frame in range(1, 4000):
        series[frame] = 0.8 * series[frame - 1] + 0.6 * series[frame]
    follows = np.ones(3999, bool)
    assert correlation_of(series, follows)[0] == pytest.approx(0.8, abs=0.03)
    assert correlation_of(-series, follows) == correlation_of(series, follows)
    shuffled = np.random.default_rng(4).permutation(series)
    assert correlation_of(shuffled, follows)[0] == pytest.approx(0, abs=0.05)
    assert correlation_of(series, np.zeros(3999, bool))[0] == 0, "single images have no neighbours"
    assert correlation_of(np.ones((50, 1)), np.ones(49, bool))[0] == 0


def test_what_blocks_do_not_see_is_put_back():
    """Of AR(1) with 0.5 the long-run variance is 3; blocks of two see 1 + 2 * 0.5 * 0.5."""
    assert widening(0.0, 1) == 1
    assert widening(0.5, 1) == pytest.approx(3**0.5)
    assert widening(0.5, 2) == pytest.approx((3 / 1.5) ** 0.5)
    assert widening(0.5, 1000) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_images_have_no_interval_and_a_reason(drive, count):
    images = images_of(drive[:count])
    found = intervals_from_images(images, CLASSES)
    assert (found.miou, found.pixel_acc, found.iou) == (None, None, (None,) * CLASSES)
    assert_names(found.reason, f"{count} images", "interval", 6)
    difference = difference_from_images(images, images, CLASSES)
    assert difference.probability_better is None and not difference.is_real and difference.intervals == found


def test_class_that_never_occurs_has_none_and_does_not_count(drive):
    wider = np.zeros((len(drive), 4, 4), np.int64)
    wider[:, :CLASSES, :CLASSES] = drive
    found, plain = intervals_from_images(images_of(wider), 4), intervals_from_images(images_of(drive), CLASSES)
    assert found.iou == (*plain.iou, None) and found.miou == plain.miou
    assert difference_from_images(images_of(wider), images_of(wider), 4).iou[3] is None


def test_class_of_a_single_image_has_no_interval_of_its_own(drive):
    wider = np.zeros((len(drive), 4, 4), np.int64)
    wider[:, :CLASSES, :CLASSES] = drive
    wider[7, 3, 3] = 100
    found = intervals_from_images(images_of(wider), 4)
    assert found.iou[3] is None and found.miou is not None


def test_images_without_a_labelled_pixel_have_no_interval():
    found = intervals_from_images(images_of(np.zeros((20, CLASSES, CLASSES), np.int64)), CLASSES)
    assert (found.miou, found.pixel_acc) == (None, None)
    empty = images_of(np.zeros((20, CLASSES, CLASSES), np.int64))
    difference = difference_from_images(empty, empty, CLASSES)
    assert (difference.miou, difference.probability_better, difference.is_real) == (None, None, False)


def test_student_quantile_is_that_of_tables():
    for freedom, tabled in ((5, 2.5706), (29, 2.0452), (1e9, 1.95996)):
        assert student_quantile(0.975, freedom) == pytest.approx(
            tabled, rel=0.004
        )  # the series, of few degrees of freedom


def test_runs_on_other_images_are_refused(drive):
    images = images_of(drive)
    with refused(BadInput, 60, 50, "images"):
        difference_from_images(images, images[:50], CLASSES)
    moved = [replace(image, sha256="f" * 64) for image in images[:2]] + images[2:]
    with refused(BadInput, 60, 58, "images"):
        difference_from_images(images, moved, CLASSES)


def test_runs_on_other_labels_are_refused(drive):
    relabelled = drive.copy()
    relabelled[3] = relabelled[3].T
    with refused(BadInput, "labels", "1 of 60"):
        difference_from_images(images_of(drive), images_of(relabelled), CLASSES)


def with_twins(images):
    """The same, but for images 3 and 9, which are one picture."""
    return [replace(image, sha256="a" * 64) if number in (3, 9) else image for number, image in enumerate(images)]


def test_same_picture_with_other_labels_is_paired_with_itself(drive):
    """Two pictures of one content, whose labels differ, come in another order in the other run."""
    images = with_twins(images_of(drive))
    assert images[3].cells != images[9].cells
    swapped = list(images)
    swapped[3], swapped[9] = images[9], images[3]
    found = difference_from_images(images, swapped, CLASSES)
    assert found == difference_from_images(images_of(drive), images_of(drive), CLASSES)
    assert found.miou == 0 and found.intervals.miou == (0, 0)


def test_same_picture_and_labels_twice_are_paired_in_their_order(drive):
    twice = drive.copy()
    twice[9] = np.roll(twice[3], 1, axis=1)  # the same labels, other predictions
    images = with_twins(images_of(twice))
    found = difference_from_images(images, images, CLASSES)
    assert found.miou == 0 and found.intervals.miou == (0, 0)


def test_one_of_two_equal_pictures_with_other_labels_is_refused(drive):
    images = with_twins(images_of(drive))
    others = list(images)
    others[9] = images[3]
    with refused(BadInput, "labels", "1 of 60"):
        difference_from_images(images, others, CLASSES)
