"""Turns and times: warming up until steady, variants taking turns beside the yardstick, a paced camera."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from fcn_edge.benchmark.reference_workload import Yardstick
from fcn_edge.benchmark.sensors import EnergyMeter
from fcn_edge.data import Dataset
from fcn_edge.engines import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Style, Times
from fcn_edge.percentiles import nearest_rank

STAGES = ("input", "infer", "view")
STEADY = 0.1  # relative: two medians of neighbouring windows that differ by less
WINDOW = 5  # frames
MOST_WARMUP = 100


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
    """All that was measured of one variant: each frame's times, and for each turn the yardstick's and the energy.

    cpu_ms: CPU time of a frame, of all threads together, which other processes hardly change; the yardstick is
    timed before and after each frame. preemptions: of a turn, how often another process took a core away meanwhile.
    """

    warmup: int
    times: list[Times] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    yardstick_ms: list[float] = field(default_factory=list)
    yardstick_cpu_ms: list[float] = field(default_factory=list)
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
    first = turns.warmup + len(turns.times) + len(turns.seconds)  # frames before this turn: schedules go on from there
    engine.segment(_frame(images, first), style)  # wakes its threads and caches; not counted
    beside, used, joules, seconds = [yardstick.measured_ms()], list[float](), list[float | None](), 0.0
    taken = 0
    for index in range(first + 1, first + 1 + frames):
        energy, cpu, started, before = meter.reading(), time.process_time_ns(), time.monotonic(), _preemptions()
        turns.times.append(engine.segment(_frame(images, index), style).times)
        took = time.monotonic() - started
        used.append((time.process_time_ns() - cpu) / 1e6)
        taken += _preemptions() - before
        joules.append(meter.joules_since(energy, took))
        seconds += took
        beside.append(yardstick.measured_ms())
    turns.cpu_ms.append(median(used))
    turns.preemptions.append(taken)
    turns.yardstick_ms.append(median(wall for wall, _ in beside))
    turns.yardstick_cpu_ms.append(median(cpu for _, cpu in beside))
    told = [value for value in joules if value is not None]
    turns.joules.append(sum(told) if len(told) == frames else None)
    turns.seconds.append(seconds)


def _preemptions() -> int:
    """Of all threads of this process so far: switches that they did not ask for by waiting."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def warmed_up(engine: Engine, images: Sequence[np.ndarray], least: int) -> int:
    """Run frames until two windows of them take the same time; how many that took."""
    style, spent = Style(), list[float]()
    while len(spent) < MOST_WARMUP:
        spent.append(engine.segment(_frame(images, len(spent)), style).times.infer_ns)
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
        engine.segment(_frame(images, number), style)
        answers.append(1000 * (time.monotonic() - due))
        missed += answers[-1] > 1000 * period
        newest = max(number + 1, int((time.monotonic() - started) / period))
        missed += min(newest, options.paced_frames) - number - 1
        number = newest
    return {
        "camera_fps": options.camera_fps,
        "frames": options.paced_frames,
        "missed": missed,
        "answer_ms": percentiles(np.array(answers)),
    }


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
    """p50, p90, p95 and p99 by nearest rank."""
    wanted = (50, 90, 95, 99)
    return {f"p{q}": round(value, 3) for q, value in zip(wanted, nearest_rank(values, wanted), strict=True)}


def _frame(images: Sequence[np.ndarray], index: int) -> Frame:
    """The images to and fro, so that a video goes on without a cut."""
    there = index % max(1, 2 * len(images) - 2)
    return Frame(images[min(there, 2 * len(images) - 2 - there)], index, time.monotonic_ns(), "bench")
