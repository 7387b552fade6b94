"""Optical flow between frames, and warping of score maps by it.

Dense inverse search (OpenCV) on a third of the network's input size. Source: Kroeger, Timofte, Dai, Van Gool,
"Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

SHRINK = 3  # of the network's input: a quarter is faster, but warped scores lose 0.1 to 0.2 points of mIoU
ITERATIONS = 25
PATCH_STEP = 5  # pixels between patches of 8: 4 takes 1.4 times as long for 0.03 points of mIoU
FINEST = 1  # pyramid level: the flow is computed at half the thumbnail's size
CUT = 0.3  # in standard deviations of the image. CamVid val: below 0.1 from frame to frame, below 0.3 over 10 frames;
# frames of other drives differ by more than 0.36 in 95 of 100 cases
SMALLEST = 16  # pixels per side: dense inverse search needs at least one patch


@dataclass(frozen=True)
class Grid:
    """Cells of a score map on the network's input: cell (i, j) is centred at (y + i * step, x + j * step)."""

    step: float
    y: float
    x: float


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(H / 3, W / 3) uint8, the green channel of (H, W, 3) BGR: input of the optical flow."""
    height, width = image.shape[:2]
    size = max(SMALLEST, width // SHRINK), max(SMALLEST, height // SHRINK)
    return np.asarray(cv2.resize(cv2.extractChannel(image, 1), size, interpolation=cv2.INTER_AREA))


class Motion:
    """Computes flow fields: (h, w, 2) float32, x and y, from a point of the newer thumbnail to the older one."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(FINEST)
        self._search.setGradientDescentIterations(ITERATIONS)
        self._search.setPatchStride(PATCH_STEP)

    def field(self, newer: np.ndarray, older: np.ndarray) -> np.ndarray:
        """From `newer` to `older`, two thumbnails of one size."""
        return np.asarray(self._search.calc(newer, older, cast(np.ndarray, None)))


def chained(newer: np.ndarray, older: np.ndarray) -> np.ndarray:
    """The field from the newest frame to the oldest: `newer` leads to the middle one, `older` on from there."""
    return np.asarray(cv2.add(newer, _looked_up(older, newer)))


class Track:
    """The motion of a stream's last frames; gives the field back to any of them."""

    def __init__(self) -> None:
        self._steps: dict[int, np.ndarray] = {}  # frame -> field to the frame before it, in order
        self._known: dict[int, tuple[int, np.ndarray]] = {}  # frame -> (newer frame, field from there back to it)

    def add(self, index: int, field: np.ndarray) -> None:
        """Add the field from this frame to the one added before, or to the first frame of the track."""
        self._steps[index] = field

    def back_to(self, index: int) -> np.ndarray:
        """The field from the frame added last back to frame `index`."""
        upto, total = self._known.get(index, (index, None))
        for newer in [newer for newer in self._steps if newer > upto]:
            step = self._steps[newer]
            total = step if total is None else chained(step, total)
            self._known[index] = newer, total
        if total is None:
            raise ValueError(f"no motion was added after frame {index}")
        return total

    def forget_before(self, index: int) -> None:
        """Drop fields to frames before this one."""
        self._steps = {newer: field for newer, field in self._steps.items() if newer > index}
        self._known = {older: known for older, known in self._known.items() if older >= index}


def is_cut(newer: np.ndarray, older: np.ndarray, field: np.ndarray) -> bool:
    """Whether two thumbnails show different scenes: the difference after warping is large relative to the contrast."""
    limit = CUT * max(float(cv2.meanStdDev(newer)[1][0, 0]), 1.0) * newer.size
    if cv2.norm(newer, older, cv2.NORM_L1) <= limit:
        return False  # warping would only reduce the difference
    return cv2.norm(newer, _looked_up(older, field), cv2.NORM_L1) > limit


def pixels_moved(field: np.ndarray, width: int) -> float:
    """Root mean square of the motion, in pixels of a network input of that width."""
    return float(np.sqrt(np.vdot(field, field) / (field.size / 2))) * width / field.shape[1]


def move(scores: np.ndarray, field: np.ndarray, grid: Grid, size: tuple[int, int], out: np.ndarray) -> None:
    """Fill `out` with scores (C, h, w) float of an older frame, warped to the current frame.

    field: from the current frame to that frame. size: (height, width) of the network's input. out: of the scores'
    shape and type.
    """
    cells = _cells_in_thumbnail(scores.shape[1:], field.shape[:2], grid, size)
    places = _looked_up_at(field, cells) * np.float32(size[1] / field.shape[1] / grid.step)
    places += _places(*scores.shape[1:])
    for plane, moved in zip(scores.astype(np.float32, copy=False), out, strict=True):
        if moved.dtype == np.float32:
            cv2.remap(plane, places, cast(np.ndarray, None), cv2.INTER_LINEAR, moved, cv2.BORDER_REPLICATE)
        else:  # half precision: cv2.remap does not support it
            moved[...] = _looked_up_at(plane, places)


def _looked_up(values: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(h, w, ...) values at the places that `field` leads to."""
    return _looked_up_at(values, cv2.add(field, _places(*field.shape[:2])))


def _looked_up_at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(h, w, ...) values at places (h, w, 2) float32, x and y; the border is replicated."""
    sampled = cv2.remap(values, places, cast(np.ndarray, None), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled)


@functools.lru_cache(maxsize=32)
def _places(height: int, width: int) -> np.ndarray:
    """(h, w, 2) float32: column and row of each cell."""
    rows, columns = np.indices((height, width), np.float32)
    return np.ascontiguousarray(np.dstack((columns, rows)))


@functools.lru_cache(maxsize=32)
def _cells_in_thumbnail(
    cells: tuple[int, int], thumbnail_size: tuple[int, int], grid: Grid, size: tuple[int, int]
) -> np.ndarray:
    """(h, w, 2) float32: column and row on a thumbnail of each cell of a score map."""
    scale = np.array((thumbnail_size[1] / size[1], thumbnail_size[0] / size[0]))
    pixels = _places(*cells) * grid.step + (grid.x, grid.y)
    return np.ascontiguousarray((pixels + 0.5) * scale - 0.5, np.float32)
