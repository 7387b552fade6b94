"""Draw one upright thing of the world onto the canvas."""

import numpy as np

from .appearance import Look
from .camera import NEAR
from .canvas import Canvas, Colour
from .classes import BICYCLIST, BUILDING, FENCE, PEDESTRIAN, POLE, SIGN, TREE
from .facades import bricks, facade, gable_end, hedge, railing
from .people import PHASES, cyclist, walker
from .plants import tree
from .vehicles import draw_vehicle
from .world import Building, Person, Post, Strip, Thing, Tree, Vehicle

_THIN = 110.0  # metres beyond which posts would be too thin to see
_SLATE, _METAL, _DEPTH = (78, 72, 70), (92, 92, 94), 9.0
_RECTANGLE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
_SIGN_COLOURS = ((50, 40, 160), (120, 80, 50), (170, 170, 170), (70, 100, 60), (80, 130, 150), (45, 45, 45))


def draw_thing(canvas: Canvas, street: Look, thing: Thing, light: float) -> None:
    """Draw anything that `world` knows."""
    if isinstance(thing, Building):
        _building(canvas, thing, light)
    elif isinstance(thing, Strip):
        _strip(canvas, thing, light * street.light(1 if thing.x > 0 else -1))
    elif isinstance(thing, Tree):
        size = (thing.spread, thing.height)
        canvas.sprite(tree(thing.variant), (thing.x, 0, thing.s), size, TREE, light, thing.mirror)
    elif isinstance(thing, Post):
        if thing.s < canvas.camera.s + _THIN:
            _post(canvas, thing, light)
    elif isinstance(thing, Vehicle):
        draw_vehicle(canvas, thing.model, thing.paint, (thing.x, thing.s), thing.onward, light)
    elif isinstance(thing, Person):
        _person(canvas, thing, light)


def _building(canvas: Canvas, home: Building, light: float) -> None:
    """Roof, gable towards us, street front."""
    if _beside(canvas, home):
        return
    front = facade(home.style, home.variant, home.colour)
    (near, far), x, eaves = home.s, home.x, front.height
    back, ridge = x + home.side * _DEPTH, (x + home.side * _DEPTH / 2, eaves + home.roof)
    wall = front.texture.levels[-1].mean(axis=(0, 1))
    if home.roof:
        slope = [[x, eaves, near], [ridge[0], ridge[1], near], [ridge[0], ridge[1], far], [x, eaves, far]]
        canvas.polygon(np.array(slope), [c * light for c in _SLATE], BUILDING)
        _chimney(canvas, home, ridge, wall * 0.7 * light)
    gable = [[x, 0, near], [x, eaves, near], [ridge[0], ridge[1], near], [back, eaves, near], [back, 0, near]]
    canvas.polygon(np.array(gable), wall * 0.8 * light, BUILDING)
    if home.end:
        side = gable_end(home.variant, home.colour)
        canvas.sprite(side, ((x + back) / 2, 0.0, near), (_DEPTH, eaves), BUILDING, 0.85 * light)
    canvas.wall(front.texture, x, home.s, (0.0, eaves), BUILDING, home.light * light)


def _beside(canvas: Canvas, home: Building) -> bool:
    """Whether even the far end of the front lies outside the frame."""
    far = home.s[1]
    if far < canvas.camera.s + NEAR:
        return True
    column = canvas.camera.point(home.x, 0.0, far)[0]
    return column < -2 if home.side < 0 else column > canvas.camera.width + 1


def _chimney(canvas: Canvas, home: Building, ridge: tuple[float, float], colour: np.ndarray) -> None:
    x, base, s = ridge[0], ridge[1] - 0.4, home.s[1] - 0.3
    _upright(canvas, x, s, (base, base + 1.6), 1.0, list(colour), BUILDING)


def _strip(canvas: Canvas, strip: Strip, light: float) -> None:
    """Hedges count as trees and garden walls as buildings, as CamVid has it."""
    texture, label = {
        "hedge": (hedge, TREE),
        "bricks": (bricks, BUILDING),
        "fence": (None, FENCE),
    }[strip.kind]
    picture = texture(strip.variant) if texture else railing(strip.variant % 3, strip.variant)
    canvas.wall(picture, strip.x, strip.s, (0.0, strip.height), label, light)


def _upright(
    canvas: Canvas, x: float, s: float, y: tuple[float, float], width: float, colour: list[float], label: int
) -> None:
    """A rectangle that faces us, at least about one pixel wide."""
    ahead = s - canvas.camera.s
    half = max(width, 0.9 * ahead / canvas.camera.focal) / 2
    shape = np.array([[-half, y[0]], [-half, y[1]], [half, y[1]], [half, y[0]]])
    canvas.facing(shape, (x, 0.0, s), colour, label)


