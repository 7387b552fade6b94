"""What stands in each 10 m cell of a street, and what moves through it."""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from .appearance import CELL, LEFT, RIGHT, Look, look
from .facades import HOUSE, OFFICE, SHOP, VARIANTS, WALL_COLOURS, facade
from .people import PEOPLE
from .plants import TREE_VARIANTS
from .vehicles import BUS, ESTATE, HATCH, PAINTS, SALOON, VAN, length_width

TERRACE, SHOPS, OFFICES, DETACHED, PARK = range(5)
_SMALL = 110.0  # metres beyond which people are left out
_BLOCK = 5  # cells that share a kind of building


@dataclass(frozen=True)
class Building:
    side: int
    x: float
    s: tuple[float, float]
    style: int
    variant: int
    colour: int
    roof: float  # metres above the eaves, 0 is flat
    light: float
    end: bool = False  # whether the wall towards us stands free

    @property
    def height(self) -> float:
        """Height of the eaves, metres."""
        return facade(self.style, self.variant, self.colour).height


@dataclass(frozen=True)
class Strip:
    """A fence, garden wall or hedge along the street."""

    kind: str
    x: float
    s: tuple[float, float]
    height: float
    variant: int


@dataclass(frozen=True)
class Tree:
    x: float
    s: float
    height: float
    spread: float
    variant: int
    mirror: bool


@dataclass(frozen=True)
class Post:
    """Something thin on the pavement: lamp, sign, traffic light, bollard, hanging shop sign."""

    kind: str
    side: int
    x: float
    s: float
    height: float
    variant: int


@dataclass(frozen=True)
class Vehicle:
    x: float
    s: float
    model: int
    paint: int
    onward: bool


@dataclass(frozen=True)
class Person:
    x: float
    s: float
    height: float
    variant: int
    cycling: bool


Still: TypeAlias = Building | Strip | Tree | Post | Vehicle
Mover: TypeAlias = Vehicle | Person
Thing: TypeAlias = Still | Mover


@dataclass(frozen=True)
class Plot:
    """One side of one cell; `gap` says that a side street opens here."""

    gap: bool
    lawn: bool
    things: tuple[Still, ...]


@lru_cache(maxsize=4096)
def plot(seed: int, cell: int, side: int) -> Plot:
    """Everything that stands still on one side of a cell."""
    street = look(seed)
    block, place = divmod(cell, _BLOCK)
    shared = _rng(seed, 2, block, side)
    kind = int(shared.choice(5, p=street.block_odds))
    gap = place == _BLOCK - 1 and shared.random() < 0.4
    style = (int(shared.integers(VARIANTS)), int(shared.integers(WALL_COLOURS)), float(shared.uniform(0, 2.5)))
    border = str(shared.choice(["bricks", "hedge", "fence"]))
    rng = _rng(seed, 3, cell, side)
    things: list[Still] = []
    if not gap:
        things += _front(street, rng, kind, cell, side, style, border)
        things += _parked(street, rng, cell, side)
    things += _furniture(street, rng, kind, cell, side, gap)
    return Plot(gap, kind in (DETACHED, PARK), tuple(things))


def _rng(seed: int, topic: int, place: int, side: int = 0) -> np.random.Generator:
    """An independent stream for one decision; `place` may be negative."""
    return np.random.Generator(np.random.PCG64([seed, topic, place + (1 << 30), side + 1]))


