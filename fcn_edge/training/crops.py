"""Pictures and their labels as crops of one size: scaled, turned, stretched and flipped; numpy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np

from fcn_edge.geometry import padded_to
from fcn_edge.registry import InputRecipe, TrainRecipe
from fcn_edge.spec import FREE_SIZE_STEP

Labelled = tuple[np.ndarray, np.ndarray]  # a picture (H, W, 3) and its labels (H, W), both uint8


def random_crop(
    image: np.ndarray,
    labels: np.ndarray,
    settings: TrainRecipe,
    rng: np.random.Generator,
    ignore: int,
    focus: tuple[int, int] | None = None,
) -> Labelled:
    """Randomly scaled, turned, flipped and cropped image (h, w, 3) and labels (h, w); outside is ignored.

    focus: a pixel (x, y) of the picture that the crop must hold.
    """
    scale = float(np.exp(rng.uniform(np.log(settings.scales[0]), np.log(settings.scales[1]))))
    scales = stretched(scale, settings.stretch, rng)
    height, width = settings.crop
    # One affine map does scale, turn, flip and crop, so only the crop's pixels are computed.
    left = _crop_start(image.shape[1] * scales[0], width, None if focus is None else focus[0] * scales[0], rng)
    top = _crop_start(image.shape[0] * scales[1], height, None if focus is None else focus[1] * scales[1], rng)
    matrix = placement(scales, (left, top), width, is_flipped=rng.random() < 0.5)
    if settings.rotation:
        about = (width - 1) / 2, (height - 1) / 2
        matrix = turned(matrix, about, random_angle(settings.rotation, rng))
    return _warped(image, labels, matrix, settings.crop, ignore)


def _crop_start(length: float, crop: int, focus: float | None, rng: np.random.Generator) -> float:
    """Where a crop begins in a side of `length` pixels: anywhere that fits, with `focus` inside."""
    low, high = min(0.0, length - crop), max(0.0, length - crop)
    if focus is not None:
        low, high = max(low, min(high, focus - crop + 1)), min(high, max(low, focus))
    return float(rng.uniform(low, high))


def whole_picture(
    image: np.ndarray, labels: np.ndarray, given: InputRecipe, rng: np.random.Generator, ignore: int
) -> Labelled:
    """The picture at the network's input size, padded as at inference, flipped by chance."""
    scales = given.width / image.shape[1], given.height / image.shape[0]
    size = padded_to(given.height, FREE_SIZE_STEP), padded_to(given.width, FREE_SIZE_STEP)
    flip = rng.random() < 0.5
    left = float(given.width - size[1]) if flip else 0.0  # padding stays on the right of a flipped picture
    return _warped(image, labels, placement(scales, (left, 0.0), size[1], is_flipped=flip), size, ignore)


def stretched(scale: float, strength: float, rng: np.random.Generator) -> tuple[float, float]:
    """Scales along x and y around `scale`, whose ratio is between exp(-strength) and exp(strength)."""
    if strength == 0:
        return scale, scale
    half = float(np.exp(rng.uniform(-strength, strength) / 2))
    return scale * half, scale / half


def random_angle(largest: float, rng: np.random.Generator) -> float:
    """Degrees of a turn, up to `largest` either way; small ones are likelier."""
    return float(rng.triangular(-largest, 0.0, largest)) if largest else 0.0


def placement(scales: tuple[float, float], start: tuple[float, float], width: int, *, is_flipped: bool) -> np.ndarray:
    """(2, 3) affine map from a picture's pixels to those of a crop of `width`, which begins at `start` (x, y)."""
    sign, shift = (-1.0, start[0] + width - 1) if is_flipped else (1.0, -start[0])
    # Half a pixel: centres of pixels, not their corners, are scaled.
    return np.array(
        [
            [sign * scales[0], 0, shift + sign * (scales[0] - 1) / 2],
            [0, scales[1], (scales[1] - 1) / 2 - start[1]],
        ]
    )


def turned(matrix: np.ndarray, about: tuple[float, float], degrees: float) -> np.ndarray:
    """The affine map `matrix`, followed by a turn about a pixel (x, y) of its result."""
    turn = cv2.getRotationMatrix2D(about, degrees, 1.0)
    return np.asarray(turn @ np.vstack([matrix, [0.0, 0.0, 1.0]]))


def _warped(image: np.ndarray, labels: np.ndarray, matrix: np.ndarray, size: tuple[int, int], ignore: int) -> Labelled:
    height, width = size
    mean_colour = tuple(float(v) for v in image.reshape(-1, 3)[::97].mean(0))
    cropped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=mean_colour)
    marked = cv2.warpAffine(labels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=float(ignore))
    return cropped, marked
