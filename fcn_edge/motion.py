"""How the picture moved from frame to frame, and maps of scores moved along with it.

Dense inverse search on a third of the network's input: half a millisecond at 360x480. Kroeger, Timofte, Dai,
Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016; as OpenCV has it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

SHRINK = 3  # of the network's input: at 4 the flow is cheaper, and moved scores are 0.1 points of mIoU worse
ITERATIONS = 25
FINEST = 1  # pyramid level: the flow is computed at half the thumbnail's size
SMALLEST = 16  # pixels a side, below which dense inverse search has no patch to look for
CHANNELS_AT_ONCE = 64  # cv2.remap takes 128 at most


@dataclass(frozen=True)
class Grid:
    """Where cells of a score map lie on the network's input: cell (i, j) is centred at (y + i * step, x + j * step)."""

    step: float
    y: float
    x: float


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(H / 3, W / 3) uint8, the green channel of (H, W, 3) BGR: what motion is looked up in."""
    height, width = image.shape[:2]
    size = max(SMALLEST, width // SHRINK), max(SMALLEST, height // SHRINK)
    return np.asarray(cv2.resize(cv2.extractChannel(image, 1), size, interpolation=cv2.INTER_AREA))


class Motion:
    """Finds motion fields: (h, w, 2) float32, x and y, from a point of the newer thumbnail to the same thing before."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(FINEST)
        self._search.setGradientDescentIterations(ITERATIONS)

    def field(self, newer: np.ndarray, older: np.ndarray) -> np.ndarray:
        """From `newer` to `older`, two thumbnails of one size."""
        return np.asarray(self._search.calc(newer, older, cast(np.ndarray, None)))


def chained(newer: np.ndarray, older: np.ndarray) -> np.ndarray:
    """The field from the newest frame to the oldest: `newer` leads to the middle one, `older` on from there."""
    return np.asarray(newer + _looked_up(older, newer))


def unexplained(newer: np.ndarray, older: np.ndarray, field: np.ndarray) -> float:
    """What motion does not explain of a thumbnail, as a share of its contrast; about 1 after a cut, 0 of a still."""
    contrast = float(np.abs(newer - newer.mean()).mean())
    return float(cv2.absdiff(newer, _looked_up(older, field)).mean()) / max(contrast, 1.0)


def pixels_moved(field: np.ndarray, width: int) -> float:
    """Root mean square of the motion, in pixels of a network input of that width."""
    return float(np.sqrt(np.vdot(field, field) / (field.size / 2))) * width / field.shape[1]


def moved(scores: np.ndarray, field: np.ndarray, grid: Grid, size: tuple[int, int]) -> np.ndarray:
    """Scores (C, h, w) float of an older frame, moved to where their things are now; a fresh array of that type.

    field: from now to that frame. size: (height, width) of the network's input.
    """
    height, width = scores.shape[1:]
    there = _cells_in_thumbnail((height, width), field.shape[:2], grid, size)
    shift = cv2.remap(field, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shift *= size[1] / field.shape[1] / grid.step
    rows, columns = _indices(height, width)
    x, y = columns + shift[..., 0], rows + shift[..., 1]
    planes = np.ascontiguousarray(scores.transpose(1, 2, 0), np.float32)
    slices = [planes[..., first : first + CHANNELS_AT_ONCE] for first in range(0, planes.shape[2], CHANNELS_AT_ONCE)]
    parts = [cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in slices]
    return np.ascontiguousarray(np.dstack(parts).transpose(2, 0, 1), scores.dtype)


def _looked_up(values: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(h, w, ...) values at the places that `field` leads to."""
    rows, columns = _indices(*field.shape[:2])
    x, y = columns + field[..., 0], rows + field[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


@functools.lru_cache(maxsize=32)
def _indices(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (h, 1) and column numbers (1, w), float32."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


@functools.lru_cache(maxsize=32)
def _cells_in_thumbnail(
    cells: tuple[int, int], thumbnail_size: tuple[int, int], grid: Grid, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows (h, w) float32 of the thumbnail where the cells of a score map lie."""
    rows, columns = _indices(*cells)
    scale_y, scale_x = thumbnail_size[0] / size[0], thumbnail_size[1] / size[1]
    y = (grid.y + grid.step * rows + 0.5) * scale_y - 0.5
    x = (grid.x + grid.step * columns + 0.5) * scale_x - 0.5
    wide_x, wide_y = np.broadcast_arrays(x.astype(np.float32), y.astype(np.float32))
    return np.ascontiguousarray(wide_x), np.ascontiguousarray(wide_y)
