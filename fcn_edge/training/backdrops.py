"""Drawn backgrounds of composed scenes: rooms, colour gradients and noise; numpy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np

COARSEST, FINEST = 3, 64  # cells of noise along a side
FURNITURE = 4, 14  # things in a room: fewest, one more than most


def drawn_backdrop(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(height, width, 3) uint8: a room, a gradient or noise."""
    draw = (_room, _room, _gradient, _noise)[int(rng.integers(4))]
    return draw(size, rng)


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    """Mostly dull, as walls and furniture are."""
    grey = rng.uniform(15, 240)
    return tuple(np.clip(grey + rng.normal(0, rng.choice((8, 20, 60)), 3), 0, 255).tolist())


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    corners = np.array([_colour(rng) for _ in range(4)], np.float32).reshape(2, 2, 3)
    return cv2.resize(corners, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of several grains about a gradient."""
    image, cells, strength = _gradient(size, rng).astype(np.float32), COARSEST, rng.uniform(15, 60)
    while cells <= FINEST:
        grains = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(grains, size[::-1], interpolation=cv2.INTER_CUBIC)
        cells, strength = cells * int(rng.integers(2, 4)), strength * rng.uniform(0.4, 0.9)
    return np.clip(image, 0, 255).astype(np.uint8)


def _room(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A wall, a floor, and flat furniture on them, with a little grain."""
    height, width = size
    image = _gradient(size, rng)
    floor = int(height * rng.uniform(0.6, 1.1))
    cv2.rectangle(image, (0, floor), (width, height), _colour(rng), -1)
    for _ in range(int(rng.integers(*FURNITURE))):
        draw = (_board, _board, _window, _shelf, _blob, _curtain)[int(rng.integers(6))]
        sides = (np.array([width, height]) * rng.uniform(0.06, 0.5, 2)).astype(int) + 2
        corner = (np.array([width, height]) * rng.uniform(-0.1, 1.0, 2)).astype(int)
        draw(image, corner, corner + sides, rng)
    grain = rng.normal(0, rng.uniform(0, 6), (*size, 1)).astype(np.float32)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _board(image: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> None:
    """A picture, a door, a cupboard: a rectangle in a frame."""
    cv2.rectangle(image, low.tolist(), high.tolist(), _colour(rng), -1)
    cv2.rectangle(image, low.tolist(), high.tolist(), _colour(rng), int(rng.integers(1, 5)))


def _window(image: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> None:
    """Bright panes between bars."""
    cv2.rectangle(image, low.tolist(), high.tolist(), rng.uniform(190, 255, 3).tolist(), -1)
    bar, thickness = _colour(rng), int(rng.integers(1, 4))
    cv2.rectangle(image, low.tolist(), high.tolist(), bar, thickness)
    x, y = ((low + high) // 2).tolist()
    cv2.line(image, (x, int(low[1])), (x, int(high[1])), bar, thickness)
    cv2.line(image, (int(low[0]), y), (int(high[0]), y), bar, thickness)


def _shelf(image: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> None:
    """A row of books of different colours and heights."""
    x = int(low[0])
    while x < high[0]:
        right = x + int(rng.integers(2, 9))
        top = int(rng.uniform(low[1], low[1] + 0.4 * (high[1] - low[1])))
        cv2.rectangle(image, (x, top), (right, int(high[1])), rng.uniform(0, 255, 3).tolist(), -1)
        x = right
    cv2.line(image, (int(low[0]), int(high[1])), (x, int(high[1])), _colour(rng), 2)


def _blob(image: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> None:
    """A lamp, a cushion, a plant: an ellipse of any colour, that of skin among them."""
    centre, axes = ((low + high) // 2).tolist(), ((high - low) // 2).tolist()
    cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(0, 255, 3).tolist(), -1)


def _curtain(image: np.ndarray, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> None:
    """Vertical stripes of two colours."""
    colours, step = (_colour(rng), _colour(rng)), int(rng.integers(2, 8))
    for number, x in enumerate(range(int(low[0]), int(high[0]), step)):
        cv2.rectangle(image, (x, int(low[1])), (x + step - 1, int(high[1])), colours[number % 2], -1)
