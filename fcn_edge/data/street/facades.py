"""Pictures of walls: facades with windows, doors and shopfronts, fences, hedges."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .canvas import Texture, cloud_noise

HOUSE, SHOP, OFFICE = range(3)
VARIANTS = 8
_DENSITY = 20  # pixels a metre
_WALLS = (  # BGR of bricks, plaster, stone
    (62, 74, 100),
    (70, 86, 112),
    (100, 118, 130),
    (88, 104, 116),
    (150, 160, 165),
    (60, 66, 76),
    (120, 130, 136),
    (74, 82, 104),
    (48, 56, 78),
    (105, 108, 112),
    (80, 98, 122),
    (130, 138, 150),
)
WALL_COLOURS = len(_WALLS)
_PAINTS = ((40, 50, 120), (90, 50, 30), (40, 80, 40), (30, 30, 35), (150, 150, 155), (40, 140, 170), (120, 60, 90))


@dataclass(frozen=True)
class Facade:
    """A street front: its size in metres and its picture."""

    width: float
    height: float
    texture: Texture


class _ShopBoard:
    """A picture under construction, addressed in metres from its lower left corner."""

    def __init__(self, width: float, height: float, colour: tuple[int, ...]) -> None:
        self.tall = height
        shape = (int(height * _DENSITY), int(width * _DENSITY), 3)
        self.picture = np.empty(shape, np.uint8)
        self.picture[:] = colour

    def box(self, x: float, y: float, wide: float, high: float, colour: tuple[float, ...]) -> None:
        """Fill the rectangle whose lower left corner is (x, y)."""
        x0, x1 = int(x * _DENSITY), int((x + wide) * _DENSITY)
        y0, y1 = int((self.tall - y - high) * _DENSITY), int((self.tall - y) * _DENSITY)
        self.picture[max(y0, 0) : max(y1, 0), max(x0, 0) : x1] = colour

    def grain(self, rng: np.random.Generator, strength: float) -> None:
        """Roughen with stains and fine speckle."""
        rows, columns = self.picture.shape[:2]
        noise = cv2.resize(cloud_noise(256, 5, int(rng.integers(4))), (columns, rows))
        noise = noise + rng.standard_normal((rows, columns), dtype=np.float32)
        out = self.picture * (1 + strength * noise[..., None])
        self.picture = np.clip(out, 0, 255).astype(np.uint8)


@lru_cache(maxsize=512)
def facade(style: int, variant: int, colour: int) -> Facade:
    """The street front of one building."""
    rng = np.random.default_rng([style, variant, 11])
    storeys = int(rng.integers(*((2, 4), (3, 5), (3, 7))[style]))
    width, storey = (5.5, 10.0, 12.0)[style], float(rng.uniform(3.0, 3.7))
    board = _ShopBoard(width, storeys * storey + 0.6, _WALLS[colour])
    board.grain(rng, 0.07)
    draw = (_house, _shop, _office)[style]
    draw(board, rng, storeys, storey, width)
    board.grain(rng, 0.03)
    return Facade(width, board.tall, Texture.of(board.picture))


@lru_cache(maxsize=128)
def gable_end(variant: int, colour: int) -> Texture:
    """A mostly blind wall at the end of a row, 9 m by 9 m, BGR."""
    rng = np.random.default_rng([variant, colour, 15])
    board = _ShopBoard(9.0, 9.0, _WALLS[colour])
    for _ in range(int(rng.integers(0, 4))):
        box = (float(rng.uniform(1, 7)), float(rng.choice([1.2, 4.0, 6.8])), 0.9, 1.4)
        _window(board, rng, box, 150.0)
    board.box(float(rng.uniform(0.2, 8)), 0, 0.12, 9, (60, 60, 62))
    board.grain(rng, 0.08)
    return Texture.of(board.picture)


def _glass(rng: np.random.Generator) -> tuple[float, ...]:
    """Colour of a pane: mostly dark, sometimes the sky's reflection or a curtain."""
    tone = rng.choice([28, 40, 55, 120, 165], p=[0.35, 0.3, 0.2, 0.1, 0.05])
    return (tone * 1.05, tone, tone * 0.95)


def _window(board: _ShopBoard, rng: np.random.Generator, box: tuple[float, float, float, float], frame: float) -> None:
    """A framed pane with a sill, divided in two or four."""
    x, y, wide, high = box
    board.box(x - 0.1, y - 0.15, wide + 0.2, 0.15, (frame * 0.8,) * 3)
    board.box(x, y, wide, high, (frame,) * 3)
    pane = _glass(rng)
    board.box(x + 0.08, y + 0.08, wide - 0.16, high / 2 - 0.12, pane)
    board.box(x + 0.08, y + high / 2 + 0.04, wide - 0.16, high / 2 - 0.12, pane)
    if wide > 1.1:
        board.box(x + wide / 2 - 0.04, y, 0.08, high, (frame,) * 3)


def _rows(board: _ShopBoard, rng: np.random.Generator, span: tuple[int, int], storey: float, width: float) -> None:
    """Evenly spaced windows on the storeys span[0] up to span[1]."""
    count = max(round(width / rng.uniform(2.2, 3.2)), 1)
    wide, high = float(rng.uniform(0.9, 1.4)), float(rng.uniform(1.3, 1.9))
    frame = float(rng.choice([60, 170, 200]))
    for floor in range(*span):
        for place in range(count):
            x = (place + 0.5) * width / count - wide / 2
            _window(board, rng, (x, floor * storey + 0.9, wide, high), frame)


