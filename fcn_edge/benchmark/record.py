"""A benchmark record: one row a variant, each row with its latency, its mIoU, its size and its memory.

The variants take turns, so that a slow minute of the machine falls on all of them alike.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.benchmark.cold_start import fresh_process
from fcn_edge.benchmark.partial import Partial
from fcn_edge.benchmark.reference_workload import NAME as YARDSTICK
from fcn_edge.benchmark.samples import SampleWriter
from fcn_edge.benchmark.sensors import EnergyMeter, conditions_now
from fcn_edge.benchmark.timing import STAGES, BenchOptions, Turns, alternating, first_images, paced, percentiles
from fcn_edge.benchmark.variants import Variant
from fcn_edge.data import Dataset
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.engines import Engine, EngineOptions, open_engine
from fcn_edge.evaluation import Evaluation, evaluate_engine
from fcn_edge.intervals import intervals_from_images
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.records import SCHEMA, frame_ms, key_of, name_of, sealed
from fcn_edge.schedule import EVERY
from fcn_edge.schema import to_mapping

PACKAGES = ("fcn-edge", "numpy", "opencv-python", "onnx", "openvino", "onnxruntime", "torch", "tensorrt-rtx-cu12")

Progress = Callable[[str, int, int], None]


def record_from_engines(
    variants: Sequence[Variant],
    data: Dataset,
    *,
    options: BenchOptions = BenchOptions(),  # noqa: B008 - frozen
    folder: Path | None = None,
    pictures: bool = True,
    about: Mapping[str, Any] = {},
    on_progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """The record: rows of all variants on `data`, with device, versions, commit and date.

    folder: where rows are kept as they are finished, so that a run that was cut short goes on from there, and
    where sample pictures go if there shall be `pictures`. about: what else the record shall say of how it was made.

    Raises what opening an engine or evaluating it raises.
    """
    partial = Partial(folder, data, options)
    samples = SampleWriter(folder if pictures else None, data)
    meter, before = EnergyMeter(), conditions_now()
    waiting = [variant for variant in variants if not partial.has(variant)]
    done = len(variants) - len(waiting)
    for first in range(0, len(waiting), options.together):
        group = waiting[first : first + options.together]
        on_progress("rows", done + first, len(variants))
        partial.add(group, _rows_of(group, data, options, meter, samples, on_progress))
    rows, skipped = partial.rows_of(variants), partial.skipped
    mark_front(rows)
    record = {
        "schema": SCHEMA,
        "data": data.name,
        "classes": list(data.classes),
        "images": min(len(row["scores"]["images"]) for row in rows),
        "skipped": skipped,
        "protocol": to_mapping(options),
        "yardstick": YARDSTICK,
        "energy_source": meter.source,
        **about,
        "rows": rows,
        "device": {**to_mapping(this_device()), "name": this_device().name},
        "conditions": {"before": asdict(before), "after": asdict(conditions_now())},
        "versions": {"python": sys.version.split()[0], **package_versions(PACKAGES)},
        "commit": git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    partial.forget()
    return sealed(record)


def _rows_of(
    group: Sequence[Variant],
    data: Dataset,
    options: BenchOptions,
    meter: EnergyMeter,
    samples: SampleWriter,
    on_progress: Progress,
) -> list[dict[str, Any]]:
    """The rows of variants that are open at once and take turns."""
    with ExitStack() as stack:
        engines = [
            stack.enter_context(
                open_engine(
                    v.path, target=v.target, options=EngineOptions(v.execution, options.threads, schedule=v.schedule)
                )
            )
            for v in group
        ]
        evaluations = [_evaluated(engine, data, on_progress) for engine in engines]
        images = first_images(data, options.frames)
        turns = alternating(engines, images, options, meter, lambda n, all_: on_progress("latency", n, all_))
        at_pace = [paced(engine, images, options) for engine in engines]
        rows = [_row(*parts) for parts in zip(group, engines, evaluations, turns, at_pace, strict=True)]
        samples.write(engines, [name_of(key_of(row)) for row in rows])
    for variant, row in zip(group, rows, strict=True):
        row |= fresh_process(variant)
    return rows


def _evaluated(engine: Engine, data: Dataset, on_progress: Progress) -> Evaluation:
    label = f"mIoU {engine.precision} {engine.target} {engine.execution} {engine.schedule}".removesuffix(f" {EVERY}")
    return evaluate_engine(engine, data, on_image=lambda done, total: on_progress(label, done, total))


def _row(
    variant: Variant, engine: Engine, evaluation: Evaluation, turns: Turns, at_pace: dict[str, Any] | None
) -> dict[str, Any]:
    stages = {name: np.array([getattr(t, f"{name}_ns") for t in turns.times]) / 1e6 for name in STAGES}
    total = np.sum(list(stages.values()), axis=0)
    latency, whole = percentiles(stages["infer"]), percentiles(total)
    preprocess = engine.spec.preprocess
    is_even, mean = engine.schedule == EVERY, round(float(stages["infer"].mean()), 3)
    return {
        "model": engine.spec.name,
        "target": engine.target,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "execution": engine.execution,
        "schedule": engine.schedule,
        "placement": _placement(variant.path),
        "height": preprocess.height,
        "width": preprocess.width,
        "model_sha256": sha256_of_file(engine.path),
        "weights": engine.spec.weights_terms,
        "miou": evaluation.scores.miou,
        "miou_ci": to_mapping(intervals_from_images(evaluation.images, engine.spec.num_classes).miou),
        "latency_ms": {**latency, "mean": mean, "raw": _rounded(stages["infer"])},
        "end_to_end_ms": {**whole, "raw": _rounded(total)},
        "stages_ms": {name: percentiles(values) for name, values in stages.items()},
        **per_turn(turns),
        "warmup_frames": turns.warmup,
        "fps": 1000 / (latency["p50"] if is_even else mean),
        "end_to_end_fps": 1000 / (whole["p50"] if is_even else float(total.mean())),
        "paced": at_pace,
        **_energy(turns),
        "size_mb": round(_size(variant.path) / 1e6, 2),
        "pareto": False,
        "dominated_by": None,
        "scores": {**to_mapping(evaluation.scores), "images": to_mapping(evaluation.images)},
        "skipped": list(evaluation.skipped),
    }


def per_turn(turns: Turns) -> dict[str, list[float]]:
    """What a row says of each turn: CPU time of a frame, preemptions, and the yardstick's time and CPU time."""
    lists = {name: getattr(turns, name) for name in ("cpu_ms", "preemptions", "yardstick_ms", "yardstick_cpu_ms")}
    return {name: [round(value, 4) for value in values] for name, values in lists.items()}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]


