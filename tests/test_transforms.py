"""Frames become inputs, scores become class maps and pictures; held against OpenCV and PyTorch."""

from __future__ import annotations

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge import kernels, transforms
from fcn_edge.buffers import Buffers
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.geometry import Axis, Sampling, align_corners, stretch
from fcn_edge.spec import Head, Preprocess
from fcn_edge.transforms import (
    class_map_from_output,
    class_map_from_scores,
    colours_from_class_map,
    ink_table,
    input_from_frame,
    reference_class_map,
    reference_overlay,
    taps,
    view_from_scores,
)
from tests.refusals import refused

TIE = 1e-4  # of scores near 1: closer than this, the order of float32 products decides
PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
PLAIN = Preprocess(40, 60, (10.0, 20.0, 30.4), (1.0, 1.0, 1.0))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def full(height, width):
    return Sampling(stretch(height, height), stretch(width, width))


@pytest.mark.parametrize("size", [(40, 60), (20, 30), (97, 131), (1, 1)])
@pytest.mark.parametrize(("name", "method"), [("bilinear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA)])
def test_stretched_input_is_the_resize_of_opencv(size, name, method):
    image = noise(*size)
    batch = input_from_frame(image, replace(PLAIN, interpolation=name))
    assert batch.shape == (1, 40, 60, 3) and batch.dtype == np.uint8
    np.testing.assert_array_equal(batch[0], cv2.resize(image, (60, 40), interpolation=method))


def test_frame_of_network_size_is_taken_as_it_is():
    image = noise(40, 60)
    batch = input_from_frame(image, PLAIN)
    np.testing.assert_array_equal(batch[0], image)
    assert not np.shares_memory(batch, image)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((40, 30), (40, 30, 0, 15)),
        ((20, 60), (20, 60, 10, 0)),
        ((80, 240), (20, 60, 10, 0)),
        ((40, 60), (40, 60, 0, 0)),
    ],
)
def test_letterboxed_input_keeps_the_shape_between_borders_of_mean_colour(size, box):
    image = noise(*size)
    height, width, top, left = box
    wanted = cv2.copyMakeBorder(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        *(top, 40 - height - top, left, 60 - width - left),
        cv2.BORDER_CONSTANT,
        value=(30, 20, 10),
    )
    np.testing.assert_array_equal(input_from_frame(image, replace(PLAIN, resize="letterbox"))[0], wanted)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(40, 30), (81, 240), (7, 5), (40, 61)])
def test_input_is_the_same_without_the_kernels(size, resize, monkeypatch):
    image, preprocess = noise(*size), replace(PLAIN, resize=resize)
    wanted = input_from_frame(image, preprocess)
    workspace = Buffers(2)
    monkeypatch.setattr(workspace, "kernels", None)
    np.testing.assert_array_equal(input_from_frame(image, preprocess, workspace=workspace), wanted)


def test_a_mirrored_frame_and_a_part_of_one_are_taken():
    image = noise(50, 70)
    for part in (image[3:, 5:60], image[::-1], image[:, ::-1], image[::2, ::3]):
        np.testing.assert_array_equal(input_from_frame(part, PLAIN), input_from_frame(part.copy(), PLAIN))


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_given_array_is_filled(resize):
    preprocess = replace(PLAIN, resize=resize)
    out = np.full((1, 40, 60, 3), 7, np.uint8)
    assert input_from_frame(noise(30, 31), preprocess, out) is out
    np.testing.assert_array_equal(out, input_from_frame(noise(30, 31), preprocess))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "batch", "no rows"],
)
def test_what_is_no_frame_is_refused(image):
    with refused(BadInput, "(H, W, 3)", "uint8"):
        input_from_frame(image, PLAIN)


