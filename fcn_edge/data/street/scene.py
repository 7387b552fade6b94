"""Put a frame together: far things first, near things over them."""

import math
from dataclasses import dataclass

import numpy as np

from .appearance import CELL, LEFT, RIGHT, Look, look
from .camera import Camera
from .canvas import Canvas
from .ground import draw_ground
from .objects import draw_thing
from .sensor import expose
from .sky import draw_sky, draw_skyline
from .world import Building, Mover, Plot, Strip, Thing, Tree, moving, plot

FPS = 15
_SPEED = 8.0  # metres a second
_REACH = 19  # cells drawn ahead


@dataclass(frozen=True)
class Street:
    """An endless street. Every frame is a pure function of the fields and its index."""

    seed: int
    height: int = 360
    width: int = 480

    def render(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame `index` (15 a second): image (H, W, 3) uint8 BGR, labels (H, W) uint8 in 0..10."""
        street = look(self.seed)
        camera = self._camera(street, index)
        image = np.empty((self.height, self.width, 3), np.uint8)
        labels = np.empty((self.height, self.width), np.uint8)
        canvas = Canvas(camera, image, labels, street.haze, street.haze_per_metre)
        first = int(camera.s // CELL) - 1
        cells = range(first, first + _REACH + 1)
        plots = {(cell, side): plot(self.seed, cell, side) for cell in cells for side in (LEFT, RIGHT)}
        movers = moving(self.seed, index / FPS, camera.s, CELL * (_REACH - 1))
        things = _far_to_near(plots, movers)
        draw_sky(canvas, street)
        draw_ground(canvas, street, plots, things, cells, 1.12 if street.sunny else 1.0)
        draw_skyline(canvas, self.seed, (cells[-1] + 1) * CELL - camera.s)
        for thing in things:
            draw_thing(canvas, street, thing, 1.0)
        return expose(canvas.image, street, self.seed, index), canvas.labels

    def _camera(self, street: Look, index: int) -> Camera:
        """The car rolls on at a constant speed and nods a little."""
        x, y, focal, horizon = street.lens
        time = index / FPS
        nod = 0.0025 * np.sin(time * 5.1) + 0.0015 * np.sin(time * 11.3 + 1)
        sway = 0.08 * np.sin(time * 0.7)
        return Camera(
            self.width,
            self.height,
            focal * self.height,
            (horizon + nod) * self.height,
            x + sway,
            y,
            street.start + _SPEED * time,
            street.bend,
        )


def _far_to_near(plots: dict[tuple[int, int], Plot], movers: list[Mover]) -> list[Thing]:
    """Drawing order: cells from afar; within one, from the plots inwards, then by distance."""
    things: list[Thing] = [thing for held in plots.values() for thing in held.things]
    return sorted([*things, *movers], key=_key)


def _key(thing: Thing) -> tuple[float, float, float]:
    """Sorts a building's far end with its cell, since all that stands before it is nearer the road."""
    if isinstance(thing, Building | Strip):
        return -math.floor(thing.s[0] / CELL), -abs(thing.x), -thing.s[1]
    layer = -abs(thing.x) if isinstance(thing, Tree) else 0.0
    return -math.floor(thing.s / CELL), layer, -thing.s
