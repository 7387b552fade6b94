"""Polygons and run lengths as masks: by hand, and compared with COCO's own code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.data.run_lengths import mask_from_runs
from fcn_edge.data.shapes import (
    COVERS_NOTHING,
    MAX_CROSSINGS,
    MAX_POINTS,
    MAX_SHAPES,
    OVERLAPPING,
    Shape,
    bitmap_region,
    circle_region,
    drawn_shapes,
    joined,
    points_from_numbers,
    polygon_region,
    rectangle_region,
)
from fcn_edge.errors import BadInput
from tests.refusals import refused

coordinates = st.floats(-5, 25, allow_nan=False, width=32)
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=8)


def mask_of(region, height=20, width=20):
    patch = region(height, width)
    mask = np.zeros((height, width), bool)
    rows, columns = patch.mask.shape
    mask[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.mask
    return mask


def inside_by_definition(points, height, width):
    """Whether each pixel's centre lies inside, by counting the edges to its left; and whether it lies on an edge."""
    mask, on_edge = np.zeros((height, width), bool), np.zeros((height, width), bool)
    for row, column in np.ndindex(height, width):
        x, y, crossings = column + 0.5, row + 0.5, 0
        for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]]):
            if (y1 <= y) != (y2 <= y):
                at = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
                crossings += at <= x
                on_edge[row, column] |= abs(at - x) < ON_EDGE
        mask[row, column] = crossings % 2
    return mask, on_edge


ON_EDGE = 1e-6  # pixels: two ways to compute a crossing may round to different sides


@settings(max_examples=60, deadline=None)
@given(polygons)
def test_pixels_of_a_polygon_are_those_whose_centre_lies_inside(points):
    mask = mask_of(polygon_region(np.array(points, np.float64)), 12, 14)
    expected, on_edge = inside_by_definition(points, 12, 14)
    np.testing.assert_array_equal(mask[~on_edge], expected[~on_edge])


def test_whole_numbers_are_edges_between_pixels():
    mask = mask_of(polygon_region(points_from_numbers([2, 3, 6, 3, 6, 5, 2, 5])))
    assert mask.sum() == 8 and mask[3:5, 2:6].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 19), st.floats(0, 20), st.floats(0, 20))
def test_polygons_of_one_edge_share_no_pixel_and_leave_none_out(split, x1, x2):
    left = polygon_region(points_from_numbers([0, 0, x1, 0, x2, 20, 0, 20]))
    right = polygon_region(points_from_numbers([x1, 0, 20, 0, 20, 20, x2, 20]))
    assert (mask_of(left).astype(int) + mask_of(right)).tolist() == [[1] * 20] * 20


def test_polygon_outside_of_the_picture_draws_nothing_and_one_across_its_edge_is_cut():
    assert not mask_of(polygon_region(points_from_numbers([30, 30, 40, 30, 40, 40]))).any()
    assert mask_of(polygon_region(points_from_numbers([-5, -5, 2, -5, 2, 2, -5, 2]))).sum() == 4


def test_circle_and_rectangle():
    circle = mask_of(circle_region(10, 10, 5))
    rows, columns = np.mgrid[:20, :20] + 0.5
    np.testing.assert_array_equal(circle, (rows - 10) ** 2 + (columns - 10) ** 2 <= 25)
    assert mask_of(rectangle_region(8, 9, 2, 3)).sum() == 36
    assert mask_of(circle_region(19, 1, 5)).sum() > 10 and not mask_of(circle_region(-50, 3, 5)).any()


@pytest.mark.parametrize("corner", [(-3, 2), (17, 2), (2, -3), (2, 17), (40, 40)])
def test_bitmap_is_cut_at_every_edge(corner):
    top, left = corner
    mask = mask_of(bitmap_region(np.ones((5, 6), bool), top, left))
    assert mask.sum() == max(0, min(20, top + 5) - max(0, top)) * max(0, min(20, left + 6) - max(0, left))


def test_parts_of_an_object_are_joined():
    parts = [rectangle_region(0, 0, 2, 2), rectangle_region(1, 1, 4, 4), rectangle_region(90, 90, 99, 99)]
    assert mask_of(joined(parts)).sum() == 4 + 9 - 1


SQUARE, DOT = rectangle_region(0, 0, 10, 10), rectangle_region(2, 2, 4, 4)


@pytest.mark.parametrize(
    ("overlap", "order", "at_the_dot"),
    [
        ("later", "square dot", 2),
        ("later", "dot square", 1),
        ("smaller", "dot square", 2),
        ("ignore", "dot square", 255),
    ],
)
def test_which_class_counts_where_shapes_overlap(overlap, order, at_the_dot):
    shapes = {"square": Shape(1, SQUARE), "dot": Shape(2, DOT)}
    values, notes = drawn_shapes([shapes[name] for name in order.split()], (12, 12), overlap)
    assert notes == [OVERLAPPING[overlap]] and (values[2:4, 2:4] == at_the_dot).all()
    assert values[5, 5] == 1 and values[11, 11] == 0


