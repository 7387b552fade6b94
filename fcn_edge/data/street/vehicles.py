"""Cars, vans and buses as small closed meshes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .camera import NEAR, cut_near
from .canvas import Canvas
from .classes import CAR

HATCH, SALOON, ESTATE, VAN, BUS = range(5)
_PAINT = (
    (120, 120, 118),
    (28, 28, 30),
    (70, 40, 28),
    (32, 30, 110),
    (165, 165, 165),
    (75, 72, 70),
    (45, 60, 40),
    (95, 60, 40),
    (48, 46, 46),
    (140, 138, 132),
    (60, 35, 95),
)
PAINTS = len(_PAINT)
# length, width, height, belt height, then along the length from the rear (shares):
# cabin foot rear, roof rear, roof front, cabin foot front; then nose height
_MODELS = (
    (3.9, 1.68, 1.45, 0.90, 0.02, 0.10, 0.52, 0.72, 0.72),
    (4.5, 1.75, 1.42, 0.92, 0.14, 0.28, 0.55, 0.72, 0.72),
    (4.6, 1.80, 1.58, 0.95, 0.02, 0.06, 0.56, 0.74, 0.78),
    (5.2, 2.00, 2.35, 1.20, 0.00, 0.00, 0.74, 0.86, 0.95),
    (10.5, 2.50, 3.30, 1.30, 0.00, 0.00, 0.99, 1.00, 1.20),
)
_GLASS, _TYRE, _TRIM = (44, 40, 38), (22, 22, 22), (30, 30, 30)


@dataclass(frozen=True)
class Mesh:
    """Vertices (N, 3) metres (x, y, s; origin under the middle) and faces in drawing order."""

    vertices: np.ndarray
    faces: tuple[tuple[tuple[int, ...], tuple[float, ...] | None, float], ...]
    corners: np.ndarray  # (F, C) the faces' vertex numbers, the last one repeated
    coarse: int  # how many faces are body; the rest are details that vanish far away


class _Builder:
    def __init__(self) -> None:
        self.vertices: list[tuple[float, float, float]] = []
        self.faces: list[tuple[tuple[int, ...], tuple[float, ...] | None, float]] = []

    def face(self, outline: list[tuple[float, float, float]], colour: tuple[float, ...] | None, shade: float) -> None:
        """Add a face whose outline runs clockwise seen from outside; None is the car's paint."""
        start = len(self.vertices)
        self.vertices += outline
        self.faces.append((tuple(range(start, start + len(outline))), colour, shade))

    def sides(
        self,
        half: tuple[float, ...],
        outline: list[tuple[float, float]],
        colour: tuple[float, ...] | None,
        shade: float,
    ) -> None:
        """Add an outline of (s, y), clockwise seen from the right, to the right and left side."""
        right = [(h, y, s) for h, (s, y) in zip(half, outline, strict=True)]
        self.face(right, colour, shade)
        self.face([(-x, y, s) for x, y, s in right[::-1]], colour, shade * 0.95)

    def across(
        self,
        rear: tuple[float, float, float],
        front: tuple[float, float, float],
        colour: tuple[float, ...] | None,
        shade: float,
    ) -> None:
        """Add a band over the full width between two lines (half width, y, s), facing up."""
        (a, ya, sa), (b, yb, sb) = rear, front
        self.face([(-a, ya, sa), (-b, yb, sb), (b, yb, sb), (a, ya, sa)], colour, shade)


@lru_cache(maxsize=8)
def mesh(model: int) -> Mesh:
    """The mesh of one model."""
    length, width, height, belt, *cabin, nose = _MODELS[model]
    rear, front, half = -length / 2, length / 2, width / 2
    foot_r, roof_r, roof_f, foot_f = (rear + share * length for share in cabin)
    roof = half * (0.78 if height < 2 else 0.94)
    build = _Builder()
    low = 0.28
    body = [(rear, low), (rear, belt - 0.02), (foot_r, belt), (foot_f, belt), (front - 0.12, nose), (front, low)]
    build.sides((half,) * 6, body, None, 0.8)
    sill = [(rear, low), (rear, low + 0.2), (front, low + 0.2), (front, low)]
    build.sides((half + 0.003,) * 4, sill, None, 0.55)
    build.across((half, low, rear), (half, belt - 0.02, rear), None, 0.85)
    build.across((half, belt - 0.02, rear), (half, belt, foot_r), None, 1.15)
    build.across((half, belt, foot_f), (half, nose, front - 0.12), None, 1.2)
    build.across((half, nose, front - 0.12), (half, low, front), None, 0.85)
    upper = [(foot_r, belt), (roof_r, height), (roof_f, height), (foot_f, belt)]
    build.sides((half, roof, roof, half), upper, None, 0.85)
    build.across((half, belt, foot_r), (roof, height, roof_r), None, 0.9)
    build.across((roof, height, roof_f), (half, belt, foot_f), None, 0.95)
    build.across((roof, height, roof_r), (roof, height, roof_f), None, 1.25)
    coarse = len(build.faces)
    _windows(build, (foot_r, roof_r, roof_f, foot_f), (half, roof), (belt, height), model)
    _details(build, (rear, front), half, (low, belt, nose))
    most = max(len(face[0]) for face in build.faces)
    padded = [face[0] + face[0][-1:] * (most - len(face[0])) for face in build.faces]
    return Mesh(np.array(build.vertices), tuple(build.faces), np.array(padded), coarse)


