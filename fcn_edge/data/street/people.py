"""Sprites of pedestrians and of cyclists seen along the street."""

from functools import lru_cache

import cv2
import numpy as np

from .canvas import Texture

PEOPLE = 12
PHASES = 8
_ZOOM = 96  # pixels a metre
_SKIN = (96, 118, 150)
_CLOTHES = ((30, 28, 28), (60, 45, 35), (40, 40, 90), (90, 90, 92), (70, 45, 30), (35, 55, 45), (120, 120, 125))


def _stroke(picture: np.ndarray, points: list[tuple[float, float]], colour: tuple[float, ...], thick: float) -> None:
    """A thick line through points in metres (right of the middle, up from the ground)."""
    rows, columns = picture.shape[:2]
    pixels = [(int((columns / 2 + x * _ZOOM) * 16), int((rows - y * _ZOOM) * 16)) for x, y in points]
    width = max(int(thick * _ZOOM), 1)
    cv2.polylines(picture, [np.array(pixels, np.int32)], False, (*colour, 255), width, cv2.LINE_AA, 4)


def _head(picture: np.ndarray, y: float, rng: np.random.Generator, helmet: bool) -> None:
    hair = (30, 34, 40) if not helmet else tuple(float(v) for v in rng.uniform(40, 220, 3))
    _stroke(picture, [(0, y), (0, y + 0.05)], hair, 0.24)
    _stroke(picture, [(0, y - 0.05), (0, y - 0.03)], _SKIN, 0.18)


def _clothes(rng: np.random.Generator) -> tuple[float, ...]:
    tone = np.array(_CLOTHES[rng.integers(len(_CLOTHES))], float) * rng.uniform(0.6, 1.2)
    return tuple(float(v) for v in tone)


@lru_cache(maxsize=PEOPLE * PHASES)
def walker(variant: int, phase: int) -> Texture:
    """A pedestrian, 0.9 m by 1.85 m, legs and arms at one of `PHASES` of a step."""
    rng = np.random.default_rng([variant, 31])
    picture = np.zeros((int(1.85 * _ZOOM), int(0.9 * _ZOOM), 4), np.uint8)
    coat, trousers, build = _clothes(rng), _clothes(rng), float(rng.uniform(0.85, 1.15))
    swing = np.sin(2 * np.pi * phase / PHASES)
    for leg in (-1, 1):
        knee, foot = 0.1 + 0.03 * leg * swing, max(0.06, 0.06 + 0.12 * leg * swing)
        _stroke(picture, [(leg * 0.09, 0.85), (leg * knee, 0.47), (leg * 0.11, foot)], trousers, 0.15 * build)
        _stroke(picture, [(leg * 0.12, foot - 0.02), (leg * 0.14, foot - 0.02)], (25, 25, 28), 0.1)
    for arm in (-1, 1):
        hand = (arm * 0.3, 0.85 - 0.08 * arm * swing)
        _stroke(picture, [(arm * 0.2, 1.38), (arm * 0.28, 1.1), hand], tuple(c * 0.85 for c in coat), 0.11)
        _stroke(picture, [hand, hand], _SKIN, 0.09)
    _stroke(picture, [(0, 1.32), (0, 0.95 if rng.random() < 0.7 else 0.7)], coat, 0.4 * build)
    _head(picture, 1.65, rng, False)
    if rng.random() < 0.4:
        _stroke(picture, [(0.3, 0.75), (0.3, 0.55)], _clothes(rng), 0.2)
    return Texture.of(picture)


@lru_cache(maxsize=PEOPLE * PHASES)
def cyclist(variant: int, phase: int) -> Texture:
    """A cyclist with the bicycle seen from behind or ahead, 0.9 m by 1.8 m."""
    rng = np.random.default_rng([variant, 32])
    picture = np.zeros((int(1.8 * _ZOOM), int(0.9 * _ZOOM), 4), np.uint8)
    coat, trousers, swing = _clothes(rng), _clothes(rng), np.sin(2 * np.pi * phase / PHASES)
    if rng.random() < 0.3:
        coat = (60.0, 200.0, 190.0)  # high-visibility yellow
    _stroke(picture, [(-0.28, 1.0), (0.28, 1.0)], (40, 40, 42), 0.05)
    _stroke(picture, [(0, 0.04), (0, 0.62)], (28, 28, 30), 0.09)
    _stroke(picture, [(0, 0.6), (0, 0.95)], (60, 60, 90), 0.07)
    for leg in (-1, 1):
        foot = 0.24 + 0.14 * leg * swing
        _stroke(picture, [(leg * 0.1, 0.95), (leg * 0.17, foot + 0.38), (leg * 0.13, foot)], trousers, 0.13)
        _stroke(picture, [(leg * 0.2, 1.38), (leg * 0.3, 1.18), (leg * 0.26, 1.0)], coat, 0.11)
    _stroke(picture, [(0, 1.34), (0, 1.02)], coat, 0.38)
    _head(picture, 1.62, rng, rng.random() < 0.6)
    if rng.random() < 0.4:
        _stroke(picture, [(0, 0.8), (0, 0.82)], (40, 40, 190), 0.08)
    return Texture.of(picture)
