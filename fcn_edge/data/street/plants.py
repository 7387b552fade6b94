"""Tree sprites: trunk, branches and foliage as BGRA pictures."""

from functools import lru_cache

import cv2
import numpy as np

from .canvas import Texture, cloud_noise

TREE_VARIANTS = 24
_SIZE = (320, 256)  # rows, columns


@lru_cache(maxsize=TREE_VARIANTS)
def tree(variant: int) -> Texture:
    """A tree that fills its picture; every third has lost its leaves."""
    rng = np.random.default_rng([variant, 21])
    picture = np.zeros((*_SIZE, 4), np.uint8)
    picture[..., :3] = (44, 52, 58)
    bare = variant % 3 == 0
    _branches(picture, rng, 9 if bare else 5)
    if bare:
        _twigs(picture, rng)
    else:
        _foliage(picture, rng)
    return Texture.of(picture)


def _branches(picture: np.ndarray, rng: np.random.Generator, depth: int) -> None:
    """Grow a trunk that forks `depth` times."""
    rows, columns = picture.shape[:2]
    shoots = [(np.array([columns / 2, rows]), -np.pi / 2, rows * 0.26, columns * 0.06)]
    for _ in range(depth):
        grown = []
        for foot, angle, length, thick in shoots:
            tip = foot + length * np.array([np.cos(angle), np.sin(angle)])
            tone = tuple(float(c) for c in np.array((44, 50, 56)) * rng.uniform(0.6, 1.2))
            ends = np.rint(np.stack([foot, tip]) * 16).astype(np.int32)
            cv2.polylines(picture, [ends], False, (*tone, 255), max(round(thick), 1), cv2.LINE_AA, 4)
            for turn in rng.uniform(0.15, 0.75, 2) * (-1, 1):
                if not (14 < tip[0] < columns - 14 and tip[1] > 14):
                    continue  # the picture must not cut the crown off straight
                grown.append((tip, angle + turn, length * rng.uniform(0.62, 0.86), thick * 0.62))
        shoots = grown


def _crown(rng: np.random.Generator, blobs: int) -> np.ndarray:
    """Soft outline of a crown: (rows, columns) float32, about 1 inside and below 0 outside."""
    rows, columns = _SIZE
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    field = np.full(_SIZE, -2, np.float32)
    for _ in range(blobs):
        radius = rng.uniform(0.16, 0.3) * columns
        cx = np.clip(rng.normal(0.5, 0.2) * columns, radius, columns - radius)
        cy = np.clip(rng.normal(0.36, 0.15) * rows, radius, 0.75 * rows)
        field = np.maximum(field, 1 - np.hypot(x - cx, (y - cy) * 1.1) / radius)
    return field - 0.08


def _foliage(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Cover the branches with clumps of leaves, lit from above."""
    rows, columns = _SIZE
    noise = cv2.resize(cloud_noise(256, 7, int(rng.integers(4))), (columns, rows))
    fine = cv2.GaussianBlur(rng.standard_normal(_SIZE, dtype=np.float32), (3, 3), 0) * 2
    crown = _crown(rng, 14) + 0.18 * noise + 0.16 * fine
    gaps = noise + 0.8 * fine > rng.uniform(1.3, 2.6)
    leaves = (crown > 0.05) & ~gaps
    tone = np.array((38, 70, 62)) * rng.uniform(0.8, 1.5) * rng.uniform(0.88, 1.12, 3)
    light = 1 + 0.22 * noise + 0.22 * fine + np.linspace(0.3, -0.35, rows)[:, None]
    colour = np.clip(tone * light[..., None], 0, 255).astype(np.uint8)
    picture[leaves, :3] = colour[leaves]
    picture[leaves, 3] = 255


def _twigs(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Surround the branches of a bare tree with half transparent twigs."""
    wood = picture[..., 3].astype(np.float32)
    wood[int(_SIZE[0] * 0.68) :] = 0  # the trunk has none
    near = cv2.GaussianBlur(wood, (0, 0), 7) + 0.5 * cv2.GaussianBlur(wood, (0, 0), 16)
    fine = cv2.GaussianBlur(rng.standard_normal(_SIZE, dtype=np.float32), (3, 3), 0) * 2
    y, x = np.mgrid[: _SIZE[0], : _SIZE[1]]
    inside = np.clip(np.minimum(np.minimum(x, _SIZE[1] - 1 - x), y) / 16 + 0.4 * fine, 0, 1)
    haze = (np.clip((near - 22) * 8, 0, 125) + 35 * fine * (near > 22)) * inside
    picture[..., 3] = np.maximum(picture[..., 3], np.clip(haze, 0, 190).astype(np.uint8))
