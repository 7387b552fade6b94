"""What a seed decides once for its whole street: light, camera, cross-section, habits."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .camera import Bend

LEFT, RIGHT = -1, 1
CELL = 10.0  # metres of street that are decided together


@dataclass(frozen=True)
class Look:
    """Constants of one street; lengths in metres."""

    bend: Bend
    road: float  # half the width between the kerbs
    pavement: tuple[float, float]  # width left, right
    lens: tuple[float, float, float, float]  # x, height, focal and horizon as shares of the frame
    sunny: bool
    sun: tuple[float, float]  # where the shadow of a 1 m pole ends: x, s
    haze: float
    haze_per_metre: float
    blue: float  # how blue the sky is, 0..1
    clouds: float
    gain: float
    gamma: float
    balance: tuple[float, float, float]
    noise: float
    greenery: float
    parking: tuple[float, float]
    block_odds: tuple[float, ...]
    crowd: float
    traffic: float
    double_yellow: bool
    start: float

    def kerb(self, side: int) -> float:
        """x of the kerb on a side."""
        return side * self.road

    def clear(self, side: int) -> float:
        """Width from the centre line to the kerb or to the parked cars."""
        return self.road - 2.1 * (self.parking[(side + 1) // 2] > 0)

    def front(self, side: int) -> float:
        """x where the pavement ends and plots begin."""
        return side * (self.road + self.pavement[(side + 1) // 2])

    def light(self, side: int) -> float:
        """Brightness of fronts on a side: the sunlit side stands out."""
        return 0.95 if not self.sunny else 1.3 if self.sun[0] * side > 0 else 0.72


def _bend(rng: np.random.Generator) -> Bend:
    """Two gentle waves; their curvature radius stays above about 150 m."""
    length = rng.uniform((60, 25), (140, 50))
    radius = rng.uniform((160, 600), (1500, 4000))
    amplitude = length**2 / radius
    return Bend(tuple(amplitude.tolist()), tuple(length.tolist()), tuple(rng.uniform(0, 6.28, 2).tolist()))


@lru_cache(maxsize=256)
def look(seed: int) -> Look:
    """The look of the street with this seed."""
    rng = np.random.default_rng([seed, 1])
    parking = np.where(rng.random(2) < 0.45, rng.uniform(0.1, 0.8, 2), 0.0)
    road = float(rng.uniform(3.1, 4.0) + 1.3 * (parking > 0).any() + 0.4 * (parking > 0).all())
    sunny = bool(rng.random() < 0.45)
    reach, angle = rng.uniform(0.4, 1.6), rng.uniform(0, 2 * np.pi)
    lane = -(road - 2.1 * float(parking[0] > 0)) / 2
    odds = rng.gamma((1.2, 1.3, 0.8, 0.7, 0.6))
    return Look(
        bend=_bend(rng),
        road=road,
        pavement=(float(rng.uniform(2.2, 5.5)), float(rng.uniform(2.2, 5.5))),
        lens=(lane, rng.uniform(1.15, 1.45), rng.uniform(1.2, 1.55), rng.uniform(0.44, 0.62)),
        sunny=sunny,
        sun=(float(reach * np.cos(angle)), float(reach * np.sin(angle))),
        haze=float(rng.uniform(120, 215)),
        haze_per_metre=float(rng.uniform(0.0006, 0.0035)),
        blue=float(rng.uniform(0.3, 1.0) if sunny else rng.uniform(0, 0.25)),
        clouds=float(rng.uniform(0.2, 1.0)),
        gain=float(np.exp(np.clip(rng.normal(0.08, 0.25), -0.55, 0.35))),
        gamma=float(rng.uniform(0.92, 1.3)),
        balance=tuple(np.exp(rng.normal(0, 0.05, 3)).tolist()),
        noise=float(rng.uniform(1.0, 5.0)),
        greenery=float(rng.beta(1.5, 1.2)),
        parking=(float(parking[0]), float(parking[1])),
        block_odds=tuple((odds / odds.sum()).tolist()),
        crowd=float(rng.uniform(0.25, 1.0)),
        traffic=float(rng.uniform(0.2, 1.0)),
        double_yellow=bool(rng.random() < 0.5),
        start=float(rng.uniform(0, 2000)),
    )