def _front(
    street: Look, rng: np.random.Generator, kind: int, cell: int, side: int, style: tuple[int, int, float], border: str
) -> list[Still]:
    """Buildings and gardens of one cell."""
    variant, colour, setback = style
    start, edge, light = cell * CELL, street.front(side), street.light(side)
    span = (start, start + CELL)
    if kind == PARK:
        return _park(street, rng, span, side, border)
    if kind == TERRACE:
        x = edge + side * setback
        paints = [colour if rng.random() < 0.6 else int(rng.integers(WALL_COLOURS)) for _ in range(2)]
        halves = ((start, start + 5), (start + 5, start + 10))
        free = cell % _BLOCK == 0
        rows = [
            Building(side, x, half, HOUSE, variant, paint, 2.2, light, free and half[0] == start)
            for half, paint in zip(halves, paints, strict=True)
        ]
        return [*rows, *_border(border, edge, span, rng)] if setback > 1.5 else list(rows)
    if kind == DETACHED:
        house = (start + 1, start + 9)
        x = edge + side * (3 + setback)
        home = Building(side, x, house, HOUSE, int(rng.integers(VARIANTS)), colour, 2.8, light, True)
        return [home, *_garden(street, rng, span, side, x), *_border(border, edge, span, rng)]
    shape = SHOP if kind == SHOPS else OFFICE
    look_of = int(rng.integers(VARIANTS)) if kind == SHOPS else variant
    tint = int(rng.integers(WALL_COLOURS)) if kind == SHOPS else colour
    roof = 2.0 if kind == SHOPS and rng.random() < 0.7 else 0.0
    x = edge + side * float(rng.choice([0, 0, 0.4]))
    return [Building(side, x, span, shape, look_of, tint, roof, light, cell % _BLOCK == 0)]


def _border(kind: str, x: float, span: tuple[float, float], rng: np.random.Generator) -> list[Strip]:
    height = {"bricks": 1.1, "hedge": 1.5, "fence": 1.2}[kind] * float(rng.uniform(0.85, 1.15))
    return [Strip(kind, x, span, height, int(rng.integers(6)))]


def _garden(street: Look, rng: np.random.Generator, span: tuple[float, float], side: int, x: float) -> list[Tree]:
    count = rng.poisson(0.9 * street.greenery)
    return [_tree(rng, x - side * 1.5, rng.uniform(*span), rng.uniform(2.5, 7)) for _ in range(count)]


def _park(street: Look, rng: np.random.Generator, span: tuple[float, float], side: int, border: str) -> list[Still]:
    edge = street.front(side)
    trees = []
    for _ in range(1 + rng.poisson(0.6 + street.greenery)):
        trees.append(_tree(rng, edge + side * rng.uniform(2.5, 14), rng.uniform(*span), rng.uniform(5, 12)))
    far = Building(
        side,
        edge + side * 22,
        span,
        OFFICE,
        int(rng.integers(VARIANTS)),
        int(rng.integers(WALL_COLOURS)),
        0.0,
        street.light(side),
    )
    behind: list[Still] = [far] if rng.random() < 0.5 else [Strip("hedge", edge + side * 20, span, 4.5, 0)]
    return [*behind, *trees, *_border("fence" if border == "bricks" else border, edge, span, rng)]


def _tree(rng: np.random.Generator, x: float, s: float, height: float) -> Tree:
    spread = height * float(rng.uniform(0.65, 0.9))
    return Tree(float(x), float(s), float(height), spread, int(rng.integers(TREE_VARIANTS)), bool(rng.random() < 0.5))


