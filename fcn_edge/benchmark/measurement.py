"""Measuring a benchmark record: one row for each variant, with its latency, its mIoU, its size and its memory.

Rounds of the variants are interleaved, so drift of the machine affects all of them equally.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.benchmark.cold_start import fresh_process
from fcn_edge.benchmark.partial import FinishedRow, Partial
from fcn_edge.benchmark.reference_workload import NAME as REFERENCE_WORKLOAD
from fcn_edge.benchmark.samples import SampleWriter
from fcn_edge.benchmark.sensors import EnergyMeter, conditions_now
from fcn_edge.benchmark.timing import STAGES, BenchOptions, Rounds, first_images, interleaved_rounds, paced
from fcn_edge.benchmark.variants import Variant
from fcn_edge.data import Dataset
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.engines import Engine, EngineOptions, open_engine
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.intervals import intervals_from_images
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.progress import SILENT, NamedTask, Progress
from fcn_edge.records import (
    REFERENCE,
    Latency,
    PacedRun,
    Percentiles,
    Record,
    RecordDevice,
    RecordRow,
    RowScores,
)
from fcn_edge.schedule import EVERY
from fcn_edge.schema import from_mapping, to_mapping

PACKAGES = ("fcn-edge", "numpy", "opencv-python", "onnx", "openvino", "onnxruntime", "torch", "tensorrt-rtx-cu12")


def measured_record(
    variants: Sequence[Variant],
    data: Dataset,
    *,
    options: BenchOptions = BenchOptions(),  # noqa: B008 - frozen
    folder: Path | None = None,
    pictures: bool = True,
    suite: str | None = None,
    command: str | None = None,
    calibration: Mapping[str, Any] = {},
    progress: Progress = SILENT,
) -> Record:
    """The record: rows of all variants on `data`, with device, versions, commit and date.

    Args:
        folder: where rows are kept as they are finished, so that a run that was cut short goes on from there, and
            where sample pictures go.
        suite, command, calibration: of how the variants were chosen and made, for the record.

    Raises what opening an engine or evaluating it raises.
    """
    partial = Partial(folder, data, options)
    samples = SampleWriter(folder if pictures else None, data)
    meter, before = EnergyMeter(), conditions_now()
    waiting = [variant for variant in variants if not partial.has(variant)]
    done = len(variants) - len(waiting)
    for first in range(0, len(waiting), options.together):
        group = waiting[first : first + options.together]
        progress.update("rows", done + first, len(variants))
        partial.add(group, _rows_of(group, data, options, meter, samples, progress))
    finished = partial.rows_of(variants)
    device = this_device()
    record = Record(
        data=data.name,
        classes=tuple(data.classes),
        rows=with_front([each.row for each in finished]),
        images=min(len(each.row.images) for each in finished),
        skipped=finished[0].skipped,
        protocol=to_mapping(options),
        reference_workload=REFERENCE_WORKLOAD,
        energy_source=meter.source,
        suite=suite,
        command=command,
        calibration=calibration,
        device=from_mapping(RecordDevice, {"name": device.name, **to_mapping(device)}, "device"),
        conditions={"before": before, "after": conditions_now()},
        versions={"python": sys.version.split()[0], **package_versions(PACKAGES)},
        commit=git_commit(),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    partial.forget()
    return record


def _rows_of(
    group: Sequence[Variant],
    data: Dataset,
    options: BenchOptions,
    meter: EnergyMeter,
    samples: SampleWriter,
    progress: Progress,
) -> list[FinishedRow]:
    """The rows of variants that are open at once."""
    with ExitStack() as stack:
        engines = [stack.enter_context(_opened(variant, options)) for variant in group]
        evaluations = [_evaluated(engine, data, progress) for engine in engines]
        images = first_images(data, options.frames)
        rounds = interleaved_rounds(engines, images, options, meter, progress)
        at_pace = [paced(engine, images, options) for engine in engines]
        rows = [_row(*parts) for parts in zip(group, engines, evaluations, rounds, at_pace, strict=True)]
        samples.write(engines, [row.name for row in rows])
    return [
        FinishedRow(_with_starts(variant, row), evaluation.skipped)
        for variant, row, evaluation in zip(group, rows, evaluations, strict=True)
    ]


def _with_starts(variant: Variant, row: RecordRow) -> RecordRow:
    """The row with what a process of its own measures."""
    found = fresh_process(variant)
    return replace(
        row,
        peak_rss_mb=found["peak_rss_mb"],
        cold_start_ms=found["cold_start_ms"],
        warm_start_ms=found["warm_start_ms"],
    )


def _opened(variant: Variant, options: BenchOptions) -> Engine:
    chosen = EngineOptions(variant.execution, options.threads, schedule=variant.schedule)
    return open_engine(variant.path, target=variant.target, options=chosen)


def _evaluated(engine: Engine, data: Dataset, progress: Progress) -> Evaluation:
    task = f"mIoU {engine.precision} {engine.target} {engine.execution} {engine.schedule}".removesuffix(f" {EVERY}")
    return evaluate(engine, data, progress=NamedTask(progress, task))


def _row(
    variant: Variant, engine: Engine, evaluation: Evaluation, rounds: Rounds, at_pace: PacedRun | None
) -> RecordRow:
    stages = {name: np.array([getattr(t, f"{name}_ns") for t in rounds.times]) / 1e6 for name in STAGES}
    total = np.sum(list(stages.values()), axis=0)
    latency, end_to_end = Latency.of(stages["infer"]), Latency.of(total)
    is_even = engine.schedule == EVERY
    energy_mj, power_w = _energy(rounds)
    preprocess = engine.spec.preprocess
    return RecordRow(
        model=engine.spec.name,
        target=engine.target,
        runtime=engine.runtime,
        precision=engine.precision,
        execution=engine.execution,
        schedule=engine.schedule,
        placement=_placement(variant.path),
        height=preprocess.height,
        width=preprocess.width,
        model_sha256=engine.model_sha256,
        weights=engine.spec.weights_terms,
        miou=evaluation.scores.miou,
        miou_ci=intervals_from_images(evaluation.images, engine.spec.num_classes).miou,
        latency_ms=latency,
        end_to_end_ms=end_to_end,
        stages_ms={name: Percentiles.of(values) for name, values in stages.items()},
        **per_round(rounds),
        warmup_frames=rounds.warmup,
        fps=1000 / (latency.p50 if is_even else float(stages["infer"].mean())),
        end_to_end_fps=1000 / (end_to_end.p50 if is_even else float(total.mean())),
        paced=at_pace,
        energy_mj=energy_mj,
        power_w=power_w,
        size_mb=round(_size(variant.path) / 1e6, 2),
        scores=RowScores.of(evaluation.scores, evaluation.images),
    )


def per_round(rounds: Rounds) -> dict[str, Any]:
    """What a row holds of each round: CPU time of a frame, preemptions, and the reference workload's times."""
    return {
        "cpu_ms": _rounded(rounds.cpu_ms),
        "preemptions": _rounded(rounds.preemptions),
        "workload_ms": _rounded(rounds.workload_ms),
        "workload_cpu_ms": _rounded(rounds.workload_cpu_ms),
    }


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)


