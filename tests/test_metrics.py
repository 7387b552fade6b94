"""The paper's four metrics against a naive loop and a matrix worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.errors import BadInput
from fcn_edge.metrics import (
    confusion_from_cells,
    confusion_from_maps,
    iou_by_name,
    scores_from_confusion,
    sparse_cells,
)
from tests.refusals import refused

IGNORE = 255
ROUNDING = 1e-12  # of sums of a few fractions in double precision


@st.composite
def map_pairs(draw):
    """(labels, predicted, classes): labels hold ignored pixels, predictions do not."""
    classes = draw(st.integers(1, 6))
    size = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.integers(0, classes, size, np.uint8)
    labels[random.random(size) < 0.3] = draw(st.sampled_from([classes, IGNORE]))
    return labels, random.integers(0, classes, size, np.uint8), classes


def naive_confusion(labels, predicted, classes):
    confusion = [[0] * classes for _ in range(classes)]
    for label, guess in zip(labels.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if label < classes:
            confusion[label][guess] += 1
    return confusion


def naive_scores(confusion):
    """The formulas of the paper, term by term; classes that do not occur are left out of means."""
    classes = range(len(confusion))
    labelled = [sum(confusion[i]) for i in classes]
    guessed = [sum(confusion[j][i] for j in classes) for i in classes]
    present = [i for i in classes if labelled[i] or guessed[i]]
    iou = {i: confusion[i][i] / (labelled[i] + guessed[i] - confusion[i][i]) for i in present}
    accuracies = [confusion[i][i] / labelled[i] for i in classes if labelled[i]]
    total = sum(labelled)
    return {
        "miou": sum(iou.values()) / len(iou),
        "pixel_acc": sum(confusion[i][i] for i in classes) / total,
        "mean_acc": sum(accuracies) / len(accuracies),
        "fw_iou": sum(labelled[i] * iou[i] for i in present) / total,
        "iou": tuple(iou.get(i) for i in classes),
    }


@given(map_pairs())
def test_confusion_is_counted_pixel_by_pixel(pair):
    confusion = confusion_from_maps(*pair)
    assert confusion.dtype == np.int64
    assert confusion.tolist() == naive_confusion(*pair)


@given(map_pairs())
def test_scores_are_the_formulas_of_the_paper(pair):
    confusion = confusion_from_maps(*pair)
    scores = scores_from_confusion(confusion)
    if confusion.sum() == 0:
        assert scores.miou is scores.pixel_acc is scores.mean_acc is scores.fw_iou is None
        assert set(scores.iou) == {None}
        return
    for name, wanted in naive_scores(confusion.tolist()).items():
        assert getattr(scores, name) == pytest.approx(wanted, abs=ROUNDING), name


def test_case_worked_out_by_hand():
    labels = np.array([[0, 0, 1], [1, 1, IGNORE]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    scores = scores_from_confusion(confusion_from_maps(labels, predicted, 3))
    assert scores.pixel_acc == pytest.approx(3 / 5)
    assert scores.mean_acc == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.iou == (pytest.approx(1 / 3), pytest.approx(1 / 2), None)
    assert scores.miou == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert scores.fw_iou == pytest.approx((2 / 3 + 3 / 2) / 5)


def test_perfect_maps_score_one_in_everything():
    labels = np.array([[0, 1], [3, 3]], np.uint8)
    scores = scores_from_confusion(confusion_from_maps(labels, labels, 4))
    assert (scores.miou, scores.pixel_acc, scores.mean_acc, scores.fw_iou) == (1, 1, 1, 1)
    assert scores.iou == (1, 1, None, 1)


def test_class_that_is_only_predicted_counts_against_the_mean():
    labels, predicted = np.array([[0, 0]], np.uint8), np.array([[0, 1]], np.uint8)
    scores = scores_from_confusion(confusion_from_maps(labels, predicted, 2))
    assert scores.iou == (0.5, 0.0) and scores.miou == 0.25
    assert scores.mean_acc == 0.5, "mean accuracy is over classes that are labelled"


def test_set_is_scored_as_a_whole_not_as_a_mean_of_images():
    first = confusion_from_maps(np.array([[0, 0, 1]], np.uint8), np.array([[0, 0, 0]], np.uint8), 2)
    second = confusion_from_maps(np.array([[1]], np.uint8), np.array([[1]], np.uint8), 2)
    assert scores_from_confusion(first + second).iou == (pytest.approx(2 / 3), pytest.approx(1 / 2))


def test_maps_of_other_sizes_are_refused():
    with refused(BadInput, "(2, 3)", "(3, 2)"):
        confusion_from_maps(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_prediction_that_is_no_class_is_refused():
    with refused(BadInput, "class map", 2, "0..1"):
        confusion_from_maps(np.zeros((1, 1), np.uint8), np.full((1, 1), 2, np.uint8), 2)


@given(map_pairs())
def test_sparse_cells_give_the_matrix_back(pair):
    confusion = confusion_from_maps(*pair)
    cells = sparse_cells(confusion)
    assert all(count > 0 for _, count in cells)
    np.testing.assert_array_equal(confusion_from_cells(cells, pair[2]), confusion)


def test_iou_is_named_and_absent_classes_are_none():
    scores = scores_from_confusion(np.diag([3, 0]))
    assert iou_by_name(scores, ("sky", "road")) == {"sky": 1.0, "road": None}
