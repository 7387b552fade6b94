"""Image and labels under the brush: every shape is drawn into both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .camera import NEAR, Camera

Colour = Sequence[float]  # BGR, 0..255
_SHIFT = 4  # fractional bits of cv2's drawing coordinates
_SOLID = 70  # alpha from which a texture's pixel counts as its class


@dataclass(frozen=True)
class Texture:
    """One picture at falling sizes: (h, w, 3 or 4) uint8 each, BGR or BGRA."""

    levels: tuple[np.ndarray, ...]

    @staticmethod
    def of(picture: np.ndarray) -> "Texture":
        """Halve a picture until it is tiny."""
        levels = [np.ascontiguousarray(picture)]
        while min(levels[-1].shape[:2]) > 8:
            height, width = levels[-1].shape[:2]
            small = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            levels.append(small)
        return Texture(tuple(levels))

    def fitting(self, pixels_high: float) -> np.ndarray:
        """The smallest level that is at least about `pixels_high` tall."""
        ratio = self.levels[0].shape[0] / max(pixels_high, 1.0)
        return self.levels[min(max(int(np.log2(max(ratio, 1.0))), 0), len(self.levels) - 1)]


@dataclass
class Canvas:
    """`image` (H, W, 3) uint8 BGR and `labels` (H, W) uint8, seen by `camera` through haze."""

    camera: Camera
    image: np.ndarray
    labels: np.ndarray
    haze: float
    haze_per_metre: float

    def veil(self, ahead: float) -> float:
        """Share of haze, 0..1, in front of something `ahead` metres away."""
        return 1.0 - math.exp(-max(ahead, 0.0) * self.haze_per_metre)

    def hazed(self, colour: Colour, ahead: float) -> list[float]:
        """A colour as it looks from `ahead` metres."""
        veil = self.veil(ahead)
        return [c + (self.haze - c) * veil for c in colour]

    def fill(self, pixels: np.ndarray, colour: Colour, label: int) -> None:
        """Fill an outline given in pixels (N, 2)."""
        fixed = np.rint(pixels * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.labels, [fixed], label, cv2.LINE_8, _SHIFT)

    def polygon(self, points: np.ndarray, colour: Colour, label: int) -> None:
        """Fill an outline given in street metres (N, 3)."""
        outline = self.camera.polygon(points)
        if outline is not None:
            ahead = float(points[0, 2] + points[-1, 2]) / 2 - self.camera.s
            self.fill(outline, self.hazed(colour, ahead), label)

    def facing(self, shape: np.ndarray, place: tuple[float, float, float], colour: Colour, label: int) -> None:
        """Fill a flat shape (N, 2) of metres right and up from a place (x, y, s), facing us."""
        ahead = place[2] - self.camera.s
        if ahead < NEAR:
            return
        column, row, scale = self.camera.point(*place)
        if -3 * scale < column < self.camera.width + 3 * scale:
            self.fill(shape * (scale, -scale) + (column, row), self.hazed(colour, ahead), label)

    def wall(
        self, texture: Texture, x: float, s: tuple[float, float], y: tuple[float, float], label: int, light: float
    ) -> None:
        """Hang a texture on the upright plane at x from s[0] (near) to s[1], y[0] to y[1]."""
        start = max(s[0], self.camera.s + NEAR)
        if start >= s[1]:
            return
        corners = np.array([[x, y[1], start], [x, y[1], s[1]], [x, y[0], s[1]], [x, y[0], start]])
        target = self.camera.pixels(self.camera.view(corners)).astype(np.float32)
        left, top, right, bottom = self._box(target)
        if left >= right or top >= bottom:
            return
        picture = _for_wall(texture, target)
        rows, columns = picture.shape[:2]
        first = columns * (start - s[0]) / (s[1] - s[0]) - 0.5
        source = np.array(
            [[first, -0.5], [columns - 0.5, -0.5], [columns - 0.5, rows - 0.5], [first, rows - 0.5]], np.float32
        )
        inside = target - np.array([left, top], np.float32)
        matrix = cv2.getPerspectiveTransform(inside, source)
        shape = (right - left, bottom - top)
        mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        patch = cv2.warpPerspective(picture, matrix, shape, flags=mode, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros(shape[::-1], np.uint8)
        fixed = np.rint(inside * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 255, cv2.LINE_8, _SHIFT)
        ahead = max((start + s[1]) / 2 - self.camera.s, 0.0)
        self._paste(patch, mask, (left, top), label, light, ahead)

    def sprite(
        self,
        texture: Texture,
        place: tuple[float, float, float],
        size: tuple[float, float],
        label: int,
        light: float = 1.0,
        mirror: bool = False,
    ) -> None:
        """Stand a BGRA texture of `size` metres (wide, high) at place (x, y, s), facing us."""
        ahead = place[2] - self.camera.s
        if ahead < NEAR:
            return
        column, row, scale = self.camera.point(*place)
        wide, high = size[0] * scale, size[1] * scale
        corner = np.array([column - wide / 2, row - high])
        left, top, right, bottom = self._box(np.array([corner, corner + (wide, high)]))
        if left >= right or top >= bottom:
            return
        picture = texture.fitting(high)
        across, down = picture.shape[1] / wide, picture.shape[0] / high
        begin = (left + 0.5 - corner[0]) * across - 0.5
        if mirror:
            across, begin = -across, picture.shape[1] - 1 - begin
        matrix = np.array([[across, 0, begin], [0, down, (top + 0.5 - corner[1]) * down - 0.5]])
        shape = (right - left, bottom - top)
        mode, opaque = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, picture.shape[2] == 3
        border = cv2.BORDER_REPLICATE if opaque else cv2.BORDER_CONSTANT
        patch = cv2.warpAffine(picture, matrix, shape, flags=mode, borderMode=border)
        self._paste(patch, None, (left, top), label, light, ahead)

    def _box(self, pixels: np.ndarray) -> tuple[int, int, int, int]:
        """Bounds left, top, right, bottom (exclusive) of an outline inside the frame."""
        low, high = np.floor(pixels.min(axis=0)), np.ceil(pixels.max(axis=0)) + 1
        height, width = self.labels.shape
        return max(int(low[0]), 0), max(int(low[1]), 0), min(int(high[0]), width), min(int(high[1]), height)

    def _paste(
        self,
        patch: np.ndarray,
        mask: np.ndarray | None,
        corner: tuple[int, int],
        label: int,
        light: float,
        ahead: float,
    ) -> None:
        """Lay a BGR(A) patch over the frame at `corner`, where `mask`, if any, and its alpha allow."""
        rows, columns = patch.shape[:2]
        left, top = corner
        veil = self.veil(ahead)
        area = (slice(top, top + rows), slice(left, left + columns))
        colour = cv2.convertScaleAbs(patch[:, :, :3], alpha=light * (1 - veil), beta=self.haze * veil)
        if patch.shape[2] == 4:
            alpha = patch[:, :, 3] if mask is None else cv2.bitwise_and(patch[:, :, 3].copy(), mask)
            weight = alpha * np.float32(1 / 255)
            self.image[area] = cv2.blendLinear(colour, self.image[area], weight, 1 - weight)
            self.labels[area][alpha > _SOLID] = label
        elif mask is None:
            self.image[area] = colour
            self.labels[area] = label
        else:
            cv2.copyTo(colour, mask, self.image[area])
            self.labels[area][mask > 0] = label


def _for_wall(texture: Texture, target: np.ndarray) -> np.ndarray:
    """A level of the texture that fits a foreshortened wall, squeezed sideways if need be."""
    tall = max(abs(float(target[3, 1] - target[0, 1])), abs(float(target[2, 1] - target[1, 1])))
    picture = texture.fitting(tall)
    wide = int(abs(float(target[1, 0] - target[0, 0])) * 1.5) + 2
    if picture.shape[1] > 2 * wide:
        picture = cv2.resize(picture, (wide, picture.shape[0]), interpolation=cv2.INTER_AREA)
    return picture


@lru_cache(maxsize=8)
def cloud_noise(size: int, octaves: int, seed: int) -> np.ndarray:
    """Smooth noise that tiles: (size, size) float32, mean 0, standard deviation 1."""
    rng = np.random.default_rng([seed, size, octaves])
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = size >> octave
        grid = rng.standard_normal((max(size // cells, 1) * 4,) * 2, dtype=np.float32)
        grid = np.pad(grid, 2, mode="wrap")
        scale = size // (len(grid) - 4)
        big = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        total += big[2 * scale : 2 * scale + size, 2 * scale : 2 * scale + size] * 0.6**octave
    return (total - total.mean()) / total.std()
