"""The paper's four metrics of any engine on any labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from fcn_edge.data import DataLike, Dataset, Item, open_dataset
from fcn_edge.data.base import FilePair, sha256_of_pixels
from fcn_edge.data.notes import Notes
from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Result, Style, Times
from fcn_edge.metrics import ImageScore, Scores, confusion_from_maps, scores_from_confusion, sparse_cells
from fcn_edge.progress import SILENT, Progress
from fcn_edge.spec import require_same_classes
from fcn_edge.streaming.capture import Capture
from fcn_edge.streaming.pipeline import segmented
from fcn_edge.streaming.sources import source_from_dataset

UNLABELLED = 255
NAMED = 5  # pairs of a warning; the rest are counted
MUCH_IGNORED = 0.2  # of the label pixels: beyond it a warning is given


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set, each image's own confusion, and how long each image took.

    skipped: images that do not decode, each with the reason; they count nowhere. trimap: scores of
    the pixels near a boundary between labels alone, where these were asked for. ignored: label pixels
    that count nowhere. predicted: pixels of each class in all class maps. pairs: each image's name, with
    the hash of its labels. notes: what was changed or passed over while the set was read.
    """

    scores: Scores
    images: tuple[ImageScore, ...]
    times: tuple[Times, ...]
    confusion: np.ndarray
    skipped: tuple[str, ...] = ()
    trimap: Scores | None = None
    ignored: int = 0
    predicted: tuple[int, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    notes: Notes = field(default_factory=Notes, compare=False)

    @property
    def ignored_share(self) -> float | None:
        """Of all label pixels; None where there are none."""
        total = self.ignored + int(self.confusion.sum())
        return self.ignored / total if total else None

    @property
    def without_labels(self) -> tuple[int, ...]:
        """Classes that no label holds."""
        return tuple(np.flatnonzero(self.confusion.sum(1) == 0).tolist())

    @property
    def never_predicted(self) -> tuple[int, ...]:
        """Classes that no class map holds, on ignored pixels neither."""
        return tuple(index for index, count in enumerate(self.predicted) if count == 0)

    @property
    def warnings(self) -> list[str]:
        """Why the scores may not mean what they seem to."""
        return [*self._warning_of_ignored(), *self._warnings_of_twins()]

    def _warning_of_ignored(self) -> list[str]:
        share = self.ignored_share
        if share is None or share <= MUCH_IGNORED:
            return []
        return [f"{share:.1%} of the label pixels are ignored and count nowhere; see whether their value is a class"]

    def _warnings_of_twins(self) -> list[str]:
        first: dict[str, tuple[str, str]] = {}
        twins = []
        for image, (name, labels) in zip(self.images, self.pairs):
            other, theirs = first.setdefault(image.sha256, (name, labels))
            if labels != theirs:
                twins.append(f"{other} and {name}")
        more = f", and {len(twins) - NAMED} pairs more" if len(twins) > NAMED else ""
        words = "the same picture, byte for byte, with different labels; remove one of both"
        return [f"{', '.join(twins[:NAMED])}{more}: {words}"] if twins else []


def evaluate(
    net: Engine,
    data: DataLike,
    *,
    limit: int | None = None,
    trimap: int | None = None,
    may_be_empty: bool = False,
    progress: Progress = SILENT,
) -> Evaluation:
    """Compare a network's class maps with labels, at the labels' size.

    Args:
        net: an open engine; frames go through it one at a time, as `net.segment` takes them.
        data: a data set by name (`camvid:DIR#val`) or open, the path of a folder, or (image, labels) pairs:
            (H, W, 3) uint8 BGR, and (H, W) class indices of the network, or 255 where nothing is labelled.
        limit: only the first so many images that decode.
        trimap: also score the pixels within so many pixels of a boundary between labels.
        may_be_empty: the data are a part of a set, of which no image has to decode.
        progress: told of each image.

    Returns:
        The scores, the confusion of each image, and its times.

    Raises:
        BadInput: the data have other classes than the network, a label file is unfit (named), no image decodes,
            or scores are not finite.

    Example:
        with open_engine("engine") as net:
            print(evaluate(net, "camvid:camvid#val").scores.miou)
    """
    dataset = open_dataset(data, classes=net.spec.classes, palette=net.spec.palette)
    require_same_classes(dataset.name, dataset.classes, net.spec.name, net.spec.classes)
    if limit is not None and limit < 1:
        raise BadInput(f"`limit` is {limit} images; at least 1 is possible")
    total = min(len(dataset.items), limit or len(dataset.items))
    tally = _Tally(net.spec.num_classes, trimap)
    skipped = list[str]()
    following = 0
    source = source_from_dataset(dataset, may_be_empty=may_be_empty)
    with Capture(source, "every", total) as frames:
        for result in segmented(frames, net, Style(overlay=False)):
            item = dataset.items[result.frame.index]
            if not result.is_finite:
                raise BadInput(
                    f"{net.path}: scores of {item.name} hold NaN or infinity; such a network has no accuracy"
                )
            skipped += _unreadable(dataset, following, result.frame.index)
            following = result.frame.index + 1
            tally.add(result, item)
            progress.update("evaluating", len(tally.images), total)
    if len(tally.images) < total:
        skipped += _unreadable(dataset, following, len(dataset.items))
    return tally.evaluation(skipped, dataset.notes)


class _Tally:
    """What is counted over the images of a set."""

    def __init__(self, classes: int, trimap: int | None) -> None:
        self.images: list[ImageScore] = []
        self._times: list[Times] = []
        self._pairs: list[tuple[str, str]] = []
        self._classes, self._trimap, self._ignored = classes, trimap, 0
        self._confusion, self._near = np.zeros((2, classes, classes), np.int64)
        self._predicted = np.zeros(classes, np.int64)

    def add(self, result: Result, item: Item) -> None:
        """Count one image. Raises BadInput where it has no labels."""
        labels = result.frame.labels
        if labels is None:
            raise BadInput(f"{result.frame.source}: no labels to compare with")
        counts = confusion_from_maps(labels, result.class_map, self._classes)
        self._confusion += counts
        self._predicted += result.pixels_per_class
        self._ignored += labels.size - int(counts.sum())
        if self._trimap is not None:
            band = np.where(boundary_band(labels, self._trimap), labels, UNLABELLED)
            self._near += confusion_from_maps(band, result.class_map, self._classes)
        self.images.append(ImageScore(item.sha256(), item.sequence, sparse_cells(counts)))
        self._pairs.append((item.name, sha256_of_pixels(labels)))
        self._times.append(result.times)

    def evaluation(self, skipped: Sequence[str], notes: Notes) -> Evaluation:
        return Evaluation(
            scores=scores_from_confusion(self._confusion),
            images=tuple(self.images),
            times=tuple(self._times),
            confusion=self._confusion,
            skipped=tuple(skipped),
            trimap=None if self._trimap is None else scores_from_confusion(self._near),
            ignored=self._ignored,
            predicted=tuple(self._predicted.tolist()),
            pairs=tuple(self._pairs),
            notes=notes,
        )


def boundary_band(labels: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels within `width` pixels of one whose label differs from a neighbour's.

    Labels that are ignored make boundaries too. Source: Kohli, Ladicky, Torr, "Robust higher order
    potentials for enforcing label consistency", IJCV 2009, where the band is called a trimap.
    """
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray((distance <= width) & bool(edge.any()))


def _unreadable(dataset: Dataset, start: int, stop: int) -> list[str]:
    """Why items start to stop, which the source left out, cannot be read.

    An image that does not decode is left out; labels that do not fit their image are a defect
    of the set. Raises BadInput for these.
    """
    reasons = []
    for index in range(start, stop):
        item = dataset.items[index]
        try:
            item.image()
        except BadInput as error:
            reasons.append(str(error))
        else:
            item.labels()
    return reasons


def require_fit_labels(dataset: Dataset) -> None:
    """Read every label file of a set on disk, so that none ends hours of measuring.

    Raises BadInput for the first that does not fit; those of a picture that does not decode count nowhere.
    """
    for index in range(len(dataset.items)):
        item = dataset.items[index]
        if isinstance(item, FilePair) and not _has_labels(item):
            _unreadable(dataset, index, index + 1)


def _has_labels(item: Item) -> bool:
    try:
        item.labels()
    except BadInput:
        return False
    return True