def test_shapes_of_one_class_do_not_conflict():
    _, notes = drawn_shapes([Shape(1, SQUARE), Shape(1, DOT)], (12, 12), "ignore")
    assert notes == []


def test_shape_that_covers_no_pixel_is_noted():
    outside = polygon_region(points_from_numbers([30, 30, 40, 30, 40, 40]))
    assert drawn_shapes([Shape(1, outside), Shape(2, DOT)], (12, 12), "later")[1] == [COVERS_NOTHING]


@pytest.mark.parametrize("overlap", ["later", "smaller", "ignore"])
def test_object_inside_a_crowd_counts(overlap):
    values, notes = drawn_shapes([Shape(1, SQUARE), Shape(255, DOT, is_crowd=True)], (12, 12), overlap)
    assert notes == [] and (values[:10, :10] == 1).all()
    values, _ = drawn_shapes([Shape(1, DOT), Shape(255, SQUARE, is_crowd=True)], (12, 12), overlap)
    assert values[2, 2] == 1 and values[0, 0] == 255


@pytest.mark.parametrize(
    ("numbers", "facts"),
    [
        ([1, 2, 3, 4], [2]),
        ([1, 2, 3, 4, 5], [5]),
        ([[1, 2, 3], [4, 5, 6]], [6]),
        ("abc", ["numbers"]),
        ([None, 1, 2, 3, 4, 5], ["coordinate"]),
        ([1, 2, 3, 4, float("nan"), 5], ["coordinate"]),
        ([1, 2, 3, 4, float("inf"), 5], ["coordinate"]),
        ([1, 2, 3, 4, 1e300, 5], ["coordinate"]),
        ([10**400, 1, 2, 3, 4, 5], ["numbers"]),
        ([0.0, 1.0] * (MAX_POINTS + 1), [MAX_POINTS + 1, MAX_POINTS]),
    ],
)
def test_what_is_no_polygon_is_refused(numbers, facts):
    with refused(BadInput, *facts):
        points_from_numbers(numbers)


def test_outline_that_would_fill_the_memory_is_refused():
    zigzag = np.array([[0, 0], [1, 16_000]] * 2000, np.float64)
    with refused(BadInput, MAX_CROSSINGS):
        polygon_region(zigzag)(16_000, 10)


def test_too_many_shapes_are_refused():
    with refused(BadInput, MAX_SHAPES, MAX_SHAPES + 1):
        drawn_shapes([Shape(1, DOT)] * (MAX_SHAPES + 1), (12, 12), "later")


def test_runs_go_down_the_columns_and_begin_outside():
    mask = mask_from_runs({"size": [3, 2], "counts": [1, 3, 2]}, (3, 2))
    assert mask.tolist() == [[False, True], [True, False], [True, False]]


@pytest.mark.parametrize(
    ("segmentation", "facts"),
    [
        ({"size": [2, 3], "counts": [6]}, [3, 2]),
        ({"counts": [6]}, ["None"]),
        ({"size": [3, 2], "counts": [5]}, [5, 6]),
        ({"size": [3, 2], "counts": [1, -1, 6]}, ["counts"]),
        ({"size": [3, 2], "counts": [True, 5]}, ["counts"]),
        ({"size": [3, 2], "counts": [6.0]}, ["counts"]),
        ({"size": [3, 2], "counts": {"a": 1}}, ["counts"]),
        ({"size": [3, 2], "counts": [10**12]}, ["counts"]),
        ({"size": [3, 2], "counts": "\x00"}, ["compressed"]),
        ({"size": [3, 2], "counts": "é"}, ["compressed"]),
        ({"size": [3, 2], "counts": "o"}, ["compressed"]),
        ({"size": [3, 2], "counts": "o" * 9}, ["compressed"]),
    ],
)
def test_run_lengths_that_do_not_fit_are_refused(segmentation, facts):
    with refused(BadInput, *facts):
        mask_from_runs(segmentation, (3, 2))


def coco_code():
    return pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed: nothing to compare with")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_compressed_runs_decode_as_by_coco(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    coded = coco_code().encode(np.asfortranarray(mask.astype(np.uint8)))
    segmentation = {"size": coded["size"], "counts": coded["counts"].decode("ascii")}
    np.testing.assert_array_equal(mask_from_runs(segmentation, (height, width)), mask)


AT_THE_OUTLINE = 0.6  # pixels a pixel of outline: COCO's code rounds the outline to a fifth of a pixel


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of pycocotools with numpy 2
@settings(max_examples=60, deadline=None)
@given(polygons)
def test_polygons_are_filled_as_by_coco_but_for_their_outline(points):
    points = np.array(points, np.float64) * 10
    outline = np.abs(np.diff([*points, points[0]], axis=0)).max(axis=1).sum()
    coded = coco_code().frPyObjects([points.ravel().tolist()], 200, 200)
    theirs = coco_code().decode(coded)[:, :, 0].astype(bool)
    different = mask_of(polygon_region(points), 200, 200) != theirs
    assert different.sum() <= AT_THE_OUTLINE * outline + 2
