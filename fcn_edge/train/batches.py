"""Batches for training: random crops, colours, and a share of supplement pictures; numpy and OpenCV only."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import cv2
import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.errors import BadInput
from fcn_edge.geometry import padded_to
from fcn_edge.shelf import InputRecipe, Recipe, TrainRecipe
from fcn_edge.spec import FREE_SIZE_STEP

Batch = tuple[np.ndarray, np.ndarray]
AHEAD = 3  # batches drawn while the network works
RARE = 0.02  # of the labelled pixels: classes below are thin or small


def require_plan(recipe: Recipe) -> TrainRecipe:
    """The recipe's [train] section. Raises BadInput where there is none, or its values cannot be."""
    plan = recipe.train
    if plan is None:
        raise BadInput(f"{recipe.name}: this recipe has no [train] section")
    wrong = [
        words
        for is_fine, words in (
            (plan.epochs >= 1, f"epochs {plan.epochs}, expected 1 or more"),
            (plan.batch >= 1, f"batch {plan.batch}, expected 1 or more"),
            (min(plan.crop) >= 1, f"crop {plan.crop[0]}x{plan.crop[1]}, expected pixels"),
            (_fits_stride(recipe), f"crop {plan.crop[0]}x{plan.crop[1]}, expected multiples of {FREE_SIZE_STEP}"),
            (0 < plan.scales[0] <= plan.scales[1], f"scales {plan.scales}, expected two above 0, the smaller first"),
            (plan.learning_rate > 0, f"learning_rate {plan.learning_rate:g}, expected above 0"),
            (0 <= plan.synthetic_share < 1, f"synthetic_share {plan.synthetic_share:g}, expected 0 up to below 1"),
            (plan.photometric >= 0, f"photometric {plan.photometric:g}, expected 0 or more"),
            (plan.jaccard >= 0, f"jaccard {plan.jaccard:g}, expected 0 or more"),
            (0 <= plan.sensor <= 1, f"sensor {plan.sensor:g}, expected 0 to 1"),
            (0 <= plan.rare_share <= 1, f"rare_share {plan.rare_share:g}, expected 0 to 1"),
            (0 <= plan.average < 1, f"average {plan.average:g}, expected 0 up to below 1"),
            (0 < plan.warm_up < 1, f"warm_up {plan.warm_up:g}, expected a share above 0 and below 1"),
            (plan.backbone_rate >= 0, f"backbone_rate {plan.backbone_rate:g}, expected 0 or more"),
            (
                0 <= plan.full_size_epochs <= plan.epochs,
                f"full_size_epochs {plan.full_size_epochs}, expected 0 to {plan.epochs}, the epochs",
            ),
        )
        if not is_fine
    ]
    if wrong:
        raise BadInput(f"{recipe.name}: [train] {'; '.join(wrong)}")
    return plan


def _fits_stride(recipe: Recipe) -> bool:
    """Networks of "same" geometry train on crops that need no padding."""
    crop = recipe.train.crop if recipe.train else (0, 0)
    return recipe.network.geometry != "same" or all(side % FREE_SIZE_STEP == 0 for side in crop)


def normalised(image: np.ndarray, given: InputRecipe) -> np.ndarray:
    """(H, W, 3) uint8 BGR -> (3, H, W) float32 in the weights' order, mean and std."""
    rgb = (image[:, :, ::-1].astype(np.float32) - np.array(given.mean, np.float32)) / np.array(given.std, np.float32)
    ordered = rgb if given.channels == "rgb" else rgb[:, :, ::-1]
    return np.ascontiguousarray(ordered.transpose(2, 0, 1))


