"""The paper's four metrics of any engine on any labelled set, through the pipeline that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style, Times
from fcn_edge.metrics import ImageScore, Scores, confusion_from_maps, scores_from_confusion, sparse_cells
from fcn_edge.stream.pipeline import stream
from fcn_edge.stream.sources import source_from_dataset


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set, each image's own confusion, and how long each image took."""

    scores: Scores
    images: tuple[ImageScore, ...]
    times: tuple[Times, ...]
    confusion: np.ndarray


def evaluate_engine(
    engine: Engine,
    dataset: Dataset,
    *,
    limit: int | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Run the set through the engine and compare class maps with labels at the labels' size.

    Raises:
        BadInput: the set has other classes than the network, or a label file is unfit (named).
    """
    require_same_classes(engine, dataset)
    total = min(len(dataset.items), limit or len(dataset.items))
    classes = engine.spec.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    images, times = [], []
    for frame, view, spent in stream(source_from_dataset(dataset), engine, style=Style(overlay=False), limit=total):
        if frame.labels is None:
            raise BadInput(f"{frame.source}: no labels to compare with")
        found = confusion_from_maps(frame.labels, view.class_map, classes)
        confusion += found
        item = dataset.items[frame.index]
        images.append(ImageScore(item.sha256(), item.sequence, sparse_cells(found)))
        times.append(spent)
        on_image(len(images), total)
    return Evaluation(scores_from_confusion(confusion), tuple(images), tuple(times), confusion)


def require_same_classes(engine: Engine, dataset: Dataset) -> None:
    """Raises BadInput where names or order of the classes differ."""
    if engine.spec.classes == dataset.classes:
        return
    ours, theirs = engine.spec.classes, dataset.classes
    if len(ours) != len(theirs):
        raise BadInput(f"{dataset.name} has {len(theirs)} classes, {engine.spec.name} has {len(ours)}")
    first = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    raise BadInput(f"{dataset.name}: class {first} is {theirs[first]!r}; in {engine.spec.name} it is {ours[first]!r}")
