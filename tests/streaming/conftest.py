"""An engine whose class is the strongest colour, sources that are drawn, and small files."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fcn_edge.engines.base import Engine
from fcn_edge.frame import Frame, Result, Times
from fcn_edge.geometry import Sampling, stretch
from fcn_edge.spec import Head, ModelSpec, Preprocess
from fcn_edge.streaming.pipeline import Feed, Policy, run_feeds
from fcn_edge.streaming.sinks import Sink
from fcn_edge.streaming.sources import Source
from fcn_edge.streaming.summary import Summary

SIZE = (48, 64)
PALETTE = ((0, 0, 255), (0, 255, 0), (255, 0, 0))
TIMES = Times(1_000_000, 2_000_000, 3_000_000, 7_000_000)


class ColourEngine(Engine):
    """Scores are the channels of the input: class 0 blue, 1 green, 2 red."""

    target = "onnxruntime"
    runtime = "fake 1.0"

    def __init__(self) -> None:
        sampling = Sampling(stretch(SIZE[0], SIZE[0]), stretch(SIZE[1], SIZE[1]))
        preprocess = Preprocess(*SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        spec = ModelSpec("colours", ("blue", "green", "red"), PALETTE, 255, preprocess, Head("scores", sampling))
        super().__init__(spec, precision="fp32", execution="f32", path=Path("colours.onnx"))

    def _run(self, x: np.ndarray, place: object) -> np.ndarray:
        return x.transpose(0, 3, 1, 2).astype(np.float32)


class Drawn(Source):
    """`count` frames; frame n has its class in its upper half turn by turn, and blue below."""

    def __init__(self, count: int, size: tuple[int, int] = SIZE) -> None:
        super().__init__("drawn")
        self.length, self.size, self.given = count, size, 0

    def frames(self) -> Iterator[Frame]:
        for index in range(self.length or 0):
            self.given += 1
            yield Frame(picture(index, self.size or SIZE), index, time.monotonic_ns(), self.uri)


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Upper half of class `index % 3`, lower half blue; no two of 200 neighbours are equal."""
    image = np.full((*size, 3), (200, 20, 20), np.uint8)
    image[: size[0] // 2] = 20
    image[: size[0] // 2, :, index % 3] = 250
    image[-1, :, 1] = index % 200
    return image


def result_of(frame: Frame, class_map: np.ndarray, times: Times = TIMES) -> Result:
    """A result without an overlay, as an engine gives it."""
    return Result(frame, class_map, None, np.bincount(class_map.ravel(), minlength=3), True, times)


def run_into(
    source: Source, engine: Engine, sinks: Sequence[Sink], *, policy: Policy | None = None, **options: Any
) -> Summary:
    """A run of one source, which closes the sinks."""
    return run_feeds([Feed(source, sinks, policy)], engine, **options)


class AfterEach:
    """Progress that calls a function with the index of each frame that was handed to the sinks."""

    def __init__(self, function: Callable[[int], object]) -> None:
        self._function = function

    def update(self, task: str, done: int, total: int | None = None) -> None:
        self._function(done - 1)

    def note(self, text: str) -> None:
        """Drop it."""


def expected_class_map(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    class_map = np.zeros(size, np.uint8)
    class_map[: size[0] // 2] = index % 3
    return class_map


@pytest.fixture
def engine() -> ColourEngine:
    return ColourEngine()


@pytest.fixture
def drawn() -> Callable[..., Drawn]:
    return Drawn


@pytest.fixture
def write_video() -> Callable[..., Path]:
    def write(path: Path, count: int = 40, size: tuple[int, int] = (120, 160)) -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, size[::-1])
        noise = np.random.default_rng(0).integers(0, 255, (count, *size, 3), np.uint8)
        for image in noise:
            writer.write(image)
        writer.release()
        return path

    return write


@pytest.fixture
def write_images() -> Callable[..., list[Path]]:
    def write(folder: Path, count: int, size: tuple[int, int] = SIZE, suffix: str = ".png") -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"image{index:02d}{suffix}" for index in range(count)]
        for index, path in enumerate(paths):
            cv2.imwrite(str(path), picture(index, size))
        return paths

    return write


@pytest.fixture
def largest_file():
    """Lets this process write no file beyond so many bytes, as a full disk would; a block, since pytest writes too."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