def interpolated(scores, size, corners):
    """PyTorch's bilinear upsampling of (C, h, w) scores."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    batch = torch.from_numpy(scores)[None]
    return torch.nn.functional.interpolate(batch, size, mode="bilinear", align_corners=corners)[0].numpy()


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 21), st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    corners=st.booleans(),
)
def test_class_map_is_upsampling_and_arg_max(seed, shape, size, corners):
    scores = np.random.default_rng(seed).standard_normal(shape, np.float32)
    axis = align_corners if corners else stretch
    class_map = class_map_from_scores(scores, Sampling(axis(size[0], shape[1]), axis(size[1], shape[2])))
    assert class_map.shape == size and class_map.dtype == np.uint8
    upsampled = interpolated(scores, size, corners)
    best = np.sort(upsampled, axis=0)[-2:]
    clear = best[-1] - best[0] > TIE if len(best) == 2 else np.ones(size, bool)
    np.testing.assert_array_equal(class_map[clear], upsampled.argmax(0)[clear])


@given(st.integers(0, 2**32 - 1), st.integers(1, 100), st.integers(1, 6))
def test_rows_drawn_in_parts_are_the_rows_of_the_whole(seed, height, rows):
    scores = np.random.default_rng(seed).standard_normal((4, rows, 5), np.float32).round(1)
    y, x = taps(stretch(height, rows), rows), taps(stretch(12, 5), 5)
    whole = reference_class_map(scores, y, x, np.empty((height, 12), np.uint8))
    for row in range(height):
        one = reference_class_map(scores, (y[0][row : row + 1], y[1][row : row + 1]), x, np.empty((1, 12), np.uint8))
        np.testing.assert_array_equal(one[0], whole[row])


def test_ties_go_to_the_lower_class():
    scores = np.zeros((4, 3, 3), np.float32)
    scores[2:] = 1
    assert (class_map_from_scores(scores, Sampling(stretch(9, 3), stretch(7, 3))) == 2).all()


def test_reading_beyond_the_map_repeats_its_border():
    scores = np.zeros((3, 2, 2), np.float32)
    scores[1, :, 0], scores[2, :, 1] = 1, 1
    drawn = class_map_from_scores(scores, Sampling(stretch(4, 2), Axis(1.0, -3.0, 8)))
    np.testing.assert_array_equal(drawn, np.tile(np.uint8([1, 1, 1, 1, 2, 2, 2, 2]), (4, 1)))


def test_scores_of_any_float_type_and_layout_are_taken():
    scores = np.random.default_rng(0).standard_normal((4, 6, 5))
    sampling = Sampling(stretch(20, 6), stretch(30, 5))
    wanted = class_map_from_scores(scores.astype(np.float32), sampling)
    turned = np.ascontiguousarray(scores.transpose(2, 1, 0)).transpose(2, 1, 0)
    np.testing.assert_array_equal(class_map_from_scores(turned, sampling), wanted)


@pytest.mark.parametrize("shape", [(0, 4, 4), (256, 4, 4), (4, 4), (1, 4, 4, 4)])
def test_what_is_no_score_map_is_refused(shape):
    with refused(BadInput, "scores", "(C, h, w)", "1 to 255"):
        class_map_from_scores(np.zeros(shape, np.float32), full(4, 4))


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    kernels.native_kernels.cache_clear()
    transforms._workspace.cache_clear()
    yield
    kernels.native_kernels.cache_clear()
    transforms._workspace.cache_clear()


def test_missing_kernels_are_told_once(without_kernels, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            class_map_from_scores(np.zeros((2, 2, 2), np.float32), full(2, 2))
    assert len([record.message for record in caplog.records if "numpy" in record.message]) == 1


@pytest.mark.parametrize("kind", ["scores", "classes"])
def test_without_kernels_views_are_the_same(kind, make_spec, request):
    image, spec = noise(33, 47), make_spec(head=Head(kind, full(33, 47)))
    scores = np.random.default_rng(1).standard_normal((3, 33, 47), np.float32)
    output = scores.argmax(0).astype(np.uint8) if kind == "classes" else scores
    style = Style(0.4, hidden_classes=(1,))
    wanted = view_from_scores(output, image, spec, style)
    request.getfixturevalue("without_kernels")
    found = view_from_scores(output, image, spec, style)
    for name in ("class_map", "overlay", "pixels_per_class"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def halves(height, width):
    """A frame whose left half is blue and whose right half is red, and its class map (0 and 2)."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    image[:, width // 2 :, 2] = 255
    return image, np.where(np.arange(width) < width // 2, 0, 2).astype(np.uint8)[None].repeat(height, 0)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("kind", ["logits", "classes"])
@pytest.mark.parametrize("size", [(40, 60), (90, 60), (20, 120), (360, 480), (13, 10)])
def test_class_map_lies_on_the_frame_whatever_the_frame(make_spec, resize, kind, size):
    """A network that says the colour of its input must say the colour of the frame."""
    image, wanted = halves(*size)
    spec = make_spec(preprocess=replace(PLAIN, resize=resize), head=Head(kind, full(40, 60)))
    colours = input_from_frame(image, spec.preprocess)[0].transpose(2, 0, 1).astype(np.float32)
    output = colours if kind == "logits" else colours.argmax(0).astype(np.uint8)
    class_map = class_map_from_output(output, spec, size)
    assert class_map.shape == size
    seam = size[1] // 2 - size[1] // 20 - 1, size[1] // 2 + size[1] // 20 + 1  # one input pixel is this wide
    np.testing.assert_array_equal(class_map[:, : seam[0]], wanted[:, : seam[0]])
    np.testing.assert_array_equal(class_map[:, seam[1] :], wanted[:, seam[1] :])


def test_class_output_of_frame_size_is_not_touched(make_spec):
    classes = np.random.default_rng(0).integers(0, 3, (40, 60), np.uint8)
    spec = make_spec(preprocess=PLAIN, head=Head("classes", full(40, 60)))
    np.testing.assert_array_equal(class_map_from_output(classes, spec, (40, 60)), classes)


def test_class_output_is_enlarged_by_whole_pixels(make_spec):
    classes = np.random.default_rng(0).integers(0, 3, (40, 60), np.uint8)
    spec = make_spec(preprocess=PLAIN, head=Head("classes", full(40, 60)))
    wanted = classes.repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(class_map_from_output(classes, spec, (120, 180)), wanted)


def test_view_holds_map_overlay_and_counts(make_spec):
    image = noise(33, 47)
    scores = np.random.default_rng(1).standard_normal((3, 8, 12), np.float32)
    spec = make_spec()
    view = view_from_scores(scores, image, spec, Style())
    np.testing.assert_array_equal(view.class_map, class_map_from_output(scores, spec, (33, 47)))
    assert view.overlay.shape == (33, 47, 3) and view.overlay.dtype == np.uint8
    assert view.pixels_per_class.tolist() == [int((view.class_map == c).sum()) for c in range(3)]
    assert view_from_scores(scores, image, spec, Style(overlay=False)).overlay is None


def overlay_from_class_map(class_map, image, palette, style):
    return reference_overlay(class_map, image, ink_table(palette, style), np.empty_like(image))


def test_overlay_is_within_a_level_of_opencv():
    image, class_map = noise(40, 60), np.random.default_rng(0).integers(0, 3, (40, 60), np.uint8)
    for opacity in np.linspace(0, 1, 21):
        wanted = cv2.addWeighted(image, 1 - opacity, colours_from_class_map(class_map, PALETTE), opacity, 0)
        found = overlay_from_class_map(class_map, image, PALETTE, Style(opacity))
        assert np.abs(found.astype(int) - wanted).max() <= 1


def test_overlay_blends_the_palette_as_bgr():
    image, class_map = noise(5, 6), np.full((5, 6), 0, np.uint8)
    red = np.zeros((5, 6, 3), np.uint8)
    red[..., 2] = 255
    np.testing.assert_array_equal(overlay_from_class_map(class_map, image, PALETTE, Style(opacity=1.0)), red)
    half = overlay_from_class_map(class_map, image, PALETTE, Style(opacity=0.5))
    assert np.abs(half.astype(float) - (image.astype(float) + red) / 2).max() <= 0.5


def test_overlay_without_opacity_is_the_frame():
    image, class_map = noise(5, 6), np.random.default_rng(0).integers(0, 3, (5, 6), np.uint8)
    np.testing.assert_array_equal(overlay_from_class_map(class_map, image, PALETTE, Style(opacity=0.0)), image)


def test_hidden_classes_show_the_frame():
    image, class_map = noise(6, 6), np.array([[0, 1, 2] * 2] * 6, np.uint8)
    drawn = overlay_from_class_map(class_map, image, PALETTE, Style(opacity=1.0, hidden_classes=(0, 2)))
    np.testing.assert_array_equal(drawn[class_map != 1], image[class_map != 1])
    assert (drawn[class_map == 1] == (0, 255, 0)).all()


def test_drawing_changes_neither_frame_nor_class_map():
    image, class_map = noise(6, 6), np.zeros((6, 6), np.uint8)
    before = image.copy()
    overlay_from_class_map(class_map, image, PALETTE, Style(hidden_classes=(0,)))
    np.testing.assert_array_equal(image, before)
    assert not class_map.any()


def test_values_beyond_the_palette_are_black():
    picture = colours_from_class_map(np.array([[0, 2, 3, 255]], np.uint8), PALETTE)
    assert picture.tolist() == [[[0, 0, 255], [255, 0, 0], [0, 0, 0], [0, 0, 0]]]
