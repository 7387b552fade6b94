"""Pairs whose labels are drawn from shapes: polygons, run lengths and masks of annotation files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fcn_edge.data.base import FilePair
from fcn_edge.data.labels import Layout, Samples, layout_from_bytes, other_size, placed_labels
from fcn_edge.data.notes import Notes
from fcn_edge.data.pictures import naming, picture_from_bytes
from fcn_edge.data.shapes import Overlap, Shape, drawn_shapes
from fcn_edge.errors import BadInput
from fcn_edge.spec import MAX_CLASSES

BACKGROUND = "background"
BACKGROUND_NAMES = ("background", "_background_", "__background__")
OUTSIDE = f"pixels outside every shape are {BACKGROUND}, class 0"
EMPTY = f"no shape, all {BACKGROUND}"


class ImageShapes(NamedTuple):
    """What an annotation file says of one image: height and width of the pixels it was drawn on, and its shapes.

    is_upright: its program shows pictures upright, so that shapes of the upright picture's size lie on it.
    """

    size: tuple[int, int]
    shapes: Sequence[Shape]
    is_upright: bool = False


@dataclass(frozen=True)
class DrawnPair(FilePair):
    """An image file, and how its shapes are read from an annotation file once the image's size is known."""

    read: Callable[[Layout], ImageShapes]
    overlap: Overlap
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)

    def image(self) -> np.ndarray:
        with naming(self.image_path):
            image, what = picture_from_bytes(self.image_bytes())
        self.notes.add(what, self.image_path.name)
        return image

    def labels(self) -> np.ndarray:
        with naming(self.image_path):
            layout = layout_from_bytes(self.image_bytes())
        with naming(self.label_path):
            drawing = self.read(layout)
            if drawing.size not in (layout.stored, layout.upright):
                raise BadInput(f"{other_size(drawing.size, layout.upright)} {self.image_path.name}")
            values, notes = drawn_shapes(drawing.shapes, drawing.size, self.overlap)
        is_placed = drawing.is_upright and drawing.size == layout.upright
        samples = Samples(values, 1 if is_placed else None)
        labels, what = placed_labels(samples, self.label_path, layout, self.image_path.name)
        for note in (what, *notes, "" if drawing.shapes else EMPTY):
            self.notes.add(note, self.image_path.name)
        return labels


def classes_with_background(names: Iterable[str], where: str) -> tuple[tuple[str, ...], list[int]]:
    """The classes, background first, and the index of each of `names` among them.

    A name that means background (such as labelme's `_background_`) is class 0.

    Raises:
        BadInput: no name, a name that stands twice, or too many of them.
    """
    classes, indices = [BACKGROUND], []
    for name in names:
        if name.lower() in BACKGROUND_NAMES:
            indices.append(0)
            continue
        if name in classes:
            raise BadInput(f"{where}: the class {name!r} more than once; each class has a name of its own")
        indices.append(len(classes))
        classes.append(name)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise BadInput(f"{where}: {len(classes) - 1} classes beside {BACKGROUND}; 1 to {MAX_CLASSES - 1} are possible")
    return tuple(classes), indices
