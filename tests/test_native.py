"""The compiled kernel gives the bits of the numpy reference, and refuses what does not fit."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.geometry import Axis, stretch
from fcn_edge.transforms import reference_class_map, taps

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fcn_edge._native") is None,
    reason="fcn_edge._native is not built: no C++ compiler was found when the package was installed",
)

LANES = 16  # of class_map.hpp: runs shorter, equal and longer than one block must all be drawn


def native_class_map(scores, y, x, out):
    importlib.import_module("fcn_edge._native").class_map(scores, *y, *x, out)
    return out


def assert_equal_bits(scores, y_axis, x_axis):
    y, x = taps(y_axis, scores.shape[1]), taps(x_axis, scores.shape[2])
    size = (y_axis.valid, x_axis.valid)
    with np.errstate(all="ignore"):
        wanted = reference_class_map(scores, y, x, np.empty(size, np.uint8))
    np.testing.assert_array_equal(native_class_map(scores, y, x, np.full(size, 255, np.uint8)), wanted)


def axes():
    """Stretches and any other Axis: crops, paddings, mirrored, one pixel, no pixel."""
    pixels = st.integers(0, 3 * LANES + 5)
    free = st.builds(Axis, st.floats(-3, 3), st.floats(-20, 20), pixels)
    return st.one_of(free, st.builds(stretch, pixels.filter(bool), st.integers(1, 20)))


def draw_scores(seed, shape, kind):
    random = np.random.default_rng(seed)
    scores = random.standard_normal(shape, np.float32)
    if kind == "ties":
        return scores.round()
    if kind == "not finite":
        scores[random.random(shape) < 0.1] = np.nan
        scores[random.random(shape) < 0.1] = np.inf
        scores[random.random(shape) < 0.1] = -np.inf
    if kind == "huge":
        scores = scores.clip(-3, 3) * np.float32(1e38)
    return scores


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.sampled_from([1, 2, 3, 11, 21, 150, 255, 256]), st.integers(1, 20), st.integers(1, 20)),
    kind=st.sampled_from(["normal", "ties", "not finite", "huge"]),
    y=axes(),
    x=axes(),
)
def test_class_map_has_the_bits_of_the_reference(seed, shape, kind, y, x):
    assert_equal_bits(draw_scores(seed, shape, kind), y, x)


@pytest.mark.parametrize("pixels", [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 7 * LANES + 3])
def test_runs_of_any_length_are_drawn(pixels):
    assert_equal_bits(draw_scores(1, (5, 3, 4), "normal"), stretch(pixels, 3), stretch(4 * pixels, 4))


def test_network_size_map_on_a_720p_frame():
    assert_equal_bits(draw_scores(1, (11, 48, 60), "normal"), stretch(720, 48), stretch(1280, 60))


def test_one_cell_fills_the_map():
    assert_equal_bits(draw_scores(1, (3, 1, 1), "normal"), stretch(9, 1), stretch(33, 1))


def test_ties_go_to_the_lower_class():
    one = np.zeros((4, 2, 2), np.float32)
    y = x = taps(stretch(5, 2), 2)
    assert native_class_map(one, y, x, np.full((5, 5), 9, np.uint8)).max() == 0


def test_first_nan_wins_as_in_numpy():
    scores = np.array([3, np.nan, 5, np.nan], np.float32).reshape(4, 1, 1)
    y = x = taps(stretch(1, 1), 1)
    assert native_class_map(scores, y, x, np.zeros((1, 1), np.uint8))[0, 0] == 1


def arguments(**changed):
    """Arguments of `class_map` for a (3, 4, 5) map on a (6, 7) frame, some of them changed."""
    y, x = taps(stretch(6, 4), 4), taps(stretch(7, 5), 5)
    given = {
        "scores": np.zeros((3, 4, 5), np.float32),
        **{"y_low": y[0], "y_weight": y[1], "x_low": x[0], "x_weight": x[1]},
        "out": np.zeros((6, 7), np.uint8),
    }
    return given | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"scores": np.zeros((0, 4, 5), np.float32)},
        {"scores": np.zeros((257, 4, 5), np.float32)},
        {"scores": np.zeros((3, 3, 5), np.float32)},
        {"scores": np.zeros((3, 4, 0), np.float32)},
        {"out": np.zeros((7, 7), np.uint8)},
        {"out": np.zeros((6, 6), np.uint8)},
        {"y_weight": np.zeros(5, np.float32)},
        {"x_low": np.zeros(8, np.int32)},
        {"x_low": np.full(7, -1, np.int32)},
        {"y_low": np.full(6, 4, np.int32)},
    ],
    ids=lambda changed: f"{next(iter(changed))}{next(iter(changed.values())).shape}",
)
def test_shapes_and_cells_that_do_not_fit_are_refused(changed):
    class_map = importlib.import_module("fcn_edge._native").class_map
    class_map(**arguments())
    with pytest.raises(ValueError):
        class_map(**arguments(**changed))


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "changed",
    [
        {"scores": np.zeros((3, 4, 5), np.float64)},
        {"scores": np.zeros((3, 5, 4), np.float32).transpose(0, 2, 1)},
        {"out": read_only(np.zeros((6, 7), np.uint8))},
        {"out": np.zeros((6, 14), np.uint8)[:, ::2]},
    ],
    ids=["float64", "transposed", "read-only", "strided"],
)
def test_other_types_and_layouts_are_refused_and_never_copied(changed):
    with pytest.raises(TypeError):
        importlib.import_module("fcn_edge._native").class_map(**arguments(**changed))
