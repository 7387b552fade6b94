"""Shapes of annotation files as masks of pixels, and shapes drawn over each other.

A pixel belongs to a shape if its centre lies inside: column x and row y have their centre at (x + 0.5, y + 0.5). Parts
of a polygon that its own outline encloses twice are outside (even-odd rule).
Source of run lengths: COCO API, maskApi.c (rleDecode, rleFrString): column by column, beginning with pixels outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from fcn_edge.data.labels import UNLABELLED
from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest

Overlap = Literal["later", "smaller", "ignore"]
MAX_SHAPES = 20_000  # in one image
MAX_POINTS = 100_000  # of one polygon
MAX_CROSSINGS = 20_000_000  # of one polygon's outline with rows of pixels
FARTHEST = 1e6  # pixels from the origin; no picture is that large
COVERS_NOTHING = "a shape covers no pixel of the image"
OVERLAPPING = {
    "later": "shapes of different classes overlap; the later one counts",
    "smaller": "shapes of different classes overlap; the smaller one counts",
    "ignore": "shapes of different classes overlap; their common pixels are ignored",
}


class Patch(NamedTuple):
    """A mask (h, w) bool, and the row and column of the picture that its first pixel lies on."""

    mask: np.ndarray
    top: int
    left: int


Region: TypeAlias = Callable[[int, int], Patch]  # of a picture's height and width


class Shape(NamedTuple):
    """The class index of a shape (255: ignored), and the pixels that it covers.

    is_crowd: drawn before all others, so that an object inside the crowd counts.
    """

    value: int
    region: Region
    is_crowd: bool = False


def overlap_from_text(text: str, where: str) -> Overlap:
    """One of the ways to treat shapes that overlap. Raises BadInput."""
    for overlap in get_args(Overlap):
        if text == overlap:
            return overlap
    raise BadInput(f"{where}: overlap={text}{nearest(text, get_args(Overlap))}")


def drawn_shapes(shapes: Sequence[Shape], size: tuple[int, int], overlap: Overlap) -> tuple[np.ndarray, list[str]]:
    """Class indices (H, W) uint8 where 0 is background, and what is worth a note.

    Args:
        shapes: in the order of their file.
        size: height and width.
        overlap: which class counts where shapes overlap: that of the later shape, that of the smaller one (in pixels,
            the later one if they are equal), or none ("ignore").
    """
    if len(shapes) > MAX_SHAPES:
        raise BadInput(f"{len(shapes)} shapes in one image; up to {MAX_SHAPES} are read")
    values, is_drawn = np.zeros(size, np.uint8), np.zeros(size, bool)
    notes = set()
    for shape in _in_drawing_order(shapes, size, overlap):
        patch = shape.region(*size)
        rows, columns = (slice(at, at + length) for at, length in zip(patch[1:], patch.mask.shape))
        under, is_under = values[rows, columns], is_drawn[rows, columns]
        conflict = patch.mask & is_under & (under != shape.value)
        notes |= {OVERLAPPING[overlap]} if conflict.any() else set()
        notes |= set() if patch.mask.any() else {COVERS_NOTHING}
        under[patch.mask] = shape.value
        if overlap == "ignore":
            under[conflict] = UNLABELLED
        if not shape.is_crowd:
            is_under |= patch.mask
    return values, sorted(notes)


def _in_drawing_order(shapes: Sequence[Shape], size: tuple[int, int], overlap: Overlap) -> list[Shape]:
    order = sorted(shapes, key=lambda shape: not shape.is_crowd)
    if overlap != "smaller":
        return order
    areas = [int(shape.region(*size).mask.sum()) for shape in order]
    numbers = sorted(range(len(order)), key=lambda n: (not order[n].is_crowd, -areas[n]))
    return [order[number] for number in numbers]


def points_from_numbers(numbers: Any) -> np.ndarray:
    """(N, 2) float64 points x, y of a polygon from x1, y1, x2, y2 … or pairs. Raises BadInput."""
    try:
        points = np.asarray(numbers, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput("a polygon is a list of numbers x1, y1, x2, y2, …") from error
    if points.size % 2 or points.ndim not in (1, 2) or (points.ndim == 2 and points.shape[1] != 2):
        raise BadInput(f"a polygon of {points.size} numbers; expected x1, y1, x2, y2, …")
    points = points.reshape(-1, 2)
    if not 3 <= len(points) <= MAX_POINTS:
        raise BadInput(f"a polygon of {len(points)} points; 3 to {MAX_POINTS} are read")
    if not (np.abs(points) <= FARTHEST).all():  # also true of NaN
        raise BadInput(f"a polygon with a coordinate beyond {FARTHEST:.0f}, or none")
    return points


def polygon_region(points: np.ndarray) -> Region:
    """The inside of a polygon (N, 2), cut at the picture's edges."""
    return lambda height, width: _polygon_patch(points, height, width)


