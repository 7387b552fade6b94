"""What a camera does to a picture: light, colour, blur, noise, compression; numpy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST_SHAKE = 7  # pixels of motion blur
JPEG_QUALITIES = 25, 90


def photometric(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, gamma, saturation and colour cast, each by up to `strength`."""
    if strength == 0:
        return image
    gain, contrast, gamma, saturation = np.exp(rng.uniform(-strength, strength, 4) * (1, 1, 1, 1.5))
    table = (np.arange(256) / 255.0) ** gamma * 255.0 * gain
    table = (table - 110.0) * contrast + 110.0
    cast = np.exp(rng.uniform(-strength, strength, 3) * 0.3)
    tables = np.clip(table[:, None] * cast, 0, 255).astype(np.uint8)
    toned = cv2.LUT(image, tables[None])
    grey = cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY)
    return cv2.addWeighted(toned, saturation, cv2.merge([grey] * 3), 1 - saturation, 0)


def with_sensor(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A `share` of pictures out of focus (sigma up to 1.2 pixels), and a share with noise (up to 10 levels)."""
    if rng.random() < share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < share:
        noise = rng.normal(0.0, rng.uniform(2.0, 10.0), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def with_camera(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A `share` of pictures each in warmer or colder light, with motion blur, and with JPEG artefacts."""
    if share == 0:
        return image
    if rng.random() < share:
        image = in_other_light(image, rng.uniform(-0.35, 0.35))
    if rng.random() < share:
        image = cv2.filter2D(image, -1, motion_kernel(int(rng.integers(3, LONGEST_SHAKE + 1)), rng.uniform(0, np.pi)))
    if rng.random() < share:
        image = recompressed(image, int(rng.integers(*JPEG_QUALITIES)))
    return image


def in_other_light(image: np.ndarray, warmth: float) -> np.ndarray:
    """Red times exp(warmth / 2) and blue divided by it, as under a lamp (above 0) or a clouded sky (below 0)."""
    gains = np.exp(np.array([-0.5, 0.0, 0.5]) * warmth)
    tables = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return cv2.LUT(image, tables[None])


def motion_kernel(length: int, angle: float) -> np.ndarray:
    """(length, length) float32 that adds up to 1: a line through the middle."""
    kernel = np.zeros((length, length), np.float32)
    middle, reach = (length - 1) / 2, (length - 1) / 2
    for step in np.linspace(-reach, reach, 2 * length):
        kernel[round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))] = 1.0
    return kernel / kernel.sum()


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a JPEG of `quality`, 1 to 100."""
    _, packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
