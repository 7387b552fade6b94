"""Road, pavements, markings and the shadows that fall on them."""

from itertools import groupby

import cv2
import numpy as np

from .appearance import CELL, LEFT, RIGHT, Look
from .camera import NEAR, Camera
from .canvas import Canvas, Colour, cloud_noise
from .classes import PAVEMENT, ROAD, TREE
from .vehicles import length_width
from .world import Building, Person, Plot, Post, Strip, Thing, Tree, Vehicle

_ASPHALT, _FLAGS, _KERB, _GRASS = (80, 80, 80), (98, 98, 100), (108, 108, 110), (50, 82, 74)
_WHITE, _YELLOW = (175, 175, 172), (70, 140, 160)
_FAR = 600.0  # metres to which the road runs on behind the last cell


def draw_ground(
    canvas: Canvas, street: Look, plots: dict[tuple[int, int], Plot], things: list[Thing], cells: range, tone: float
) -> None:
    """Paint everything flat below the horizon; `tone` is the brightness of the asphalt."""
    camera = canvas.camera
    top = max(int(camera.horizon), 0)
    canvas.image[top:] = canvas.hazed(_GRASS, 200)
    canvas.labels[top:] = TREE
    stations = _stations(cells, camera.s)
    for side in (LEFT, RIGHT):
        _side(canvas, street, plots, cells, side, stations)
    asphalt = tuple(c * tone for c in _ASPHALT)
    _ribbon(canvas, street.kerb(LEFT), street.kerb(RIGHT), stations, asphalt, ROAD)
    for cell in cells:
        _markings(canvas, street, cell, [side for side in (LEFT, RIGHT) if plots[cell, side].gap])
    _texture(canvas, street, top)
    _shadows(canvas, street, things, top)


def _stations(cells: range, here: float) -> np.ndarray:
    """Where strips along the street get their corners: dense near, sparse far."""
    near = np.arange(max(cells[0] * CELL, here + NEAR), here + 40, 4.0)
    return np.concatenate([near, np.arange(here + 40, (cells[-1] + 1) * CELL, 10.0), [here + _FAR]])


def _ribbon(canvas: Canvas, x0: float, x1: float, stations: np.ndarray, colour: Colour, label: int) -> None:
    """Fill the strip of ground between x0 and x1."""
    left = np.stack([np.full_like(stations, x0), np.zeros_like(stations), stations], axis=1)
    right = left[::-1] * (0, 1, 1) + (x1, 0, 0)
    outline = canvas.camera.polygon(np.concatenate([left, right]))
    if outline is not None:
        canvas.fill(outline, canvas.hazed(colour, 25), label)


def _side(
    canvas: Canvas, street: Look, plots: dict[tuple[int, int], Plot], cells: range, side: int, stations: np.ndarray
) -> None:
    """Plots, pavement and kerb of one side, and the mouths of side streets."""
    edge, kerb = street.front(side), street.kerb(side)
    for lawn, run in groupby(cells, lambda cell: plots[cell, side].lawn):
        alike = list(run)
        colour, label = (_GRASS, TREE) if lawn else (_FLAGS, PAVEMENT)
        _patch(canvas, (kerb, edge + side * 40), (alike[0] * CELL, (alike[-1] + 1) * CELL), colour, label)
    _ribbon(canvas, kerb, edge, stations, _FLAGS, PAVEMENT)
    _ribbon(canvas, kerb, kerb + side * 0.14, stations, _KERB, PAVEMENT)
    for cell in cells:
        if plots[cell, side].gap:
            span = (cell * CELL + 1.5, cell * CELL + 8.5)
            _patch(canvas, (kerb, edge + side * 60), span, _ASPHALT, ROAD)


def _patch(canvas: Canvas, x: tuple[float, float], s: tuple[float, float], colour: Colour, label: int) -> None:
    """Fill a rectangle on the ground."""
    points = np.array([[x[0], 0, s[0]], [x[0], 0, s[1]], [x[1], 0, s[1]], [x[1], 0, s[0]]], float)
    canvas.polygon(points, colour, label)


def _markings(canvas: Canvas, street: Look, cell: int, gaps: list[int]) -> None:
    """Centre line, yellow lines, give-way lines and worn patches in one cell."""
    start = cell * CELL
    if start > canvas.camera.s + 110:
        return
    for s in (start, start + 5):
        _patch(canvas, (-0.06, 0.06), (s, s + 2.6), _WHITE, ROAD)
    rng = np.random.default_rng([cell % 9973, 41])
    if rng.random() < 0.5:
        x, s = rng.uniform(-street.road, street.road - 1.2), start + rng.uniform(0, 6)
        shade = rng.choice([0.8, 0.88, 1.1])
        wide, deep = rng.uniform((0.6, 0.8), (2.0, 4.0))
        _patch(canvas, (x, x + wide), (s, s + deep), tuple(c * shade for c in _ASPHALT), ROAD)
    if cell % 23 == 7:
        for x in np.arange(-street.road + 0.4, street.road - 0.6, 1.2):
            _patch(canvas, (x, x + 0.6), (start + 2, start + 4.6), _WHITE, ROAD)
    for side in (LEFT, RIGHT):
        kerb = street.kerb(side)
        if side in gaps:
            for s in np.arange(start + 2, start + 8, 1.0):
                _patch(canvas, (kerb, kerb + side * 0.2), (s, s + 0.6), _WHITE, ROAD)
        elif street.double_yellow and start < canvas.camera.s + 60:
            for gap in (0.25, 0.45):
                _patch(canvas, (kerb - side * gap, kerb - side * (gap + 0.09)), (start, start + CELL), _YELLOW, ROAD)


