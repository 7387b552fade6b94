"""Composed pictures: figures cut out by their labels and placed on other backgrounds.

A portrait shows one figure that fills it. A webcam's frames are wide: their figures are small,
several, cut off by the border, or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.errors import BadInput
from fcn_edge.registry import TrainRecipe
from fcn_edge.schema import nearest
from fcn_edge.training.backdrops import drawn_backdrop
from fcn_edge.training.camera import photometric
from fcn_edge.training.crops import Labelled, placement, random_angle, stretched, turned
from fcn_edge.training.reader import ImageReader

LARGEST_REDUCED = 0.3  # scale up to which photos are averaged down before they are sampled
CUT_AT_TOP = 0.1  # of a photo's top row: a figure that covers more is placed so that the border cuts it off, too
LARGEST_SINK = 0.35  # of a photo's height, below the picture
DESK_SHARE = 0.25  # of scenes, where a desk hides the lower ends of the figures
OUT_OF_FOCUS = 0.25  # share of backgrounds that are blurred
GRID = 12  # cells along a photo's side in which its background is looked for
SMALLEST_FREE = 0.06  # of a photo: a smaller free part is no background


class CutOut(NamedTuple):
    """A photo, its figure's mask (H, W) uint8 of 0 and 255, its affine map into the picture, and its height there."""

    image: np.ndarray
    mask: np.ndarray
    matrix: np.ndarray
    height: float


class Scenes:
    """Composes pictures by a recipe's [train.scenes] section.

    read: the training set's items, whose figures are cut out. backgrounds: sets that stand behind
    them; their pixels of `figures_elsewhere` and those without a label are ignored. Raises BadInput
    where the set has no class of the name that the recipe gives.
    """

    def __init__(self, settings: TrainRecipe, data: Dataset, read: ImageReader, backgrounds: Sequence[Dataset]) -> None:
        if settings.scenes is None:
            raise BadInput("scenes are composed by a [train.scenes] section, and the recipe has none")
        self.settings, self.recipe, self.read, self.ignore = settings, settings.scenes, read, data.ignore_index
        self.figure = _class_of(self.recipe.figure, data)
        self.background = _class_of(self.recipe.background, data)
        self.sources = [(ImageReader(each), self._label_table(each)) for each in backgrounds]

    def _label_table(self, source: Dataset) -> np.ndarray:
        """(256,) uint8: what a label of a background set is in a scene."""
        table = np.full(256, self.ignore, np.uint8)
        for number, name in enumerate(source.classes):
            if name not in self.recipe.figures_elsewhere:
                table[number] = self.background
        return table

    def draw(self, pair: Labelled, size: tuple[int, int], rng: np.random.Generator) -> Labelled:
        """A scene (h, w, 3) uint8 and its labels (h, w) uint8. The figure of `pair` is in it, unless it is empty."""
        image, labels = self._backdrop(size, rng)
        if rng.random() < OUT_OF_FOCUS:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 4.0))
        if rng.random() < self.recipe.empty:
            return image, labels
        more = int(rng.integers(0, self.recipe.most)) if rng.random() < 0.5 else 0
        pairs = [pair, *(self.read(int(i)) for i in rng.integers(0, len(self.read), more))]
        ground = size[0] * (1 - rng.uniform(0.05, 0.3)) if rng.random() < DESK_SHARE else float(size[0])
        cut_outs = [self._cut_out(each, size, ground, rng) for each in pairs]
        for each in sorted(cut_outs, key=lambda each: each.height):  # the larger a figure, the nearer
            image, labels = self._with_figure(image, labels, each, rng)
        self._draw_desk(image, labels, ground, rng)
        return image, labels

    def _cut_out(self, pair: Labelled, size: tuple[int, int], ground: float, rng: np.random.Generator) -> CutOut:
        """The figure of a photo, scaled and placed so that the photo's lower edge is at `ground` or below."""
        photo, labels = pair
        mask = np.where(labels == self.figure, np.uint8(255), np.uint8(0))
        low, high = np.log(self.recipe.scales)
        height = size[0] * float(np.exp(rng.uniform(low, high)))
        if (mask[0] > 0).mean() > CUT_AT_TOP:
            height = max(height, size[0] * rng.uniform(1.0, 1.4))
        scales = stretched(height / photo.shape[0], self.settings.stretch, rng)
        wide, tall = photo.shape[1] * scales[0], photo.shape[0] * scales[1]
        degrees = random_angle(self.settings.rotation, rng)
        sink = rng.uniform(0, LARGEST_SINK) * tall + abs(np.sin(np.radians(degrees))) * wide / 2
        top = min(ground - tall + sink, 0.6 * size[0])
        left = rng.uniform(-0.05, 1.05) * size[1] - wide / 2
        photo, mask, reduced = _reduced(photo, mask, scales)
        matrix = placement(reduced, (-left, -top), size[1], is_flipped=rng.random() < 0.5)
        return CutOut(photo, mask, turned(matrix, (left + wide / 2, top + tall / 2), degrees), height)

    def _with_figure(self, image: np.ndarray, labels: np.ndarray, figure: CutOut, rng: np.random.Generator) -> Labelled:
        """The figure over the picture; its edge is soft, and the label changes where half of it is seen."""
        size = image.shape[1::-1]
        photo = cv2.warpAffine(figure.image, figure.matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        mask = cv2.warpAffine(figure.mask, figure.matrix, size, flags=cv2.INTER_LINEAR)
        opacity = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.0)).astype(np.float32)[..., None] / 255
        photo = photometric(photo, self.settings.photometric / 2, rng)
        mixed = image + (photo.astype(np.float32) - image) * opacity
        return np.round(mixed).astype(np.uint8), np.where(opacity[..., 0] >= 0.5, np.uint8(self.figure), labels)

    def _draw_desk(self, image: np.ndarray, labels: np.ndarray, ground: float, rng: np.random.Generator) -> None:
        """Hide what is below `ground` by a drawn surface."""
        top = int(ground)
        if top < len(image):
            image[top:] = drawn_backdrop((len(image) - top, image.shape[1]), rng)
            labels[top:] = self.background

    def _backdrop(self, size: tuple[int, int], rng: np.random.Generator) -> Labelled:
        """A background and its labels: drawn, of a background set, or the free part of another photo."""
        if self.sources and rng.random() >= self.recipe.drawn:
            choice = int(rng.integers(len(self.sources) + 1))
            if choice < len(self.sources):
                read, table = self.sources[choice]
                image, labels = read(int(rng.integers(len(read))))
                return _random_part(image, cv2.LUT(labels, table), size, rng)
            image, labels = self.read(int(rng.integers(len(self.read))))
            free = free_rectangle(labels == self.background)
            if free is not None:
                part = image[free]
                return _random_part(part, np.full(part.shape[:2], self.background, np.uint8), size, rng)
        return drawn_backdrop(size, rng), np.full(size, self.background, np.uint8)