def _energy(turns: Turns) -> dict[str, float | None]:
    """Of a frame, and of all that the device spent meanwhile; None where it does not tell."""
    told = [(j, s) for j, s in zip(turns.joules, turns.seconds, strict=True) if j is not None]
    if not told:
        return {"energy_mj": None, "power_w": None}
    joules, seconds = (sum(part) for part in zip(*told, strict=True))
    frames = len(turns.times) * len(told) / len(turns.joules)
    return {"energy_mj": round(1000 * joules / frames, 2), "power_w": round(joules / seconds, 2)}


def _placement(path: Path) -> str | None:
    """Where Q/DQ stands in the file that runs; None where there is none."""
    file = path / "model.onnx" if path.is_dir() else path
    if file.suffix != ".onnx" or not file.is_file():
        return None
    return contract_from_onnx(file).quantization.placement or None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.glob("model.*"))


def mark_front(rows: Sequence[dict[str, Any]]) -> None:
    """A row is on the front when no other is at least as fast and as accurate, and better in one.

    Of a row that is not, `dominated_by` names the fastest that beats it. The reference run does not compete.
    """
    for row in rows:
        beating = [other for other in rows if other["target"] != "reference" and _beats(other, row)]
        fastest = min(beating, key=frame_ms, default=None)
        row["pareto"] = fastest is None and row["target"] != "reference"
        row["dominated_by"] = None if fastest is None else name_of(key_of(fastest))


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    ours, theirs = ((frame_ms(row), -(row["miou"] or 0)) for row in (one, other))
    return ours[0] <= theirs[0] and ours[1] <= theirs[1] and ours != theirs