def _parked(street: Look, rng: np.random.Generator, cell: int, side: int) -> list[Vehicle]:
    found, share = [], street.parking[(side + 1) // 2]
    for slot in (2.5, 7.5):
        model = int(rng.choice([HATCH, SALOON, ESTATE]))
        x = street.kerb(side) - side * (length_width(model)[1] / 2 + 0.2)
        onward = bool(rng.random() < (0.85 if side == LEFT else 0.3))
        car = Vehicle(x, cell * CELL + slot + float(rng.uniform(-0.2, 0.2)), model, int(rng.integers(PAINTS)), onward)
        if rng.random() < share:
            found.append(car)
    return found


def _furniture(street: Look, rng: np.random.Generator, kind: int, cell: int, side: int, gap: bool) -> list[Still]:
    """Street trees, lamps, signs, lights, bollards along the kerb and signs on the shops."""
    start, kerb = cell * CELL, street.kerb(side) + side * 0.45
    found: list[Still] = []
    if rng.random() < 0.45 * street.greenery and kind != PARK:
        found.append(_tree(rng, kerb + side * 0.3, start + 7, rng.uniform(4.5, 8.5)))
    if cell % 4 == (side + 1):
        found.append(Post("lamp", side, kerb, start + 5.0, float(rng.uniform(6, 8.5)), int(rng.integers(4))))
    for name, odds in (("sign", 0.34), ("lights", 0.07), ("bollard", 0.2), ("board", 0.08), ("pole", 0.06)):
        if rng.random() < odds:
            height = {"sign": 2.7, "lights": 3.2, "bollard": 1.05, "board": 3.0, "pole": 5.0}[name]
            height *= float(rng.uniform(0.85, 1.15))
            place = start + float(rng.uniform(0.5, 9.5))
            x = kerb + side * float(rng.uniform(0, 0.5))
            found.append(Post(name, side, x, place, height, int(rng.integers(64))))
    if kind == SHOPS and rng.random() < 0.7:
        found.append(Post("hanging", side, street.front(side), start + 3, 3.4, int(rng.integers(64))))
    if rng.random() < 0.12 and not gap:
        found.append(Strip("fence", street.kerb(side) + side * 0.2, (start, start + CELL), 1.05, 0))
    return found


def moving(seed: int, time: float, here: float, reach: float) -> list[Mover]:
    """Traffic and people between `here` - 12 m and `here` + `reach` at `time` seconds."""
    street = look(seed)
    found: list[Mover] = [*_ahead(street, seed, time, here)]
    left, right = street.clear(LEFT), street.clear(RIGHT)
    found += _stream(seed, 4, time, here, reach, (-9.5, 26.0, 0.55 * street.traffic, right / 2))
    for topic, speed, spacing, x in ((5, 3.6, 30.0, 0.4 - left), (6, -4.4, 40.0, right - 0.4)):
        for s, dice in _march(seed, topic, time, here, min(reach, _SMALL), speed, spacing, 0.33):
            found.append(Person(x, s, 1.7 + 0.2 * dice[0], int(dice[1] * PEOPLE), True))
    for topic, side, speed in ((7, LEFT, 1.3), (8, LEFT, -1.2), (9, RIGHT, 1.2), (10, RIGHT, -1.3)):
        for s, dice in _march(seed, topic, time, here, min(reach, _SMALL), speed, 6.0, 0.45 * street.crowd):
            x = side * (street.road + 0.5 + dice[2] * (street.pavement[(side + 1) // 2] - 0.8))
            found.append(Person(x, s, 1.45 + 0.5 * dice[0], int(dice[1] * PEOPLE), False))
    return found


def _march(
    seed: int, topic: int, time: float, here: float, reach: float, speed: float, spacing: float, odds: float
) -> Iterator[tuple[float, tuple[float, ...]]]:
    """Members of one endless column that moves at `speed`: yields s and six dice in 0..1 each."""
    origin = speed * time
    first = int(np.floor((here - 12 - origin) / spacing))
    for k in range(first, int((here + reach - origin) // spacing) + 1):
        dice = _dice(seed, topic, k)
        if dice[-1] < odds:
            yield k * spacing + origin + 0.7 * spacing * dice[-2], dice


@lru_cache(maxsize=8192)
def _dice(seed: int, topic: int, place: int) -> tuple[float, ...]:
    return tuple(_rng(seed, topic, place).random(6).tolist())


def _stream(
    seed: int, topic: int, time: float, here: float, reach: float, habit: tuple[float, float, float, float]
) -> list[Vehicle]:
    """Oncoming traffic; habit: speed, spacing, odds, x."""
    found = []
    for s, dice in _march(seed, topic, time, here, reach, *habit[:3]):
        model = (HATCH, SALOON, ESTATE, VAN, BUS)[bisect.bisect((0.35, 0.6, 0.8, 0.95), dice[0])]
        found.append(Vehicle(habit[3], s, model, int(dice[1] * PAINTS), False))
    return found


def _ahead(street: Look, seed: int, time: float, here: float) -> list[Vehicle]:
    """Up to two vehicles that we follow; the distance breathes slowly."""
    rng, found, gap = _rng(seed, 11, 0), [], 0.0
    for odds in (0.65, 0.5):
        gap += float(rng.uniform(11, 36))
        model = int(rng.choice([HATCH, SALOON, ESTATE, VAN, BUS], p=[0.32, 0.25, 0.2, 0.15, 0.08]))
        sway, paint = float(rng.uniform(5, 11)), int(rng.integers(PAINTS))
        if rng.random() < odds * (0.5 + 0.5 * street.traffic):
            s = here + gap + 2.5 * np.sin(time / sway) + length_width(model)[0] / 2
            found.append(Vehicle(street.lens[0], float(s), model, paint, True))
        gap += length_width(model)[0]
    return found