def _house(board: _ShopBoard, rng: np.random.Generator, storeys: int, storey: float, width: float) -> None:
    _rows(board, rng, (1, storeys), storey, width)
    paint = _PAINTS[rng.integers(len(_PAINTS))]
    door = float(rng.choice([0.5, width - 1.5]))
    board.box(door - 0.1, 0, 1.2, 2.4, (170, 170, 170))
    board.box(door, 0.1, 1.0, 2.1, paint)
    _window(board, rng, (2.4 if door < 1 else 0.8, 0.9, 2.0, 1.5), 190.0)
    board.box(0, board.tall - 0.3, width, 0.2, (70, 72, 75))


def _shop(board: _ShopBoard, rng: np.random.Generator, storeys: int, storey: float, width: float) -> None:
    _rows(board, rng, (1, storeys), storey, width)
    for left in (0.0, width / 2):
        paint = np.array(_PAINTS[rng.integers(len(_PAINTS))], float)
        board.box(left + 0.1, 0, width / 2 - 0.2, storey, tuple(paint * 0.7))
        board.box(left + 0.4, 0.5, width / 2 - 1.9, 1.9, (48, 48, 50))
        for _ in range(5):
            x, y = left + rng.uniform(0.5, width / 2 - 2.3), rng.uniform(0.6, 1.6)
            board.box(x, y, rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.6), tuple(rng.uniform(40, 170, 3)))
        board.box(left + width / 2 - 1.3, 0.1, 0.9, 2.2, (38, 38, 40))
        board.box(left + 0.1, 2.5, width / 2 - 0.2, 0.6, tuple(paint))
        for letter in range(int(rng.integers(4, 10))):
            board.box(left + 0.9 + letter * 0.34, 2.65, 0.22, 0.3, (190, 195, 200))


def _office(board: _ShopBoard, rng: np.random.Generator, storeys: int, storey: float, width: float) -> None:
    if rng.random() < 0.5:
        _rows(board, rng, (0, storeys), storey, width)
        return
    pier = float(rng.uniform(0.15, 0.5))
    count = int(rng.integers(5, 9))
    for floor in range(storeys):
        for place in range(count):
            wide = width / count - pier
            board.box(place * width / count + pier / 2, floor * storey + 0.8, wide, storey - 1.2, _glass(rng))


@lru_cache(maxsize=64)
def railing(kind: int, variant: int) -> Texture:
    """10 m of fence as BGRA: kind 0 upright bars, 1 boards, 2 chequered mesh."""
    rng = np.random.default_rng([kind, variant, 12])
    picture = np.zeros((64, 512, 4), np.uint8)
    tone = rng.uniform(0.5, 1.2) * np.array((60, 62, 66) if kind != 1 else (62, 80, 100))
    picture[..., :3] = np.clip(tone, 0, 255)
    if kind == 1:
        board = rng.uniform(0.75, 1.15, 64).repeat(8)
        picture[..., :3] = np.clip(picture[..., :3] * board[None, :, None], 0, 255)
        picture[..., 3] = 255
        return Texture.of(picture)
    picture[..., 3] = 105  # thin bars seldom survive the lens; the whole panel is still the fence
    picture[:, ::7, 3] = 230
    picture[:: 64 if kind == 0 else 7, :, 3] = 230
    picture[2:7, :, 3] = picture[54:58, :, 3] = 255
    picture[:, ::128, 3] = picture[:, 1::128, 3] = picture[:, 2::128, 3] = 255
    return Texture.of(picture)


@lru_cache(maxsize=16)
def bricks(colour: int) -> Texture:
    """10 m of garden wall as BGR with a coping."""
    rng = np.random.default_rng([colour, 13])
    board = _ShopBoard(10, 1.5, _WALLS[colour])
    for course in range(12):
        board.box(0, course * 0.125, 10, 0.02, tuple(c * 0.85 for c in _WALLS[colour]))
    board.box(0, 1.38, 10, 0.12, (105, 108, 110))
    board.grain(rng, 0.08)
    return Texture.of(board.picture)


@lru_cache(maxsize=16)
def hedge(variant: int) -> Texture:
    """10 m of hedge as BGRA with a ragged top."""
    rng = np.random.default_rng([variant, 14])
    noise = cv2.resize(cloud_noise(256, 6, variant % 4), (512, 96))
    speckle = rng.standard_normal((96, 512), dtype=np.float32)
    tone = np.array((38, 66, 58)) * rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.15, 3)
    light = 1 + 0.18 * noise + 0.25 * speckle + np.linspace(0.25, -0.3, 96)[:, None]
    picture = np.full((96, 512, 4), 255, np.uint8)
    picture[..., :3] = np.clip(tone * light[..., None], 0, 255)
    edge = 6 + 4 * noise[48] + 2 * speckle[0]
    picture[..., 3] = np.where(np.arange(96)[:, None] < edge, 0, 255)
    return Texture.of(picture)