def _windows(
    build: _Builder, cabin: tuple[float, ...], half: tuple[float, float], level: tuple[float, float], model: int
) -> None:
    """Glass a little inside the cabin's faces: sides, rear, windscreen."""
    foot_r, roof_r, roof_f, foot_f = cabin

    def width(y: float) -> float:
        return half[0] + (half[1] - half[0]) * (y - level[0]) / (level[1] - level[0]) + 0.004

    def along(y: float, foot: float, roof: float) -> float:
        return foot + (roof - foot) * (y - level[0]) / (level[1] - level[0])

    low, high = level[0] + 0.06, level[1] - (0.1 if model != BUS else 1.0)
    first = roof_f - 1.0 if model == VAN else None  # vans are blind behind the driver
    rear_low = first if first is not None else along(low, foot_r, roof_r) + 0.15
    rear_high = first if first is not None else along(high, foot_r, roof_r) + 0.15
    pane = [
        (rear_low, low),
        (rear_high, high),
        (along(high, foot_f, roof_f) - 0.15, high),
        (along(low, foot_f, roof_f) - 0.15, low),
    ]
    build.sides(tuple(width(y) for _, y in pane), pane, _GLASS, 1.0)
    for foot, roof, out in ((foot_r, roof_r, -0.01), (foot_f, roof_f, 0.01)):
        lower = (width(low) - 0.12, low, along(low, foot, roof) + out)
        upper = (width(high) - 0.12, high, along(high, foot, roof) + out)
        build.across(*((lower, upper) if out < 0 else (upper, lower)), _GLASS, 1.0)


def _details(build: _Builder, ends: tuple[float, float], half: float, level: tuple[float, float, float]) -> None:
    """Wheels, bumpers, lamps and number plates."""
    low, belt, nose = level
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)[::-1]
    for middle in (ends[0] + 0.75, ends[1] - 0.8):
        for radius, colour in ((0.36, _TYRE), (0.2, (110, 110, 112))):
            rim = [(middle + radius * np.cos(t), 0.32 + radius * np.sin(t)) for t in turn]
            build.sides((half + 0.01,) * 12, rim, colour, 1.0)
    rear, front = ends[0] - 0.01, ends[1] + 0.01

    def panel(x: tuple[float, float], y: tuple[float, float], colour: tuple[float, ...], back: bool) -> None:
        s, (x0, x1) = (rear, x) if back else (front - 0.08, x[::-1])
        build.face([(x0, y[0], s), (x0, y[1], s), (x1, y[1], s), (x1, y[0], s)], colour, 1.0)

    for back, lamp, plate in ((True, (30, 30, 150), (60, 170, 190)), (False, (205, 210, 210), (190, 190, 190))):
        top = (belt if back else nose) - 0.06
        panel((-half, half), (low - 0.1, low + 0.18), _TRIM, back)
        panel((-half, 0.28 - half), (top - 0.2, top), lamp, back)
        panel((half - 0.28, half), (top - 0.2, top), lamp, back)
        panel((-0.26, 0.26), (low + 0.2, low + 0.31), plate, back)


def length_width(model: int) -> tuple[float, float]:
    """Metres."""
    return _MODELS[model][0], _MODELS[model][1]


def draw_vehicle(
    canvas: Canvas, model: int, paint: int, place: tuple[float, float], onward: bool, light: float
) -> None:
    """Draw a vehicle at (x, s) that points along the street, or towards us."""
    shape, camera = mesh(model), canvas.camera
    turn = 1.0 if onward else -1.0
    ahead = place[1] - camera.s
    view = camera.view(shape.vertices * (turn, 1.0, turn) + (place[0], 0.0, place[1]))
    if view[:, 2].max() < NEAR:
        return
    crosses = bool(view[:, 2].min() < NEAR)
    pixels = camera.pixels(np.maximum(view, (-np.inf, -np.inf, NEAR)))
    seen = _facing_us(pixels[shape.corners], 0.25) | crosses
    seen[shape.coarse :] &= ahead < 0.14 * camera.focal
    for number in np.flatnonzero(seen):
        corners, colour, shade = shape.faces[number]
        outline = pixels[corners[0] : corners[-1] + 1]
        if crosses:
            kept = cut_near(view[corners[0] : corners[-1] + 1])
            if len(kept) < 3:
                continue
            outline = camera.pixels(kept)
            if not _facing_us(outline[None], 0.25)[0]:
                continue
        tone = [c * shade * light for c in (_PAINT[paint] if colour is None else colour)]
        canvas.fill(outline, canvas.hazed(tone, ahead), CAR)


def _facing_us(outlines: np.ndarray, area: float) -> np.ndarray:
    """Which outlines (F, C, 2) run clockwise on the screen, as seen from outside, and are not tiny."""
    x, y = outlines[..., 0], outlines[..., 1]
    following = np.concatenate([outlines[:, 1:], outlines[:, :1]], axis=1)
    return (x * following[..., 1] - y * following[..., 0]).sum(axis=1) > 2 * area
