"""Pinhole camera in a street that bends.

Street coordinates are metres: x to the right of the centre line, y up from the road, s along
the street. The camera looks along the tangent of the centre line at its own s.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.6  # metres in front of the lens where polygons are cut
_LIMIT = 16000.0  # pixels; keeps cv2's fixed-point coordinates far from overflow


@dataclass(frozen=True)
class Bend:
    """Centre line of the street: a sum of two sines of s, in metres."""

    amplitude: tuple[float, float]
    length: tuple[float, float]
    phase: tuple[float, float]

    def lateral(self, s: np.ndarray) -> np.ndarray:
        """Sideways position of the centre line at each s."""
        (a, b), (long, short), (p, q) = self.amplitude, self.length, self.phase
        return a * np.sin(s / long + p) + b * np.sin(s / short + q)

    def at(self, s: float) -> float:
        """`lateral` for one s, many times faster."""
        (a, b), (long, short), (p, q) = self.amplitude, self.length, self.phase
        return a * math.sin(s / long + p) + b * math.sin(s / short + q)

    def slope(self, s: float) -> float:
        """Derivative of `lateral` at s."""
        (a, b), (long, short), (p, q) = self.amplitude, self.length, self.phase
        return a / long * math.cos(s / long + p) + b / short * math.cos(s / short + q)


@dataclass(frozen=True)
class Camera:
    """Where the lens is (x, y, s) and how it maps metres to pixels."""

    width: int
    height: int
    focal: float
    horizon: float
    x: float
    y: float
    s: float
    bend: Bend

    @cached_property
    def _tangent(self) -> tuple[float, float]:
        return self.bend.at(self.s), self.bend.slope(self.s)

    def shift(self, s: np.ndarray) -> np.ndarray:
        """How far the centre line at s lies right of the camera's straight ahead, metres."""
        base, slope = self._tangent
        return self.bend.lateral(s) - base - slope * (s - self.s) - self.x

    def view(self, points: np.ndarray) -> np.ndarray:
        """Street points (N, 3) to camera coordinates (N, 3): right, up, ahead; float64."""
        out = np.empty((len(points), 3))
        out[:, 0] = points[:, 0] + self.shift(points[:, 2])
        out[:, 1] = points[:, 1] - self.y
        out[:, 2] = points[:, 2] - self.s
        return out

    def pixels(self, view: np.ndarray) -> np.ndarray:
        """Camera coordinates (N, 3), all ahead of `NEAR`, to pixel positions (N, 2) float64."""
        scale = self.focal / view[:, 2]
        out = np.empty((len(view), 2))
        out[:, 0] = self.width / 2 - 0.5 + view[:, 0] * scale
        out[:, 1] = self.horizon - view[:, 1] * scale
        return np.minimum(np.maximum(out, -_LIMIT), _LIMIT)

    def point(self, x: float, y: float, s: float) -> tuple[float, float, float]:
        """One street point ahead of us: column, row and pixels a metre there."""
        scale = self.focal / (s - self.s)
        base, slope = self._tangent
        across = (x + self.bend.at(s) - base - slope * (s - self.s) - self.x) * scale
        return self.width / 2 - 0.5 + across, self.horizon + (self.y - y) * scale, scale

    def polygon(self, points: np.ndarray) -> np.ndarray | None:
        """Outline (N, 3) in the street to pixels (M, 2), cut at the near plane; None if behind."""
        view = self.view(points)
        if view[:, 2].min() < NEAR:
            view = cut_near(view)
        return self.pixels(view) if len(view) > 2 else None


def cut_near(view: np.ndarray) -> np.ndarray:
    """The part of a polygon (N, 3) that lies ahead of the near plane, (M, 3), M may be 0."""
    kept = []
    for here, there in zip(view, np.concatenate([view[1:], view[:1]]), strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            part = (NEAR - here[2]) / (there[2] - here[2])
            kept.append(here + part * (there - here))
    return np.array(kept).reshape(-1, 3)