class EpochBatches:
    """Random crops of the set, with a fixed share of supplement pictures in each batch."""

    def __init__(self, recipe: Recipe, data: Dataset, supplement: Dataset | None) -> None:
        self.plan, self.recipe, self.data, self.supplement = require_plan(recipe), recipe, data, supplement
        share = self.plan.synthetic_share if supplement else 0.0
        self.extra = round(self.plan.batch * share)
        self.real = self.plan.batch - self.extra
        if len(data.items) < self.real:
            raise BadInput(f"{data.name}: {len(data.items)} images are fewer than the {self.real} of one batch")
        self.per_epoch = len(data.items) // self.real
        self.read = Reader(data)
        self.read_extra = Reader(supplement) if supplement else None
        self.frequency = class_frequency(self.read, len(data.classes))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches (N, 3, h, w) float32 and (N, h, w) int64 of one epoch."""
        rng = np.random.default_rng((self.plan.seed, epoch))
        order = rng.permutation(len(self.data.items))
        for step in range(self.per_epoch):
            pairs = [self.read(int(i)) for i in order[step * self.real : (step + 1) * self.real]]
            if self.read_extra is not None:
                pairs += [self.read_extra(int(i)) for i in rng.integers(0, len(self.read_extra), self.extra)]
            is_whole = epoch >= self.plan.epochs - self.plan.full_size_epochs
            yield self._batch([self._sample(pair, rng, is_whole) for pair in pairs])

    def _batch(self, samples: list[Batch]) -> Batch:
        images, labels = zip(*samples, strict=True)
        targets = np.stack(labels).astype(np.int64)
        targets[targets >= len(self.data.classes)] = self.data.ignore_index  # a supplement may ignore another value
        return np.stack(images), targets

    def _sample(self, pair: Batch, rng: np.random.Generator, is_whole: bool) -> Batch:
        given, plan, ignore = self.recipe.input, self.plan, self.data.ignore_index
        if is_whole:
            image, labels = whole_picture(*pair, given, rng, ignore)
        else:
            focus = self._rare_pixel(pair[1], rng) if rng.random() < plan.rare_share else None
            image, labels = random_crop(*pair, plan, rng, ignore, focus)
        image = with_sensor(photometric(image, plan.photometric, rng), plan.sensor, rng)
        return normalised(image, given), labels

    def _rare_pixel(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
        """(x, y) of a pixel of one of the picture's rare classes, each class as likely; None where it has none."""
        here = np.bincount(labels.ravel(), minlength=256)[: len(self.frequency)] > 0
        rare = np.flatnonzero(here & (self.frequency < RARE))
        if not rare.size:
            return None
        found = np.flatnonzero(labels == rng.choice(rare))
        y, x = divmod(int(rng.choice(found)), labels.shape[1])
        return x, y


class Reader:
    """Items by number, decoded once and kept."""

    def __init__(self, dataset: Dataset) -> None:
        self.items, self.cache = dataset.items, dict[int, Batch]()

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, number: int) -> Batch:
        if number not in self.cache:
            item = self.items[number]
            self.cache[number] = (item.image(), item.labels())
        return self.cache[number]


def class_frequency(read: Reader, classes: int) -> np.ndarray:
    """(C,) share of each class in the labelled pixels."""
    counts = sum(np.bincount(read(i)[1].ravel(), minlength=256)[:classes] for i in range(len(read)))
    return np.asarray(counts / max(1, np.sum(counts)))


def balance_weights(frequency: np.ndarray, exponent: float) -> np.ndarray | None:
    """(C,) float32 loss weights frequency ** -exponent, scaled so that the mean pixel weighs 1; None for 0."""
    if exponent == 0:
        return None
    frequency = np.maximum(frequency, 1e-4)
    weights = frequency**-exponent
    return np.asarray(weights / (weights * frequency).sum(), np.float32)


