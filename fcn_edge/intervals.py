"""How far a score would move on other frames of the same drives, and whether two runs really differ.

Frames of a video are not independent: its neighbours are as hard as a frame is. So blocks of
neighbours are drawn with replacement, and every score is computed anew from the summed confusion
matrices of what was drawn. Two runs on the same images are compared on the same draws.

- Blocks: Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
  Statistics 1989; on a ring, so that each frame is drawn equally often: Politis and Romano, "A circular
  block-resampling procedure for stationary data", 1992. A set of single images has blocks of one.
- Sequences are joined end to end and drawn from as one. Holding each sequence's share fixed (strata)
  leaves out how sequences differ.
- Length: by how much the influence of a frame on the score resembles its neighbour's, where frames of
  one sequence follow each other (lag-1 correlation rho, with Kendall's correction for few frames):
  (sqrt(6) rho / (1 - rho^2))^(2/3) N^(1/3), for AR(1) the best of Carlstein, "The use of subseries
  values", Annals of Statistics 1986.
- Blocks that are cut leave out what ties one to the next, which at rho = 0.8 is a fifth of the spread.
  It is put back by the same rho: the ratio of AR(1)'s long-run variance to what blocks of that length see.
- Limits: the score, plus and minus Student's quantile for so many blocks times that spread.

Coverage of the 95 % interval, measured as tests/test_intervals.py does on 1,000 sets of 100 frames:
96, 94, 93 and 92 % where neighbours correlate by 0, 0.5, 0.8 and 0.9 (correlation of the images' difficulty).
It speaks of frames of these sequences: how another drive scores, it cannot tell.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.metrics import ImageScore, confusion_from_cells, iou_from_confusion, miou_from_iou

LEVEL = 0.95
HIGHEST_CORRELATION = 0.97  # beyond that a set of a few hundred frames cannot tell how long its memory is
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


def intervals_from_images(images: Sequence[ImageScore], num_classes: int, *, resamples: int = RESAMPLES) -> Intervals:
    """Intervals of a run's scores from its images in frame order; the same ones each time."""
    ours = _confusions(images, num_classes)
    blocks = _blocks_of(images, _influence(ours))
    if blocks.are_too_few:
        return _no_intervals(blocks, num_classes)
    drawn = _scores(_resampled(ours, blocks.length, resamples))
    return _intervals(_scores(ours.sum(0)), drawn, blocks, (0.0, 1.0))


def difference_from_images(
    images: Sequence[ImageScore], others: Sequence[ImageScore], num_classes: int, *, resamples: int = RESAMPLES
) -> Difference:
    """`images` less `others`, paired by the images' content and labels, each draw scoring both runs.

    Raises BadInput where the two were not scored on the same images with the same labels.
    """
    ours = _confusions(images, num_classes)
    theirs = _confusions(_paired(images, others, num_classes), num_classes)
    found = _scores(ours.sum(0)) - _scores(theirs.sum(0))
    values = [None if np.isnan(value) else float(value) for value in found]
    blocks = _blocks_of(images, _influence(ours) - _influence(theirs))
    if blocks.are_too_few:
        return Difference(values[0], values[1], tuple(values[2:]), _no_intervals(blocks, num_classes), None)
    drawn = _scores(_resampled(ours, blocks.length, resamples)) - _scores(_resampled(theirs, blocks.length, resamples))
    better = float(np.nanmean((np.sign(drawn[:, 0]) + 1) / 2)) if values[0] is not None else None
    intervals = _intervals(found, drawn, blocks, (-1.0, 1.0))
    return Difference(values[0], values[1], tuple(values[2:]), intervals, better)


@dataclass(frozen=True)
class _Blocks:
    """How `count` images are drawn, and by what the spread of each score is multiplied (S,)."""

    count: int
    length: int
    widen: np.ndarray

    @property
    def are_too_few(self) -> bool:
        return self.count < FEWEST_BLOCKS * self.length


def _blocks_of(images: Sequence[ImageScore], influence: np.ndarray) -> _Blocks:
    """influence: (N, S), of each image on each score; the first score, mIoU, decides the length."""
    follows = np.array([one.sequence == other.sequence for one, other in zip(images, images[1:])], bool)
    rho = correlation_of(influence, follows)
    longest = max(Counter(image.sequence for image in images).values(), default=1)
    length = min(block_length(float(rho[0]), len(images)), longest)
    return _Blocks(len(images), length, np.array([widening(value, length) for value in rho.tolist()]))


