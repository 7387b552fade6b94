"""Sky with clouds, and the skyline behind the last houses."""

import cv2
import numpy as np

from .appearance import Look
from .canvas import Canvas, cloud_noise
from .classes import BUILDING, SKY, TREE


def draw_sky(canvas: Canvas, street: Look) -> None:
    """Fill the frame above the horizon with a gradient and drifting clouds."""
    canvas.labels[:] = SKY
    bottom = int(np.clip(canvas.camera.horizon + 2, 1, canvas.labels.shape[0]))
    half = (bottom + 1) // 2  # clouds are soft enough for half the resolution
    rise = np.linspace(1, 0, half, dtype=np.float32)[:, None]
    clouds = _clouds(canvas, half) * street.clouds
    fall = rise[..., None] * np.array([8, 22, 45], np.float32) * (0.3 + 1.4 * street.blue)
    base = np.array([252, 250, 248], np.float32) - fall
    if street.sunny:
        cover = np.clip(0.5 + 0.5 * clouds, 0, 1)[..., None]
        sky = base * (1 - cover) + np.array([250, 250, 250], np.float32) * cover
    else:
        sky = base * (1 + 0.07 * np.minimum(clouds, 0.8) * rise)[..., None]
    sky = np.clip(sky, 0, 255).astype(np.uint8)
    canvas.image[:bottom] = cv2.resize(sky, (canvas.camera.width, bottom))


def _clouds(canvas: Canvas, half: int) -> np.ndarray:
    """Cloud noise on a flat ceiling for every other pixel, (half, (W + 1) / 2) float32."""
    camera = canvas.camera
    rows, columns = 2 * np.mgrid[:half, : (camera.width + 1) // 2].astype(np.float32)
    height = np.maximum(camera.horizon - rows, 0) / camera.focal + 0.12
    turn = camera.bend.slope(camera.s)
    x = ((columns - camera.width / 2) / camera.focal + turn) / height * 40 + 512
    away = 40 / height + camera.s * 0.05 % 256
    return cv2.remap(
        cloud_noise(256, 6, 1),
        np.mod(x, 256).astype(np.float32),
        np.mod(away, 256).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def draw_skyline(canvas: Canvas, seed: int, distance: float) -> None:
    """Distant trees and roofs close the view where the last cell ends."""
    camera = canvas.camera
    columns = np.linspace(-4, camera.width + 3, 160)
    bearing = (columns - camera.width / 2) / camera.focal + camera.bend.slope(camera.s)
    rng = np.random.default_rng([seed, 51])
    foot = camera.horizon + camera.focal * camera.y / distance
    for label, colour, scale in ((BUILDING, (84, 84, 86), 11.0), (TREE, (58, 68, 66), 7.0)):
        wave, phase = rng.uniform(4, 60, 5), rng.uniform(0, 6.28, 5)
        field = np.sin(bearing[:, None] * wave + phase).sum(axis=1)
        if label == BUILDING:
            field = np.round(field * 1.5) / 1.5
        top = foot - camera.focal / distance * np.maximum(scale + 0.3 * scale * field, 1.0)
        edge = np.stack([columns, top], axis=1)
        outline = np.concatenate([edge, [[camera.width + 3, foot + 1], [-4, foot + 1]]])
        canvas.fill(outline, canvas.hazed(colour, distance), label)