def random_crop(
    image: np.ndarray,
    labels: np.ndarray,
    plan: TrainRecipe,
    rng: np.random.Generator,
    ignore: int,
    focus: tuple[int, int] | None = None,
) -> Batch:
    """Randomly scaled, flipped and cropped image (h, w, 3) and labels (h, w); outside is ignored.

    focus: a pixel (x, y) of the picture that the crop must hold.
    """
    scale = float(np.exp(rng.uniform(np.log(plan.scales[0]), np.log(plan.scales[1]))))
    height, width = plan.crop
    # One affine map does scale, flip and crop, so only the crop's pixels are computed.
    left = _crop_start(image.shape[1] * scale, width, None if focus is None else focus[0] * scale, rng)
    top = _crop_start(image.shape[0] * scale, height, None if focus is None else focus[1] * scale, rng)
    return _warped(image, labels, (height, width), (scale, scale), (left, top), rng.random() < 0.5, ignore)


def _crop_start(length: float, crop: int, focus: float | None, rng: np.random.Generator) -> float:
    """Where a crop begins in a side of `length` pixels: anywhere that fits, with `focus` inside."""
    low, high = min(0.0, length - crop), max(0.0, length - crop)
    if focus is not None:
        low, high = max(low, min(high, focus - crop + 1)), min(high, max(low, focus))
    return float(rng.uniform(low, high))


def whole_picture(
    image: np.ndarray, labels: np.ndarray, given: InputRecipe, rng: np.random.Generator, ignore: int
) -> Batch:
    """The picture at the network's input size, padded as at inference, flipped by chance."""
    scale = given.width / image.shape[1], given.height / image.shape[0]
    size = padded_to(given.height, FREE_SIZE_STEP), padded_to(given.width, FREE_SIZE_STEP)
    flip = rng.random() < 0.5
    left = float(given.width - size[1]) if flip else 0.0  # padding stays on the right of a flipped picture
    return _warped(image, labels, size, scale, (left, 0.0), flip, ignore)


def _warped(
    image: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    scale: tuple[float, float],
    start: tuple[float, float],
    flip: bool,
    ignore: int,
) -> Batch:
    height, width = size
    sign, shift = (-1.0, start[0] + width - 1) if flip else (1.0, -start[0])
    # Half a pixel: centres of pixels, not their corners, are scaled.
    matrix = np.array([
        [sign * scale[0], 0, shift + sign * (scale[0] - 1) / 2],
        [0, scale[1], (scale[1] - 1) / 2 - start[1]],
    ])  # fmt: skip
    mean_colour = tuple(float(v) for v in image.reshape(-1, 3)[::97].mean(0))
    cropped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=mean_colour)
    marked = cv2.warpAffine(labels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=float(ignore))
    return cropped, marked


def photometric(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, gamma, saturation and colour cast, each by up to `strength`."""
    if strength == 0:
        return image
    gain, contrast, gamma, saturation = np.exp(rng.uniform(-strength, strength, 4) * (1, 1, 1, 1.5))
    table = (np.arange(256) / 255.0) ** gamma * 255.0 * gain
    table = (table - 110.0) * contrast + 110.0
    cast = np.exp(rng.uniform(-strength, strength, 3) * 0.3)
    tables = np.clip(table[:, None] * cast, 0, 255).astype(np.uint8)
    toned = cv2.LUT(image, tables[None])
    grey = cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY)
    return cv2.addWeighted(toned, saturation, cv2.merge([grey] * 3), 1 - saturation, 0)


def with_sensor(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A `share` of pictures out of focus (sigma up to 1.2 pixels), and a share with noise (up to 10 levels)."""
    if rng.random() < share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < share:
        noise = rng.normal(0.0, rng.uniform(2.0, 10.0), image.shape).astype(np.float32)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Draw the next batches in a thread while the network works on this one."""
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue()
    room = threading.Semaphore(AHEAD)
    is_over = threading.Event()

    def draw() -> None:
        try:
            for batch in batches:
                ready.put(batch)
                room.acquire()
                if is_over.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # handed over and raised in the caller's thread
            ready.put(error)

    threading.Thread(target=draw, name="batches", daemon=True).start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            room.release()
            yield batch
    finally:  # the caller has had enough: let the thread go
        is_over.set()
        room.release()
