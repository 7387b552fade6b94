"""What lens and sensor do to the picture: blur, vignette, exposure, noise."""

from functools import lru_cache

import cv2
import numpy as np

from .appearance import Look


def expose(image: np.ndarray, street: Look, seed: int, index: int) -> np.ndarray:
    """The finished frame from the clean one, both (H, W, 3) uint8."""
    height, width = image.shape[:2]
    image = cv2.GaussianBlur(image, (0, 0), max(0.55 * height / 360, 0.3))
    image = cv2.multiply(image, _vignette(height, width), scale=1 / 255)
    image = cv2.LUT(image, _response(street))
    rng = np.random.default_rng([seed, 61, index])
    grain = _grain(height, width, round(street.noise, 1))
    top, left = rng.integers(0, 64, 2)
    return cv2.add(image, grain[top : top + height, left : left + width], dtype=cv2.CV_8U)


@lru_cache(maxsize=4)
def _vignette(height: int, width: int) -> np.ndarray:
    """Falloff to the corners, (H, W, 3) uint8, 255 is none."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fall = 255 * (1 - 0.1 * (x**2 + y**2))
    return cv2.merge([np.rint(fall).astype(np.uint8)] * 3)


@lru_cache(maxsize=64)
def _response(street: Look) -> np.ndarray:
    """Gain, tone curve and white balance as a table (1, 256, 3) uint8; bright skies stay bright."""
    level = np.arange(256)[:, None] / 255
    curve = level**street.gamma * street.gain * np.array(street.balance)
    high = np.clip((level - 0.6) / 0.3, 0, 1)
    curve = curve * (1 - high) + np.maximum(curve, level * 0.97) * high
    return np.clip(np.rint(curve * 255), 0, 255).astype(np.uint8)[None]


@lru_cache(maxsize=4)
def _grain(height: int, width: int, strength: float) -> np.ndarray:
    """Noise of the sensor, 64 pixels larger than the frame, int8."""
    rng = np.random.default_rng([height, width, 62])
    shape = (height + 64, width + 64)
    grey = rng.standard_normal((*shape, 1), dtype=np.float32)
    colour = rng.standard_normal((*shape, 3), dtype=np.float32)
    return np.clip(np.rint(strength * (0.8 * grey + 0.5 * colour)), -127, 127).astype(np.int8)