def _texture(canvas: Canvas, street: Look, top: int) -> None:
    """Roughen the ground with noise fixed to the street; details fade with distance."""
    camera = canvas.camera
    rows = np.arange(top, canvas.labels.shape[0], dtype=np.float32)
    if not len(rows):
        return
    ahead = np.minimum(camera.focal * camera.y / np.maximum(rows - camera.horizon, 0.5), 400)
    columns = np.arange(canvas.labels.shape[1], dtype=np.float32) - camera.width / 2 + 0.5
    x = columns[None, :] * (ahead / camera.focal)[:, None] - camera.shift(camera.s + ahead).astype(np.float32)[:, None]
    fine = _sampled(x * 32, (camera.s + ahead) * 32, 3)
    coarse = _sampled(x * 6, (camera.s + ahead) * 1.5, 5)
    fade = np.clip(7 / ahead, 0, 1)[:, None].astype(np.float32)
    factor = 128 * (1 + 0.06 * fine * fade + 0.05 * coarse * np.clip(40 / ahead, 0, 1)[:, None].astype(np.float32))
    factor = cv2.convertScaleAbs(factor)
    canvas.image[top:] = cv2.multiply(canvas.image[top:], cv2.merge([factor] * 3), scale=1 / 128)


def _sampled(x: np.ndarray, s: np.ndarray, octaves: int) -> np.ndarray:
    """Tiling noise at texels x (h, w) and s (h,), (h, w) float32."""
    along = np.repeat((s % 256).astype(np.float32)[:, None], x.shape[1], axis=1)
    noise = cloud_noise(256, octaves, 0)
    return cv2.remap(noise, x.astype(np.float32), along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _shadows(canvas: Canvas, street: Look, things: list[Thing], top: int) -> None:
    """Darken the ground where things stand and, in the sun, where they throw a shadow."""
    mask = np.full(canvas.labels.shape, 255, np.uint8)
    close = [thing for thing in things if _place(thing) < canvas.camera.s + 70]
    for thing in close:
        if isinstance(thing, Vehicle):
            _shade(mask, canvas.camera, _footprint(thing, 0.12), 90)
        elif isinstance(thing, Person):
            _shade(mask, canvas.camera, _disc(thing.x, thing.s, 0.3), 160)
    if street.sunny:
        for thing in close:
            hull = _thrown(thing, np.array(street.sun))
            if hull is not None:
                _shade(mask, canvas.camera, hull, 125)
    size = 2 * (canvas.labels.shape[0] // 180) + 1
    soft = cv2.blur(mask[top:], (size + 2, size))
    canvas.image[top:] = cv2.multiply(canvas.image[top:], cv2.merge([soft] * 3), scale=1 / 255)


def _place(thing: Thing) -> float:
    """Where along the street a thing begins."""
    return thing.s[0] if isinstance(thing, Building | Strip) else thing.s


def _shade(mask: np.ndarray, camera: Camera, ground: np.ndarray, value: int) -> None:
    """Darken a convex piece of ground (N, 2) of x, s in the mask."""
    points = np.stack([ground[:, 0], np.zeros(len(ground)), ground[:, 1]], axis=1)
    outline = camera.polygon(points)
    if outline is not None:
        cv2.fillConvexPoly(mask, np.rint(outline * 16).astype(np.int32), value, cv2.LINE_AA, 4)


def _footprint(car: Vehicle, grow: float) -> np.ndarray:
    length, width = length_width(car.model)
    a, b = width / 2 + grow, length / 2 + grow
    return np.array([[car.x - a, car.s - b], [car.x - a, car.s + b], [car.x + a, car.s + b], [car.x + a, car.s - b]])


def _disc(x: float, s: float, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    return np.stack([x + radius * np.cos(turn), s + radius * np.sin(turn)], axis=1)


def _thrown(thing: Thing, sun: np.ndarray) -> np.ndarray | None:
    """Outline on the ground (N, 2) of the shadow of a thing."""
    if isinstance(thing, Building):
        base = np.array([[thing.x, thing.s[0]], [thing.x, thing.s[1]]])
        return np.concatenate([base, base[::-1] + sun * thing.height])
    if isinstance(thing, Tree):
        x, s = np.array([thing.x, thing.s]) + sun * thing.height * 0.6
        return _disc(x, s, thing.spread * 0.42)
    if isinstance(thing, Vehicle):
        base = _footprint(thing, 0.0)
        both = np.concatenate([base, base + sun * 1.4]).astype(np.float32)
        return cv2.convexHull(both)[:, 0].astype(float)
    if isinstance(thing, Post | Person):
        base = np.array([[thing.x - 0.1, thing.s], [thing.x + 0.1, thing.s]])
        return np.concatenate([base, base[::-1] + sun * thing.height])
    return None
