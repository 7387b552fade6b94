"""Turns and times: warming up until steady, variants taking turns beside the yardstick, a paced camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from fcn_edge.bench.sensors import EnergyMeter
from fcn_edge.bench.yardstick import Yardstick
from fcn_edge.data import Dataset
from fcn_edge.engines import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Style, Times
from fcn_edge.stream.pipeline import segment

STAGES = ("input", "infer", "view")
STEADY = 0.1  # relative: two medians of neighbouring windows that differ by less
WINDOW = 5  # frames
MOST_WARMUP = 100
BESIDE = 2  # times the yardstick is measured before a turn, and again after it


@dataclass(frozen=True)
class BenchOptions:
    """rounds: turns that each variant takes, of `frames` frames each. warmup: frames before them, at least.

    camera_fps: of the paced run, of `paced_frames` frames; 0 for none. together: variants that are open at
    once and take turns; the yardstick ties one such group to the next.
    """

    rounds: int = 10
    frames: int = 10
    warmup: int = 5
    threads: int | None = None
    camera_fps: float = 30.0
    paced_frames: int = 60
    together: int = 8


@dataclass
class Turns:
    """All that was measured of one variant: each frame's times, and for each turn the yardstick's and the energy."""

    warmup: int
    times: list[Times] = field(default_factory=list)
    yardstick_ms: list[float] = field(default_factory=list)
    joules: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def alternating(
    engines: Sequence[Engine],
    images: Sequence[np.ndarray],
    options: BenchOptions,
    meter: EnergyMeter,
    on_round: Callable[[int, int], None],
) -> list[Turns]:
    """The turns of each engine. The reference run, which nobody ships, takes one."""
    style = Style()
    found = [Turns(warmed_up(engine, images, options.warmup)) for engine in engines]
    with Yardstick(options.threads or engines[0].workspace.threads) as yardstick:
        yardstick.measured_ms()
        for number in range(options.rounds):
            for engine, turns in zip(engines, found, strict=True):
                if engine.target != "reference" or not number:
                    _take_turn(engine, images, options.frames, style, turns, yardstick, meter)
            on_round(number + 1, options.rounds)
    return found


def _take_turn(
    engine: Engine,
    images: Sequence[np.ndarray],
    frames: int,
    style: Style,
    turns: Turns,
    yardstick: Yardstick,
    meter: EnergyMeter,
) -> None:
    beside = [yardstick.measured_ms() for _ in range(BESIDE)]
    segment(_frame(images, 0), engine, style)  # wakes its threads and caches; not counted
    energy, watts, started = meter.joules(), meter.watts(), time.monotonic()
    turns.times.extend(segment(_frame(images, index), engine, style)[1] for index in range(frames))
    seconds = time.monotonic() - started
    after, watts_after = meter.joules(), meter.watts()
    beside += [yardstick.measured_ms() for _ in range(BESIDE)]
    turns.yardstick_ms.append(median(beside))
    turns.seconds.append(seconds)
    if energy is not None and after is not None:
        turns.joules.append(after - energy if after >= energy else None)  # the counter wrapped
    else:
        powers = [value for value in (watts, watts_after) if value is not None]
        turns.joules.append(seconds * sum(powers) / len(powers) if powers else None)


def warmed_up(engine: Engine, images: Sequence[np.ndarray], least: int) -> int:
    """Run frames until two windows of them take the same time; how many that took."""
    style, spent = Style(), list[float]()
    while len(spent) < MOST_WARMUP:
        _, times = segment(_frame(images, len(spent)), engine, style)
        spent.append(times.infer_ns)
        if len(spent) >= max(least, 2 * WINDOW):
            before, now = median(spent[-2 * WINDOW : -WINDOW]), median(spent[-WINDOW:])
            if abs(now - before) <= STEADY * before:
                break
        elif engine.target == "reference" and len(spent) >= least:
            break
    return len(spent)


def paced(engine: Engine, images: Sequence[np.ndarray], options: BenchOptions) -> dict[str, Any] | None:
    """What a camera of that rate would see: each frame is due when the next one comes.

    A frame that comes while another is under way waits, and an older one that waited is dropped: it was missed.
    """
    if not options.camera_fps or engine.target == "reference":
        return None
    period, style = 1 / options.camera_fps, Style()
    started, number, answers, missed = time.monotonic(), 0, list[float](), 0
    while number < options.paced_frames:
        due = started + number * period
        time.sleep(max(0.0, due - time.monotonic()))
        segment(_frame(images, number), engine, style)
        answers.append(1000 * (time.monotonic() - due))
        missed += answers[-1] > 1000 * period
        newest = max(number + 1, int((time.monotonic() - started) / period))
        missed += min(newest, options.paced_frames) - number - 1
        number = newest
    return {
        "camera_fps": options.camera_fps, "frames": options.paced_frames, "missed": missed,
        "answer_ms": percentiles(np.array(answers)),
    }  # fmt: skip


def first_images(data: Dataset, count: int) -> list[np.ndarray]:
    """At most `count` images (H, W, 3) uint8 BGR, passing by those that do not decode."""
    images: list[np.ndarray] = []
    for index in range(len(data.items)):
        if len(images) == count:
            break
        try:
            images.append(data.items[index].image())
        except BadInput:  # named by the evaluation already
            continue
    return images


def percentiles(values: np.ndarray) -> dict[str, float]:
    """p50, p90, p95 and p99: each one of the values, so a time that was measured."""
    return {f"p{q}": round(float(np.percentile(values, q, method="nearest")), 3) for q in (50, 90, 95, 99)}


def _frame(images: Sequence[np.ndarray], index: int) -> Frame:
    return Frame(images[index % len(images)], index, time.monotonic_ns(), "bench")
