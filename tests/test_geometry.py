"""Samplings against what they stand for: cells that cover pixels, and pictures that are really resized."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.geometry import (
    Axis,
    Sampling,
    align_corners,
    frame_sampling,
    letterbox,
    letterbox_content,
    pad100,
    padded_to,
    shift,
    stretch,
    stride,
)

FLOAT64 = 1e-9  # of positions up to a few thousand: sums in double precision, in another order
FLOAT32 = 2e-3  # of a resized ramp: cv2 and torch weight neighbours in single precision

sides = st.integers(1, 300)
axes = st.builds(Axis, st.floats(-4, 4), st.floats(-100, 100), sides)


def ramp(cells):
    """A (2, cells) picture whose value is the index of its column."""
    return np.tile(np.arange(cells, dtype=np.float32), (2, 1))


def positions(axis, cells):
    """What each pixel of the axis looks at, clamped to the map, as a resized ramp shows it."""
    return np.clip(axis.scale * np.arange(axis.valid) + axis.offset, 0, cells - 1)


@given(axes, axes, st.integers(0, 300))
def test_composition_is_one_map_after_the_other(first, second, pixel):
    assert first.then(second).cell(pixel) == pytest.approx(second.cell(first.cell(pixel)), abs=FLOAT64 * 1e3)
    assert first.then(second).valid == first.valid


@given(axes, axes, axes)
def test_composition_is_associative(a, b, c):
    left, right = a.then(b).then(c), a.then(b.then(c))
    assert left.scale == pytest.approx(right.scale) and left.valid == right.valid
    assert left.offset == pytest.approx(right.offset, abs=FLOAT64 * 1e3)


@given(sides)
def test_same_size_changes_nothing(pixels):
    for axis in (stretch(pixels, pixels), shift(pixels, 0), stride(pixels, 1)):
        assert (axis.scale, axis.offset, axis.valid) == (1, 0, pixels)


@given(sides, sides)
def test_stretch_is_the_resize_of_opencv(pixels, cells):
    resized = cv2.resize(ramp(cells), (pixels, 2), interpolation=cv2.INTER_LINEAR)[0]
    np.testing.assert_allclose(resized, positions(stretch(pixels, cells), cells), atol=FLOAT32)


@given(sides, sides)
def test_stretches_there_and_back_meet(pixels, cells):
    back = stretch(pixels, cells).then(stretch(cells, pixels))
    assert back.scale == pytest.approx(1) and back.offset == pytest.approx(0, abs=FLOAT64)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("pixels", "cells"), [(480, 60), (60, 480), (97, 13), (2, 9), (5, 1), (1, 5), (1, 1)])
def test_resizes_are_those_of_torch(pixels, cells, corners):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    axis = (align_corners if corners else stretch)(pixels, cells)
    given_ramp = torch.from_numpy(ramp(cells))[None, None]
    resized = torch.nn.functional.interpolate(given_ramp, (2, pixels), mode="bilinear", align_corners=corners)
    np.testing.assert_allclose(resized[0, 0, 0].numpy(), positions(axis, cells), atol=FLOAT32)


@given(sides, sides)
def test_align_corners_joins_the_ends(pixels, cells):
    axis = align_corners(pixels, cells)
    assert axis.cell(0) == 0
    if pixels > 1:
        assert axis.cell(pixels - 1) == pytest.approx(cells - 1)


@given(st.integers(1, 64), st.integers(0, 100), sides)
def test_cell_of_a_stride_looks_from_the_middle_of_its_pixels(step, cell, pixels):
    middle = np.arange(cell * step, (cell + 1) * step).mean()
    assert stride(pixels, step).cell(middle) == pytest.approx(cell, abs=FLOAT64)


@given(sides, st.integers(1, 5))
def test_strides_multiply(pixels, count):
    halved = stride(pixels, 2)
    for _ in range(count - 1):
        halved = halved.then(stride(0, 2))
    wanted = stride(pixels, 2**count)
    assert (halved.scale, halved.offset) == pytest.approx((wanted.scale, wanted.offset), abs=FLOAT64)


@given(sides, st.integers(0, 50), st.integers(0, 50))
def test_shift_is_padding_in_front_and_crop_its_reverse(pixels, before, behind):
    wide = np.pad(np.arange(pixels), (before, behind), constant_values=-1)
    cells = [int(shift(pixels, before).cell(pixel)) for pixel in range(pixels)]
    assert wide[cells].tolist() == list(range(pixels))
    assert shift(pixels, before).then(shift(0, -before)) == shift(pixels, 0)


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_letterbox_keeps_the_shape_and_the_middle(frame, network):
    height, width, top, left = letterbox_content(frame, network)
    assert height == network[0] or width == network[1]
    assert 1 <= height <= network[0] and 1 <= width <= network[1]
    ratio = min(network[0] / frame[0], network[1] / frame[1])
    assert abs(height - max(1, frame[0] * ratio)) <= 0.5 and abs(width - max(1, frame[1] * ratio)) <= 0.5
    assert 0 <= network[0] - height - 2 * top <= 1 and 0 <= network[1] - width - 2 * left <= 1


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_letterboxed_picture_is_found_again(frame, network):
    """Resize a ramp into the box as the input is made; each frame pixel must look at its own place."""
    _, width, _, left = letterbox_content(frame, network)
    boxed = np.full(network[1], -1, np.float32)
    boxed[left : left + width] = cv2.resize(ramp(frame[1]), (width, 2), interpolation=cv2.INTER_LINEAR)[0]
    axis = frame_sampling(frame, network, "letterbox").x
    inside = np.arange(left, left + width)
    seen_from = (inside - axis.offset) / axis.scale  # frame position that each content cell was made from
    np.testing.assert_allclose(boxed[inside], np.clip(seen_from, 0, frame[1] - 1), atol=FLOAT32)


def test_frame_sampling_of_a_stretch_knows_no_border():
    assert frame_sampling((30, 50), (64, 96), "stretch") == Sampling(stretch(30, 64), stretch(50, 96))
    assert frame_sampling((50, 50), (64, 96), "letterbox").x == letterbox(50, 64, 16)


@given(sides)
def test_original_geometry_is_its_layers_composed(pixels):
    """conv1_1 (3x3, pad 100): output o is centred on pixel o - 99. Three poolings. A crop of 9 cells."""
    layers = [shift(pixels, 99), stride(0, 2), stride(0, 2), stride(0, 2), shift(0, -9)]
    axis = layers[0]
    for layer in layers[1:]:
        axis = axis.then(layer)
    wanted = pad100(pixels, 8)
    assert (axis.scale, axis.offset, axis.valid) == pytest.approx((wanted.scale, wanted.offset, pixels), abs=FLOAT64)


def test_original_geometry_agrees_with_its_last_deconvolution():
    """Output o of stride 8, kernel 16 lies at cell (o - 7.5) / 8; the crop of 31 makes o = pixel + 31."""
    for pixel in range(0, 500, 7):
        assert pad100(500, 8).cell(pixel) == pytest.approx((pixel + 31 - 7.5) / 8, abs=FLOAT64)


@given(sides, st.integers(1, 64))
def test_padding_reaches_the_next_multiple(pixels, step):
    wide = padded_to(pixels, step)
    assert wide % step == 0 and 0 <= wide - pixels < step


def test_sampling_composes_both_axes_and_takes_other_sizes():
    outer, inner = frame_sampling((300, 200), (64, 96), "stretch"), Sampling(stride(64, 8), stride(96, 8))
    both = outer.then(inner)
    assert both == Sampling(outer.y.then(inner.y), outer.x.then(inner.x))
    assert both.size == (300, 200) and both.with_size(7, 9).size == (7, 9)
    assert both.with_size(300, 200) == both


def test_pixels_look_from_left_to_right():
    cells = positions(stretch(100, 13), 13)
    assert all(before <= after for before, after in pairwise(cells))