def _post(canvas: Canvas, post: Post, light: float) -> None:
    """The pole and what it carries."""
    tone = [c * light * (0.5 + 0.2 * (post.variant % 4)) for c in _METAL]
    x, s, top = post.x, post.s, post.height
    if post.kind == "hanging":
        paint = [c * light for c in _SIGN_COLOURS[post.variant % 6]]
        _panel(canvas, (x - post.side * 0.5, top, s), (0.4, 0.5), paint)
        return
    width = {"lamp": 0.15, "bollard": 0.2, "lights": 0.12, "board": 0.12}.get(post.kind, 0.08)
    _upright(canvas, x, s, (0.0, top), width, tone, POLE)
    if post.kind == "lamp":
        _lamp(canvas, post, tone)
    elif post.kind == "lights":
        _traffic_light(canvas, post, light)
    elif post.kind == "board":
        paint = [c * light for c in _SIGN_COLOURS[post.variant % 6]]
        _panel(canvas, (x, top - 0.75, s), (0.65, 0.85), paint)
    elif post.kind == "sign":
        _plate(canvas, post, light)


def _panel(canvas: Canvas, centre: tuple[float, float, float], half: tuple[float, float], paint: list[float]) -> None:
    """A board with two lines of writing."""
    wide, high = half
    canvas.facing(_RECTANGLE * half, centre, paint, SIGN)
    if centre[2] - canvas.camera.s < 45:
        ink = [40.0] * 3 if sum(paint) > 330 else [165.0] * 3
        for row in (-0.35, 0.4):
            canvas.facing(_RECTANGLE * (wide * 0.75, high * 0.16) + (0, row * high), centre, ink, SIGN)


def _lamp(canvas: Canvas, post: Post, tone: list[float]) -> None:
    """An arm over the road with the lamp at its end."""
    tip, foot = -post.side * 1.4, (post.x, post.height, post.s)
    canvas.facing(np.array([[0, -0.08], [0, 0.05], [tip, 0.32], [tip, 0.2]]), foot, tone, POLE)
    head = np.array([[tip - 0.35, 0.2], [tip - 0.3, 0.36], [tip + 0.3, 0.36], [tip + 0.35, 0.2]])
    canvas.facing(head, foot, [c * 1.3 for c in tone], POLE)


def _traffic_light(canvas: Canvas, post: Post, light: float) -> None:
    """A black box with three lamps, one of them lit."""
    x, s, top = post.x, post.s, post.height
    _upright(canvas, x, s, (top - 1.0, top + 0.1), 0.42, [20.0 * light] * 3, SIGN)
    lit = post.variant % 3
    for place, colour in enumerate(((40, 40, 230), (30, 160, 230), (120, 220, 60))):
        glow = colour if place == lit else tuple(c * 0.2 for c in colour)
        _disc(canvas, (x, top - 0.13 - 0.32 * place, s - 0.01), 0.12, glow, 10)


def _plate(canvas: Canvas, post: Post, light: float) -> None:
    """A round, three-cornered or square traffic sign; some show us their grey back."""
    x, s, y = post.x, post.s, post.height - 0.2
    kind, red, white = post.variant % 5, [40 * light, 35 * light, 165 * light], [190 * light] * 3
    if kind == 4:
        _disc(canvas, (x, y, s), 0.38, [85 * light] * 3, 12)
    elif kind == 3:
        paint = [c * light for c in _SIGN_COLOURS[post.variant % 6]]
        _panel(canvas, (x, y, s), (0.4, 0.48), paint)
    else:
        sides = 3 if kind == 0 else 14
        _disc(canvas, (x, y, s), 0.46 if kind == 0 else 0.38, red, sides)
        inner = white if kind != 2 else [150 * light, 80 * light, 40 * light]
        _disc(canvas, (x, y, s - 0.01), 0.28, inner, sides)


def _disc(canvas: Canvas, centre: tuple[float, float, float], radius: float, colour: Colour, corners: int) -> None:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    canvas.facing(np.stack([np.sin(turn), np.cos(turn)], axis=1) * radius, centre, colour, SIGN)


def _person(canvas: Canvas, person: Person, light: float) -> None:
    """A step lasts 1.5 m; the phase follows the place, so that feet keep up with the motion."""
    phase = int(person.s / (3.0 if person.cycling else 1.5) * PHASES) % PHASES
    picture = (cyclist if person.cycling else walker)(person.variant, phase)
    size = (person.height * (0.9 / (1.8 if person.cycling else 1.85)), person.height)
    label = BICYCLIST if person.cycling else PEDESTRIAN
    canvas.sprite(picture, (person.x, 0.0, person.s), size, label, light)
