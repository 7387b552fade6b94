"""The coverage report: figures against counting, and sentences that come when they should."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcn_edge.calibration import coverage_from_table, images_from_source, table_from_file, table_from_images
from fcn_edge.calibration.methods import BINS
from fcn_edge.calibration.table import TensorRange
from tests.refusals import assert_names

STREETS = "synthetic:street,seed=2,images=4,size=64x96"


@pytest.fixture(scope="module")
def table(table_file):
    return table_from_file(table_file)


def with_tensor(table, entry, method="minmax"):
    return replace(table, tensors={"x": entry}, method=method)


def entry_of(values, **changes):
    magnitudes = np.abs(values)
    counts = np.histogram(magnitudes, BINS, (0, magnitudes.max()))[0]
    channels = tuple(np.abs(values).max((0, 2, 3)).tolist()) if values.ndim == 4 else ()
    entry = TensorRange(float(magnitudes.max()), float(values.min()), tuple(counts.tolist()), channels)
    return replace(entry, **changes)


def test_classes_are_counted_from_predictions_and_labels(table):
    """Of streets, whose labels come with them."""
    found, items = coverage_from_table(table), images_from_source(STREETS).images
    labels = np.bincount(np.concatenate([item.labels().ravel() for item in items]), minlength=11)
    assert list(found.labelled.values()) == pytest.approx(labels / labels.sum())
    assert sum(found.predicted.values()) == pytest.approx(1)
    assert found.never_labelled == tuple(np.array(list(table.labelled))[labels == 0])


@pytest.mark.slow
def test_labels_of_other_classes_count_nowhere(onnx_file, image_folder, make_folder_set):
    table = table_from_images(onnx_file, images_from_source(make_folder_set(["all", "else"])))
    assert table.labelled is None and coverage_from_table(table).never_labelled == ()


@pytest.fixture
def make_folder_set(image_folder, tmp_path):
    def make(names):
        (tmp_path / "labels").mkdir()
        for path in image_folder.iterdir():
            cv2.imwrite(str(tmp_path / "labels" / f"{path.stem}.png"), np.zeros((64, 96), np.uint8))
        (tmp_path / "classes.json").write_text(json.dumps({"names": names}))
        return f"folder:{tmp_path}"

    return make


@pytest.mark.slow
def test_class_that_is_missing_from_the_set_is_named(onnx_file, make_folder_set, table):
    classes = list(table.predicted)
    found = coverage_from_table(table_from_images(onnx_file, images_from_source(make_folder_set(classes))))
    assert found.never_labelled == tuple(classes[1:])
    assert_names(found.verdict[0], ", ".join(classes[1:]))


def test_clipped_and_saturated_shares_are_those_of_the_values(table):
    values = np.random.default_rng(0).laplace(size=(1, 4, 500, 500)).astype(np.float32)
    found = coverage_from_table(with_tensor(table, entry_of(values), "percentile")).tensors["x"]
    step = found.limit / found.levels
    assert found.clipped == pytest.approx((np.abs(values) > found.limit).mean(), rel=0.1)
    assert found.saturated == pytest.approx((np.abs(values) / step >= found.levels - 0.5).mean(), rel=0.1)
    assert found.saturated > found.clipped > 0


def test_dead_and_outlying_channels_are_numbered(table):
    values = np.random.default_rng(0).uniform(-1, 1, (1, 6, 50, 50)).astype(np.float32)
    values[:, 1] = 0
    values[:, 2] *= 1e-3  # rounds to zero at the scale that channel 4 makes
    values[:, 4] *= 20
    found = coverage_from_table(with_tensor(table, entry_of(values))).tensors["x"]
    assert (found.dead, found.outliers, found.channels) == ((1, 2), (4,), 6)


def test_unsigned_tensors_have_twice_the_levels(table):
    name = next(iter(table.tensors))
    assert coverage_from_table(table).tensors[name].levels == 127
    assert coverage_from_table(table, {name}).tensors[name].levels == 255


def test_hardest_tensors_come_first(table):
    found = coverage_from_table(table)
    noise = [found.tensors[name].sqnr_db for name in found.worst]
    assert len(noise) == 5 and noise == sorted(noise)
    assert noise[-1] <= min(t.sqnr_db for n, t in found.tensors.items() if n not in found.worst and t.sqnr_db)


@pytest.mark.parametrize(
    ("halves", "settled", "words"),
    [
        ((1.0, 0.98), True, "the scales are settled (halves of the set differ by 2.0% in the median)"),
        ((1.0, 0.5), False, "more images would still move the scales: 100% of them by 10% or more; add images"),
        (None, None, "one image only: nothing tells whether more would move the scales; take 50 or more"),
    ],
)
def test_halves_of_the_set_tell_whether_more_images_would_help(table, halves, settled, words):
    entry = replace(next(iter(table.tensors.values())), halves=None if halves is None else {"minmax": halves})
    found = coverage_from_table(with_tensor(table, entry))
    assert found.settled is settled and found.verdict[-1] == words


@pytest.mark.slow
def test_halves_are_those_of_every_second_image(onnx_file):
    whole = table_from_images(onnx_file, images_from_source(STREETS))
    chosen = images_from_source(STREETS)
    for half in (0, 1):
        alone = table_from_images(onnx_file, replace(chosen, images=chosen.images[half::2]))
        for name, entry in whole.tensors.items():
            assert entry.halves["minmax"][half] == alone.tensors[name].amax
            # The same values, counted in the wider bins of the whole set.
            wide = 2 * entry.amax / BINS
            assert entry.halves["percentile"][half] == pytest.approx(alone.tensors[name].limit("percentile"), abs=wide)


@pytest.mark.slow
def test_pictures_of_one_colour_are_named(onnx_file, image_folder):
    cv2.imwrite(str(image_folder / "grey.png"), np.full((64, 96, 3), 128, np.uint8))
    table = table_from_images(onnx_file, images_from_source(str(image_folder)))
    assert table.flat == ("grey.png",)
    assert [text for text in coverage_from_table(table).verdict if "(grey.png)" in text]
