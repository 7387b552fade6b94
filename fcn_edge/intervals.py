"""How far a score would move on other frames of the same drives, and whether two runs really differ.

Frames of a video are not independent: its neighbours are as hard as a frame is. So blocks of
neighbours are drawn with replacement, and every score is computed anew from the summed confusion
matrices of what was drawn. Two runs on the same images are compared on the same draws.

- Blocks: Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
  Statistics 1989; on a ring, so that each frame is drawn equally often: Politis and Romano, "A circular
  block-resampling procedure for stationary data", 1992. A set of single images has blocks of one.
- Sequences are joined end to end and drawn from as one. Holding each sequence's share fixed (strata)
  leaves out how sequences differ: on five of 20 frames, correlation 0.8, that covers 65 %, this 85 %.
- Length: grows with the cube root (Hall, Horowitz, Jing, "On blocking rules for the bootstrap with
  dependent data", Biometrika 1995); the factor was chosen by coverage.
- Limits: the percentile interval expanded for few observations, which here are blocks (Hesterberg,
  "What teachers should know about the bootstrap", American Statistician 2015).

Coverage of the 95 % interval, measured as tests/test_intervals.py does on 100 frames: 95 % where frames
are independent, and 92, 87, 80 % where neighbours correlate by 0.5, 0.8, 0.9; with frames drawn one by
one 94, 75, 49, 33 %. It speaks of frames of these sequences: how another drive scores, it cannot tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.metrics import ImageScore, confusion_from_cells, iou_from_confusion, miou_from_iou

LEVEL = 0.95
RESAMPLES = 4000
BATCH = 250  # resamples at a time, so that memory stays small on sets of many thousand images
SEED = 1989
FEWEST_BLOCKS = 6  # below that the limits would be guesses about guesses

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """(low, high) of each score, fractions 0..1, or of each difference, -1..1.

    None where there is none: everywhere, with the reason, where the images are too few; for a score
    that does not exist in one resample of twenty, such as the IU of a class that a single image shows.
    """

    miou: Interval | None
    pixel_acc: Interval | None
    iou: tuple[Interval | None, ...]
    block_length: int
    reason: str = ""


@dataclass(frozen=True)
class Difference:
    """A run's scores less another's on the same images; None where one of the two has none.

    probability_better: share of the resamples in which this run's mIoU is the higher (equal ones
    count half); None where there is no interval.
    """

    miou: float | None
    pixel_acc: float | None
    iou: tuple[float | None, ...]
    intervals: Intervals
    probability_better: float | None

    @property
    def is_real(self) -> bool:
        """Whether the interval of the mIoU's difference excludes 0."""
        interval = self.intervals.miou
        return interval is not None and not interval[0] <= 0 <= interval[1]


def intervals_from_images(
    images: Sequence[ImageScore], num_classes: int, *, block_length: int | None = None, resamples: int = RESAMPLES
) -> Intervals:
    """Intervals of a run's scores from its images in frame order; the same ones each time.

    block_length: neighbouring images drawn together; by default as `block_length_of` says.
    """
    length = block_length or block_length_of(images)
    if len(images) < FEWEST_BLOCKS * length:
        return _no_intervals(len(images), num_classes, length)
    drawn = _scores(_resampled(_confusions(images, num_classes), length, resamples))
    return _intervals(drawn, len(images), length)


def difference_from_images(
    images: Sequence[ImageScore],
    others: Sequence[ImageScore],
    num_classes: int,
    *,
    block_length: int | None = None,
    resamples: int = RESAMPLES,
) -> Difference:
    """`images` less `others`, paired by the images' content, each draw scoring both runs.

    Raises BadInput where the two were not scored on the same images with the same labels.
    """
    ours = _confusions(images, num_classes)
    theirs = _confusions(_paired(images, others), num_classes)
    _require_same_labels(ours, theirs)
    found = _scores(ours.sum(0)) - _scores(theirs.sum(0))
    values = [None if np.isnan(value) else float(value) for value in found]
    length = block_length or block_length_of(images)
    if len(images) < FEWEST_BLOCKS * length:
        return Difference(
            values[0], values[1], tuple(values[2:]), _no_intervals(len(images), num_classes, length), None
        )
    drawn = _scores(_resampled(ours, length, resamples)) - _scores(_resampled(theirs, length, resamples))
    better = float(np.nanmean((np.sign(drawn[:, 0]) + 1) / 2)) if values[0] is not None else None
    return Difference(values[0], values[1], tuple(values[2:]), _intervals(drawn, len(images), length), better)


