"""Batches for training: random crops or composed scenes, colours, and a share of supplement pictures."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.errors import BadInput
from fcn_edge.geometry import padded_to
from fcn_edge.registry import InputRecipe, Recipe
from fcn_edge.spec import FREE_SIZE_STEP
from fcn_edge.training.camera import photometric, with_camera, with_sensor
from fcn_edge.training.crops import Labelled, random_crop, whole_picture
from fcn_edge.training.reader import ImageReader
from fcn_edge.training.scenes import Scenes
from fcn_edge.training.settings import require_settings

Batch = tuple[np.ndarray, np.ndarray]
AHEAD = 3  # batches drawn while the network works
RARE = 0.02  # of the labelled pixels: classes below are thin or small


def normalised(image: np.ndarray, given: InputRecipe) -> np.ndarray:
    """(H, W, 3) uint8 BGR -> (3, H, W) float32 in the weights' order, mean and std."""
    rgb = (image[:, :, ::-1].astype(np.float32) - np.array(given.mean, np.float32)) / np.array(given.std, np.float32)
    ordered = rgb if given.channels == "rgb" else rgb[:, :, ::-1]
    return np.ascontiguousarray(ordered.transpose(2, 0, 1))


class EpochBatches:
    """Random crops of the set, with a fixed share of supplement pictures in each batch.

    backgrounds: sets whose pictures stand behind the figures of composed scenes. Raises BadInput
    where the recipe composes none.
    """

    def __init__(
        self, recipe: Recipe, data: Dataset, supplement: Dataset | None, backgrounds: Sequence[Dataset] = ()
    ) -> None:
        self.settings, self.recipe, self.data, self.supplement = require_settings(recipe), recipe, data, supplement
        share = self.settings.synthetic_share if supplement else 0.0
        self.extra = round(self.settings.batch * share)
        self.real = self.settings.batch - self.extra
        if len(data.items) < self.real:
            raise BadInput(f"{data.name}: {len(data.items)} images are fewer than the {self.real} of one batch")
        self.per_epoch = len(data.items) // self.real
        self.read = ImageReader(data)
        self.read_extra = ImageReader(supplement) if supplement else None
        self.scenes = None if self.settings.scenes is None else Scenes(self.settings, data, self.read, backgrounds)
        if self.scenes is None and backgrounds:
            raise BadInput(f"{recipe.name}: has no [train.scenes] section, so backgrounds are not used; leave them out")
        self.frequency = class_frequency(self.read, len(data.classes))

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches (N, 3, h, w) float32 and (N, h, w) int64 of one epoch."""
        rng = np.random.default_rng((self.settings.seed, epoch))
        order = rng.permutation(len(self.data.items))
        for step in range(self.per_epoch):
            pairs = [self.read(int(i)) for i in order[step * self.real : (step + 1) * self.real]]
            if self.read_extra is not None:
                pairs += [self.read_extra(int(i)) for i in rng.integers(0, len(self.read_extra), self.extra)]
            is_whole = epoch >= self.settings.epochs - self.settings.full_size_epochs
            yield self._batch([self._sample(pair, rng, is_whole) for pair in pairs])

    def _batch(self, samples: list[Batch]) -> Batch:
        images, labels = zip(*samples, strict=True)
        targets = np.stack(labels).astype(np.int64)
        targets[targets >= len(self.data.classes)] = self.data.ignore_index  # a supplement may ignore another value
        return np.stack(images), targets

    def _sample(self, pair: Labelled, rng: np.random.Generator, is_whole: bool) -> Batch:
        image, labels = self._picture(pair, rng, is_whole)
        image = with_sensor(photometric(image, self.settings.photometric, rng), self.settings.sensor, rng)
        return normalised(with_camera(image, self.settings.camera, rng), self.recipe.input), labels

    def _picture(self, pair: Labelled, rng: np.random.Generator, is_whole: bool) -> Labelled:
        given, settings, ignore = self.recipe.input, self.settings, self.data.ignore_index
        if self.scenes is not None and rng.random() < self.scenes.recipe.share:
            return self.scenes.draw(pair, _padded_size(given) if is_whole else settings.crop, rng)
        if is_whole:
            return whole_picture(*pair, given, rng, ignore)
        focus = self._rare_pixel(pair[1], rng) if rng.random() < settings.rare_share else None
        return random_crop(*pair, settings, rng, ignore, focus)

    def _rare_pixel(self, labels: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
        """(x, y) of a pixel of one of the picture's rare classes, each class as likely; None where it has none."""
        here = np.bincount(labels.ravel(), minlength=256)[: len(self.frequency)] > 0
        rare = np.flatnonzero(here & (self.frequency < RARE))
        if not rare.size:
            return None
        found = np.flatnonzero(labels == rng.choice(rare))
        y, x = divmod(int(rng.choice(found)), labels.shape[1])
        return x, y


def _padded_size(given: InputRecipe) -> tuple[int, int]:
    return padded_to(given.height, FREE_SIZE_STEP), padded_to(given.width, FREE_SIZE_STEP)


def class_frequency(read: ImageReader, classes: int) -> np.ndarray:
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
