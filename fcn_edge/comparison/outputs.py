"""From scores to class maps on both sides: upsampling and arg-max each with A's values, and the maps as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fcn_edge.comparison.artefact import Artefact
from fcn_edge.comparison.graph import argmax_node
from fcn_edge.errors import BadInput
from fcn_edge.geometry import Sampling
from fcn_edge.metrics import Scores, confusion_from_maps, scores_from_confusion
from fcn_edge.onnxgraph import attributes
from fcn_edge.transforms import class_map_from_output, class_map_from_scores, is_finite

NO_LABEL = 255
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FramePictures:
    """A frame (H, W, 3) uint8 BGR with both class maps (H, W) uint8. agreement: share of its pixels, 0..1."""

    name: str
    image: np.ndarray
    map_a: np.ndarray
    map_b: np.ndarray
    agreement: float


class ClassMaps:
    """Counts over the frames: where class maps agree, which classes move, and how each side does on labels."""

    def __init__(self, a: Artefact, b: Artefact) -> None:
        self.a, self.b = a, b
        classes = a.spec.num_classes
        self.pixels = self.same = self.outside = self.labelled = 0
        self.between, self.labels_a, self.labels_b = (np.zeros((classes, classes), np.int64) for _ in range(3))
        self.worst: FramePictures | None = None

    @property
    def agreement(self) -> float:
        """Share of pixels that both give the same class, 0..1."""
        return self.same / self.pixels

    def add(self, name: str, image: np.ndarray, labels: np.ndarray | None, y_a: np.ndarray, y_b: np.ndarray) -> None:
        """One frame (H, W, 3) uint8 BGR with its labels (H, W) uint8 or None, and both networks' outputs for it.

        Raises BadInput where scores are not finite.
        """
        for side, output in ((self.a, y_a), (self.b, y_b)):
            if not is_finite(output):
                raise BadInput(f"{side.path}: scores of {name} hold NaN or infinity; there is nothing to compare")
        size = (image.shape[0], image.shape[1])
        map_a = class_map_from_output(y_a[0], self.a.spec, size)
        map_b = class_map_from_output(y_b[0], self.b.spec, size)
        same = int((map_a == map_b).sum())
        self.pixels, self.same = self.pixels + map_a.size, self.same + same
        if self.worst is None or same / map_a.size < self.worst.agreement:
            self.worst = FramePictures(name, image, map_a, map_b, same / map_a.size)
        classes = self.a.spec.num_classes
        alien = (map_a >= classes) | (map_b >= classes)
        self.outside += int(alien.sum())
        a, b = np.where(alien, NO_LABEL, map_a), np.where(alien, 0, map_b)
        self.between += confusion_from_maps(a, b, classes)
        if labels is not None:
            self.labelled += 1
            known = np.where(alien, NO_LABEL, labels)
            self.labels_a += confusion_from_maps(known, np.where(alien, 0, map_a), classes)
            self.labels_b += confusion_from_maps(known, b, classes)

    def scores(self) -> tuple[Scores | None, Scores | None]:
        """Of A and of B on the labels; None where no frame had labels, or pixels had no class at all."""
        if not self.labelled or self.outside:
            return None, None
        return scores_from_confusion(self.labels_a), scores_from_confusion(self.labels_b)


class Tails:
    """The last two stages, at network size: pixels that differ where both sample A's scores, and wrong arg-maxes.

    grids: height and width of the scores that each side's class map is sampled from, once they were seen.
    """

    def __init__(self, a: Artefact, b: Artefact) -> None:
        self.a, self.b = a, b
        self.pixels = self.resampled = 0
        self.shift_cells = 0.0
        self.grids: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.argmax_pixels = dict.fromkeys((a.name, b.name), 0)
        self.argmax_wrong = dict.fromkeys((a.name, b.name), 0)

    def add(self, ours: Tensors, held: Tensors | None, theirs: Tensors) -> None:
        """One frame: A's tensors, B's with A's in their place (None: unknown), and B's as they are."""
        for side, tensors in ((self.a, ours), (self.b, theirs)):
            self._check_argmax(side, tensors)
        scores = _scores(self.a, ours)
        sampled = _scores(self.b, held) if held is not None else self._same_scores(scores, _scores(self.b, theirs))
        if scores is None or sampled is None:
            return
        self.grids = scores.shape[1:], sampled.shape[1:]
        mine, other = self.a.spec.head.sampling, self.b.spec.head.sampling
        if scores.shape == sampled.shape:
            self.shift_cells = max(self.shift_cells, _shift(mine, other))
        wanted = class_map_from_scores(scores, mine)
        self.pixels += wanted.size
        self.resampled += int((wanted != class_map_from_scores(sampled, other)).sum())

    def _same_scores(self, ours: np.ndarray | None, theirs: np.ndarray | None) -> np.ndarray | None:
        """A's scores where B's would lie on the same grid: an engine shows no more than its output."""
        return ours if ours is not None and theirs is not None and ours.shape == theirs.shape else None

    def _check_argmax(self, side: Artefact, tensors: Tensors) -> None:
        scores = _scores(side, tensors)
        if scores is None or side.spec.head.kind != "classes":
            return
        wanted, found = scores.argmax(0), tensors[side.output][0]
        self.argmax_pixels[side.name] += wanted.size
        self.argmax_wrong[side.name] += wanted.size if wanted.shape != found.shape else int((wanted != found).sum())


def argmax_words(artefact: Artefact) -> str:
    """How the graph takes its arg-max, such as "over axis 2 of (1, 11, 64, 96)"."""
    node = argmax_node(artefact.model)
    assert node is not None
    black = np.zeros((1, *artefact.spec.preprocess.size, 3), np.uint8)
    shape = artefact.run(black)[node.input[0]].shape
    axis = attributes(node).get("axis", 0)
    return f"over axis {axis} of {shape}; the classes are axis {_class_axis(artefact, shape)}"


def _scores(artefact: Artefact, tensors: Tensors) -> np.ndarray | None:
    """(C, h, w) float32 that the class map is taken from; None where an engine or a graph does not show it."""
    if artefact.spec.head.kind != "classes":
        return tensors[artefact.output][0].astype(np.float32)
    node = argmax_node(artefact.model)
    if node is None or node.input[0] not in tensors:
        return None
    value = tensors[node.input[0]]
    return np.moveaxis(value, _class_axis(artefact, value.shape), 1)[0].astype(np.float32)


def _class_axis(artefact: Artefact, shape: tuple[int, ...]) -> int:
    return 1 if shape[1] == artefact.spec.num_classes else len(shape) - 1


def _shift(a: Sampling, b: Sampling) -> float:
    """The largest distance, in cells, between where both look for the same pixel."""
    pairs = ((a.y, b.y), (a.x, b.x))
    return max(abs(m.cell(pixel) - o.cell(pixel)) for m, o in pairs for pixel in (0, m.valid - 1))
