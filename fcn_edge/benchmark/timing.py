"""Timing: warming up until steady, rounds of variants interleaved beside the reference workload, a paced camera."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from fcn_edge.benchmark.reference_workload import ReferenceWorkload
from fcn_edge.benchmark.sensors import EnergyMeter
from fcn_edge.data import Dataset
from fcn_edge.engines import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Style, Times
from fcn_edge.progress import Progress
from fcn_edge.records import PacedRun, Percentiles

STAGES = ("input", "infer", "view")
STEADY = 0.1  # relative: two medians of neighbouring windows that differ by less
WINDOW = 5  # frames
MOST_WARMUP = 100


@dataclass(frozen=True)
class BenchOptions:
    """How long and how often is measured.

    Args:
        rounds: of each variant, of `frames` frames each; `gate` needs 6 or more.
        warmup: frames before them, at least.
        threads: of each engine's compute; None for all that it takes by itself.
        camera_fps: of the paced run, of `paced_frames` frames; 0 for none.
        together: variants that are open at once and whose rounds are interleaved; the reference workload makes one
            such group comparable with the next.
    """

    rounds: int = 10
    frames: int = 10
    warmup: int = 5
    threads: int | None = None
    camera_fps: float = 30.0
    paced_frames: int = 60
    together: int = 8


@dataclass
class Rounds:
    """What was measured of one variant.

    times: of each frame. All else is of each round: cpu_ms: CPU time of a frame, of all threads together, which other
    processes hardly change. preemptions: how often another process took a core away. workload_ms, workload_cpu_ms: of
    the reference workload, which is timed before and after each frame. joules: None where the device reports none.
    """

    warmup: int
    times: list[Times] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    workload_ms: list[float] = field(default_factory=list)
    workload_cpu_ms: list[float] = field(default_factory=list)
    joules: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def interleaved_rounds(
    engines: Sequence[Engine],
    images: Sequence[np.ndarray],
    options: BenchOptions,
    meter: EnergyMeter,
    progress: Progress,
) -> list[Rounds]:
    """The rounds of each engine. The reference run, which is not for use, has one."""
    style = Style()
    measured = [Rounds(warmed_up(engine, images, options.warmup)) for engine in engines]
    with ReferenceWorkload(options.threads or engines[0].workspace.threads) as workload:
        workload.measured_ms()
        for number in range(options.rounds):
            for engine, rounds in zip(engines, measured, strict=True):
                if engine.target != "reference" or not number:
                    _measure_round(engine, images, options.frames, style, rounds, workload, meter)
            progress.update("latency", number + 1, options.rounds)
    return measured


def _measure_round(
    engine: Engine,
    images: Sequence[np.ndarray],
    frames: int,
    style: Style,
    rounds: Rounds,
    workload: ReferenceWorkload,
    meter: EnergyMeter,
) -> None:
    first = rounds.warmup + len(rounds.times) + len(rounds.seconds)  # frames so far: schedules go on from there
    engine.segment(_frame(images, first), style)  # wakes its threads and caches; not counted
    beside, cpu_ms, joules = [workload.measured_ms()], list[float](), list[float | None]()
    seconds, preemptions = 0.0, 0
    for index in range(first + 1, first + 1 + frames):
        energy, cpu, started, before = meter.reading(), time.process_time_ns(), time.monotonic(), _preemptions()
        rounds.times.append(engine.segment(_frame(images, index), style).times)
        took = time.monotonic() - started
        cpu_ms.append((time.process_time_ns() - cpu) / 1e6)
        preemptions += _preemptions() - before
        joules.append(meter.joules_since(energy, took))
        seconds += took
        beside.append(workload.measured_ms())
    rounds.cpu_ms.append(median(cpu_ms))
    rounds.preemptions.append(preemptions)
    rounds.workload_ms.append(median(wall for wall, _ in beside))
    rounds.workload_cpu_ms.append(median(cpu for _, cpu in beside))
    reported = [value for value in joules if value is not None]
    rounds.joules.append(sum(reported) if len(reported) == frames else None)
    rounds.seconds.append(seconds)


def _preemptions() -> int:
    """Of all threads of this process so far: switches that they did not ask for by waiting."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def warmed_up(engine: Engine, images: Sequence[np.ndarray], least: int) -> int:
    """Run frames until two windows of them take the same time; how many frames that were."""
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


def paced(engine: Engine, images: Sequence[np.ndarray], options: BenchOptions) -> PacedRun | None:
    """Frames at a camera's rate: each has to be done when the next one comes.

    A frame that comes while another is in flight waits, and an older one that waited is dropped: it was missed.
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
    return PacedRun(options.camera_fps, options.paced_frames, missed, Percentiles.of(np.array(answers)))


def first_images(data: Dataset, count: int) -> list[np.ndarray]:
    """At most `count` images (H, W, 3) uint8 BGR, without those that do not decode."""
    images: list[np.ndarray] = []
    for index in range(len(data.items)):
        if len(images) == count:
            break
        try:
            images.append(data.items[index].image())
        except BadInput:  # named by the evaluation already
            continue
    return images


def _frame(images: Sequence[np.ndarray], index: int) -> Frame:
    """The images forwards and backwards, so that a video has no cut."""
    there = index % max(1, 2 * len(images) - 2)
    return Frame(images[min(there, 2 * len(images) - 2 - there)], index, time.monotonic_ns(), "bench")