def block_length_of(images: Sequence[ImageScore]) -> int:
    """Three times the cube root of the longest sequence, at most that sequence; six blocks at least."""
    longest = max(Counter(image.sequence for image in images).values(), default=1)
    return max(1, min(round(3 * longest ** (1 / 3)), longest, len(images) // FEWEST_BLOCKS))


def _no_intervals(count: int, num_classes: int, length: int) -> Intervals:
    blocks = f" in blocks of {length}" if length > 1 else ""
    reason = f"{count} images{blocks} are too few for an interval, which takes {FEWEST_BLOCKS * length}"
    return Intervals(None, None, (None,) * num_classes, length, reason)


def _confusions(images: Sequence[ImageScore], num_classes: int) -> np.ndarray:
    """(N, C, C) float64, in which every count is exact."""
    counts = np.zeros((len(images), num_classes, num_classes))
    for number, image in enumerate(images):
        counts[number] = confusion_from_cells(image.cells, num_classes)
    return counts


def _scores(confusions: np.ndarray) -> np.ndarray:
    """(..., 2 + C) float64 of (..., C, C): mIoU, pixel accuracy, the IU of each class; NaN where there is none."""
    iou = iou_from_confusion(confusions)
    hits, total = np.trace(confusions, axis1=-2, axis2=-1), confusions.sum((-2, -1))
    accuracy = np.divide(hits, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.concatenate([miou_from_iou(iou)[..., None], accuracy[..., None], iou], -1)


def _resampled(confusions: np.ndarray, length: int, resamples: int) -> np.ndarray:
    """(resamples, C, C) float64: summed matrices of as many images as there are, in blocks on a ring.

    The draws depend on the arguments' sizes alone, so that two runs on the same images are paired.
    """
    count = len(confusions)
    images = confusions.reshape(count, -1)
    starts = np.random.default_rng(SEED).integers(0, count, (resamples, -(-count // length)))
    batches = (starts[first : first + BATCH] for first in range(0, resamples, BATCH))
    summed = [_times_drawn(batch, length, count) @ images for batch in batches]  # sums of integers: always the same
    return np.concatenate(summed).reshape(resamples, *confusions.shape[1:])


def _times_drawn(starts: np.ndarray, length: int, count: int) -> np.ndarray:
    """(B, count) float64, how often each image is drawn, from (B, blocks) first images; `count` draws a row."""
    drawn = (starts[:, :, None] + np.arange(length)).reshape(len(starts), -1)[:, :count] % count
    places = drawn + count * np.arange(len(starts))[:, None]
    times = np.bincount(places.ravel(), minlength=len(starts) * count)
    return times.reshape(len(starts), count).astype(np.float64)


def _intervals(drawn: np.ndarray, count: int, length: int) -> Intervals:
    """From (resamples, 2 + C) scores or differences."""
    tail = expanded_tail(count / length)
    limits = [_limits(column, tail) for column in drawn.T]
    return Intervals(limits[0], limits[1], tuple(limits[2:]), length)


def _limits(values: np.ndarray, tail: float) -> Interval | None:
    exist = values[~np.isnan(values)]
    if len(exist) <= LEVEL * len(values):
        return None
    low, high = np.quantile(exist, [tail, 1 - tail])
    return float(low), float(high)


def expanded_tail(blocks: float) -> float:
    """The share of resamples beyond each limit; 0.025 for endless blocks, less for few.

    Source: Hesterberg 2015, expanded percentile interval; the quantile of Student's distribution by
    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    normal, freedom = NormalDist(), blocks - 1
    z = normal.inv_cdf((1 + LEVEL) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return normal.cdf(-t * (blocks / freedom) ** 0.5)


def _paired(images: Sequence[ImageScore], others: Sequence[ImageScore]) -> list[ImageScore]:
    """`others` in the order of `images`."""
    ours, theirs = (Counter(image.sha256 for image in run) for run in (images, others))
    if ours != theirs:
        raise BadInput(
            f"this run scored {len(images)} images, the other {len(others)}, and {(ours & theirs).total()} of them are"
            " the same: compare runs on the same images, with the same --data and --limit"
        )
    by_content = {image.sha256: image for image in others}
    return [by_content[image.sha256] for image in images]


def _require_same_labels(ours: np.ndarray, theirs: np.ndarray) -> None:
    differ = (ours.sum(2) != theirs.sum(2)).any(1)
    if differ.any():
        raise BadInput(
            f"the labels of {differ.sum()} of {len(ours)} images are not those that the other run was scored with:"
            " evaluate both again on the same labels"
        )