def _polygon_patch(points: np.ndarray, height: int, width: int) -> Patch:
    upper, lower = points, np.roll(points, -1, axis=0)
    is_upward = (upper[:, 1] > lower[:, 1])[:, None]  # so that two polygons cut a common edge at the same places
    upper, lower = np.where(is_upward, lower, upper), np.where(is_upward, upper, lower)
    first, end = (np.clip(np.ceil(part[:, 1] - 0.5), 0, height).astype(np.int64) for part in (upper, lower))
    counts = end - first
    total = int(counts.sum())
    if total > MAX_CROSSINGS:
        raise BadInput(f"a polygon whose outline crosses {total} rows; up to {MAX_CROSSINGS} are read")
    if not total:
        return Patch(np.zeros((0, 0), bool), 0, 0)
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    (x, y), (dx, dy) = upper[edge].T, (lower - upper)[edge].T
    column = np.clip(np.ceil(x + (row + 0.5 - y) * dx / dy - 0.5), 0, width).astype(np.int64)
    top, left = int(row.min()), int(column.min())
    shape = int(row.max()) - top + 1, int(column.max()) - left + 1
    crossings = np.bincount((row - top) * shape[1] + column - left, minlength=shape[0] * shape[1])
    inside = np.bitwise_xor.accumulate((crossings & 1).astype(np.uint8).reshape(shape), axis=1)
    return Patch(inside[:, :-1].astype(bool), top, left)


def rectangle_region(x1: float, y1: float, x2: float, y2: float) -> Region:
    """The inside of a rectangle, given by two opposite corners."""
    return polygon_region(points_from_numbers([x1, y1, x2, y1, x2, y2, x1, y2]))


def circle_region(x: float, y: float, radius: float) -> Region:
    """The inside of a circle, given by its centre."""

    def patch(height: int, width: int) -> Patch:
        reach = np.ceil(radius)
        top, bottom = (int(np.clip(np.floor(y + side), 0, height)) for side in (-reach, reach + 1))
        left, right = (int(np.clip(np.floor(x + side), 0, width)) for side in (-reach, reach + 1))
        rows, columns = np.arange(top, bottom) + 0.5 - y, np.arange(left, right) + 0.5 - x
        return Patch(rows[:, None] ** 2 + columns**2 <= radius**2, top, left)

    return patch


def bitmap_region(mask: np.ndarray, top: int, left: int) -> Region:
    """The pixels of a mask (h, w) bool whose first pixel lies at (top, left), cut at the picture's edges."""

    def patch(height: int, width: int) -> Patch:
        rows = slice(max(0, -top), max(0, height - top))
        columns = slice(max(0, -left), max(0, width - left))
        return Patch(mask[rows, columns], max(0, top), max(0, left))

    return patch


def joined(regions: Sequence[Region]) -> Region:
    """The pixels of any of the regions: the parts of one object."""
    if len(regions) == 1:
        return regions[0]

    def patch(height: int, width: int) -> Patch:
        parts = [part for part in (region(height, width) for region in regions) if part.mask.size]
        if not parts:
            return Patch(np.zeros((0, 0), bool), 0, 0)
        top, left = min(part.top for part in parts), min(part.left for part in parts)
        bottom = max(part.top + part.mask.shape[0] for part in parts)
        mask = np.zeros((bottom - top, max(part.left + part.mask.shape[1] for part in parts) - left), bool)
        for part in parts:
            row, column = part.top - top, part.left - left
            mask[row : row + part.mask.shape[0], column : column + part.mask.shape[1]] |= part.mask
        return Patch(mask, top, left)

    return patch