def _energy(rounds: Rounds) -> tuple[float | None, float | None]:
    """(mJ of a frame, W of all that the device spent meanwhile); None where it does not report them."""
    reported = [(j, s) for j, s in zip(rounds.joules, rounds.seconds, strict=True) if j is not None]
    if not reported:
        return None, None
    joules, seconds = (sum(part) for part in zip(*reported, strict=True))
    frames = len(rounds.times) * len(reported) / len(rounds.joules)
    return round(1000 * joules / frames, 2), round(joules / seconds, 2)


def _placement(path: Path) -> str | None:
    """The Q/DQ placement of the file that runs; None where there is none."""
    file = path / "model.onnx" if path.is_dir() else path
    if file.suffix != ".onnx" or not file.is_file():
        return None
    return contract_from_onnx(file).quantization.placement or None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.glob("model.*"))


def with_front(rows: Sequence[RecordRow]) -> tuple[RecordRow, ...]:
    """The rows, each with whether it is on the Pareto front: none is at least as fast and accurate and better in one.

    Of a row that is not, `dominated_by` names the fastest that beats it. The reference run does not compete.
    """
    competing = [row for row in rows if row.target != REFERENCE]
    marked = []
    for row in rows:
        fastest = min((other for other in competing if _beats(other, row)), key=lambda o: o.frame_ms, default=None)
        is_front = fastest is None and row.target != REFERENCE
        marked.append(replace(row, pareto=is_front, dominated_by=None if fastest is None else fastest.name))
    return tuple(marked)


def _beats(one: RecordRow, other: RecordRow) -> bool:
    ours, theirs = ((row.frame_ms, -(row.miou or 0)) for row in (one, other))
    return ours[0] <= theirs[0] and ours[1] <= theirs[1] and ours != theirs