def _class_of(name: str, data: Dataset) -> int:
    if name not in data.classes:
        raise BadInput(f"{data.name}: has no class {name!r}, which [train.scenes] names{nearest(name, data.classes)}")
    return data.classes.index(name)


def _reduced(
    photo: np.ndarray, mask: np.ndarray, scales: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Photo and mask averaged down, as far as `scales` allow, and the scales that are left."""
    if max(scales) > LARGEST_REDUCED:
        return photo, mask, scales
    size = [max(1, round(2 * side * scale)) for side, scale in zip(photo.shape[1::-1], scales, strict=True)]
    left = tuple(side * scale / new for side, scale, new in zip(photo.shape[1::-1], scales, size, strict=True))
    small, thin = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (photo, mask))
    return small, thin, (left[0], left[1])


def _random_part(image: np.ndarray, labels: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Labelled:
    """A random part of a picture, of the shape of `size` within a fifth, at that size, flipped by chance."""
    height, width = image.shape[:2]
    shape = size[1] / size[0] * np.exp(rng.uniform(-0.2, 0.2))
    share = rng.uniform(0.4, 1.0)
    wide, tall = (max(1, int(share * side)) for side in (min(width, height * shape), min(height, width / shape)))
    x, y = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - tall + 1))
    step = -1 if rng.random() < 0.5 else 1
    part, marked = (each[y : y + tall, x : x + wide][:, ::step] for each in (image, labels))
    smooth = cv2.INTER_AREA if tall > size[0] else cv2.INTER_LINEAR
    return (
        cv2.resize(np.ascontiguousarray(part), size[::-1], interpolation=smooth),
        cv2.resize(np.ascontiguousarray(marked), size[::-1], interpolation=cv2.INTER_NEAREST),
    )


def free_rectangle(free: np.ndarray) -> tuple[slice, slice] | None:
    """The largest rectangle of a coarse grid in which every pixel of `free` (H, W) is true; None where it is small."""
    rows, columns = (np.linspace(0, side, min(GRID, side) + 1).astype(int) for side in free.shape)
    sums = cv2.integral((~free).astype(np.uint8))[np.ix_(rows, columns)]
    count = len(rows) - 1
    best, found = SMALLEST_FREE * count * (len(columns) - 1), None
    for top in range(count):
        for bottom in range(top + 1, count + 1):
            line = sums[bottom] - sums[top]
            taken = line[None, :] - line[:, None]  # from a left to a right column
            left, right = np.nonzero(np.triu(taken == 0, 1))
            if not left.size:
                break  # a taller one is not free either
            areas = (right - left) * (bottom - top)
            widest = int(areas.argmax())
            if areas[widest] >= best:
                best, found = areas[widest], (top, bottom, left[widest], right[widest])
    if found is None:
        return None
    top, bottom, start, end = found
    return slice(rows[top], rows[bottom]), slice(columns[start], columns[end])