def correlation_of(series: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """(S,) lag-1 correlations, 0 to 0.97, of (N, S); follows: (N - 1,) bool, where a row continues the one before.

    Source of the correction: Kendall, "Note on bias in the estimation of autocorrelation", Biometrika 1954.
    """
    count, pairs = len(series), int(follows.sum())
    if count <= FEWEST_BLOCKS or pairs < FEWEST_BLOCKS:
        return np.zeros(series.shape[1])
    centred = series - series.mean(0)
    variance = (centred**2).mean(0)
    shared = (centred[1:] * centred[:-1])[follows].sum(0) / pairs
    rho = np.divide(shared, variance, out=np.zeros(len(variance)), where=variance > 0)
    corrected = (pairs * rho + 1) / (pairs - 3)
    return np.where(variance > 0, np.clip(corrected, 0, HIGHEST_CORRELATION), 0.0)


def block_length(correlation: float, count: int) -> int:
    """Neighbours that are drawn together; at most so many that six blocks remain."""
    best = (6**0.5 * correlation / (1 - correlation**2)) ** (2 / 3) * count ** (1 / 3)
    return max(1, min(round(best), count // FEWEST_BLOCKS))


def widening(correlation: float, length: int) -> float:
    """By how much blocks of `length` understate the spread of a mean, where neighbours correlate so (AR(1))."""
    lags = np.arange(1, length)
    seen = 1 + 2 * float(((1 - lags / length) * correlation**lags).sum())
    return float(((1 + correlation) / (1 - correlation) / seen) ** 0.5)


def _influence(confusions: np.ndarray) -> np.ndarray:
    """(N, 2 + C): by how much each score falls when one image is left out; 0 where it then does not exist."""
    total = confusions.sum(0)
    return np.asarray(np.nan_to_num(_scores(total) - _scores(total - confusions)))


def _no_intervals(blocks: _Blocks, num_classes: int) -> Intervals:
    reason = f"{blocks.count} images are too few for an interval, which takes {FEWEST_BLOCKS * blocks.length}"
    return Intervals(None, None, (None,) * num_classes, blocks.length, reason)


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


def _intervals(found: np.ndarray, drawn: np.ndarray, blocks: _Blocks, bounds: Interval) -> Intervals:
    """Of the scores `found` (S,) from those of the resamples (R, S), inside `bounds`."""
    limits = [
        _limits(value, column, blocks.count / blocks.length, widen, bounds)
        for value, column, widen in zip(found.tolist(), drawn.T, blocks.widen.tolist(), strict=True)
    ]
    return Intervals(limits[0], limits[1], tuple(limits[2:]), blocks.length)


def _limits(value: float, drawn: np.ndarray, blocks: float, widen: float, bounds: Interval) -> Interval | None:
    exist = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(exist) <= LEVEL * len(drawn):
        return None
    spread = widen * float(exist.std()) * (blocks / (blocks - 1)) ** 0.5  # of so few, an estimate is low
    half = student_quantile((1 + LEVEL) / 2, blocks - 1) * spread
    return max(bounds[0], value - half), min(bounds[1], value + half)


def student_quantile(share: float, freedom: float) -> float:
    """Below it Student's distribution of so many degrees of freedom (4 or more) holds `share`.

    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z = NormalDist().inv_cdf(share)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return float(t + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3))


def _paired(images: Sequence[ImageScore], others: Sequence[ImageScore], num_classes: int) -> list[ImageScore]:
    """`others` in the order of `images`: by content, labels and, where both occur more than once, their order.

    Raises BadInput where the runs did not score the same images with the same labels.
    """
    ours, theirs = (Counter(image.sha256 for image in run) for run in (images, others))
    if ours != theirs:
        raise BadInput(
            f"this run scored {len(images)} images, the other {len(others)}, and {(ours & theirs).total()} of them are"
            " the same: compare runs on the same images, with the same `data` and `limit`"
        )
    waiting: dict[_Pair, deque[ImageScore]] = defaultdict(deque)
    for image in others:
        waiting[_pair(image, num_classes)].append(image)
    partners = [queue.popleft() for image in images if (queue := waiting[_pair(image, num_classes)])]
    if len(partners) < len(images):
        raise BadInput(
            f"the labels of {len(images) - len(partners)} of {len(images)} images are not those that the other run was"
            " scored with: evaluate both again on the same labels"
        )
    return partners


_Pair = tuple[str, tuple[tuple[int, int], ...]]


def _pair(image: ImageScore, num_classes: int) -> _Pair:
    """What an image and its labels are known by: content, and labelled pixels of each class."""
    labelled: Counter[int] = Counter()
    for index, count in image.cells:
        labelled[index // num_classes] += count
    return image.sha256, tuple(sorted(labelled.items()))
