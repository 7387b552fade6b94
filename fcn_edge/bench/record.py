"""A benchmark record: one row a variant, each row with its latency, its mIoU, its size and its memory.

The variants take turns, so that a slow minute of the machine falls on all of them alike.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.data import Dataset
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES, Engine, EngineOptions, Target, available_targets, open_engine
from fcn_edge.engines.base import Execution
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.evaluate import Evaluation, evaluate_engine
from fcn_edge.frame import Frame, Style, Times
from fcn_edge.intervals import intervals_from_images
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.schema import to_mapping
from fcn_edge.stream.pipeline import segment

PACKAGES = ("fcn-edge", "numpy", "opencv-python", "onnx", "openvino", "onnxruntime", "torch", "tensorrt-rtx-cu12")
STAGES = ("input", "infer", "view")


@dataclass(frozen=True)
class Variant:
    """One file on one target in one execution."""

    path: Path
    target: Target
    execution: Execution


@dataclass(frozen=True)
class BenchOptions:
    """rounds: turns that each variant takes, of `frames` frames each; warmup: frames before them."""

    rounds: int = 10
    frames: int = 10
    warmup: int = 5
    threads: int | None = None


Progress = Callable[[str, int, int], None]


def variants_from_files(files: Sequence[Path], targets: Sequence[Target] = ()) -> list[Variant]:
    """Every file on every CPU target that is installed; fp32 files on OpenVINO in bf16 as well.

    A checkpoint runs in PyTorch, an engine directory as it was built.
    """
    return [variant for path in files for variant in _variants_of(path, targets)]


def _variants_of(path: Path, targets: Sequence[Target]) -> list[Variant]:
    if path.is_dir():
        with open_engine(path) as engine:
            return [Variant(path, engine.target, engine.execution)]
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        return [Variant(path, "pytorch", "f32")]
    chosen = targets or [target for target in available_targets() if target in ("openvino", "onnxruntime")]
    if not chosen:
        raise BackendMissing("no engine is installed to measure: pip install 'fcn-edge[cpu]'")
    variants = [Variant(path, target, "f32") for target in chosen]
    if "openvino" in chosen and _has_bf16() and contract_from_onnx(path).quantization.precision == "fp32":
        variants.insert(chosen.index("openvino") + 1, Variant(path, "openvino", "bf16"))
    return variants


def _has_bf16() -> bool:
    return this_device().has_bf16


def record_from_engines(
    variants: Sequence[Variant],
    data: Dataset,
    *,
    options: BenchOptions = BenchOptions(),
    on_progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """The record: rows of all variants on `data`, with device, versions, commit and date.

    Raises what opening an engine or evaluating it raises.
    """
    with ExitStack() as stack:
        engines = [
            stack.enter_context(
                open_engine(v.path, target=v.target, options=EngineOptions(v.execution, options.threads))
            )
            for v in variants
        ]
        evaluations = [_evaluated(engine, data, on_progress) for engine in engines]
        times = _alternating(engines, data, options, on_progress)
    rows = [
        _row(variant, engine, evaluation, spent)
        for variant, engine, evaluation, spent in zip(variants, engines, evaluations, times, strict=True)
    ]
    _mark_pareto(rows)
    return {
        "schema": 1,
        "data": data.name,
        "images": min(len(evaluation.images) for evaluation in evaluations),
        "skipped": list(evaluations[0].skipped),
        "protocol": to_mapping(options),
        "rows": rows,
        "device": {**to_mapping(this_device()), "name": this_device().name},
        "versions": {"python": sys.version.split()[0], **package_versions(PACKAGES)},
        "commit": git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _evaluated(engine: Engine, data: Dataset, on_progress: Progress) -> Evaluation:
    label = f"mIoU {engine.precision} {engine.target} {engine.execution}"
    return evaluate_engine(engine, data, on_image=lambda done, total: on_progress(label, done, total))


def _alternating(
    engines: Sequence[Engine], data: Dataset, options: BenchOptions, on_progress: Progress
) -> list[list[Times]]:
    images, style = _first_images(data, options.frames), Style()
    for engine in engines:
        for index in range(options.warmup):
            segment(_frame(images, index), engine, style)
    times: list[list[Times]] = [[] for _ in engines]
    for turn in range(options.rounds):
        for engine, spent in zip(engines, times, strict=True):
            segment(_frame(images, 0), engine, style)  # wakes its threads and caches; not counted
            spent.extend(segment(_frame(images, index), engine, style)[1] for index in range(options.frames))
        on_progress("latency", turn + 1, options.rounds)
    return times


def _first_images(data: Dataset, count: int) -> list[np.ndarray]:
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


def _frame(images: Sequence[np.ndarray], index: int) -> Frame:
    return Frame(images[index % len(images)], index, time.monotonic_ns(), "bench")


def _row(variant: Variant, engine: Engine, evaluation: Evaluation, times: Sequence[Times]) -> dict[str, Any]:
    stages = {name: np.array([getattr(t, f"{name}_ns") for t in times]) / 1e6 for name in STAGES}
    total = np.sum(list(stages.values()), axis=0)
    return {
        "model": engine.spec.name,
        "target": engine.target,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "execution": engine.execution,
        "placement": _placement(variant.path),
        "height": engine.spec.preprocess.height,
        "width": engine.spec.preprocess.width,
        "miou": evaluation.scores.miou,
        "miou_ci": to_mapping(intervals_from_images(evaluation.images, engine.spec.num_classes).miou),
        "latency_ms": {**_percentiles(stages["infer"]), "raw": [round(float(v), 3) for v in stages["infer"]]},
        "stages_ms": {name: _percentiles(values) for name, values in stages.items()},
        "fps": 1000 / _percentile(stages["infer"], 50),
        "end_to_end_fps": 1000 / _percentile(total, 50),
        "peak_rss_mb": peak_rss_mb(variant),
        "size_mb": round(_size(variant.path) / 1e6, 2),
        "pareto": False,
        "scores": {**to_mapping(evaluation.scores), "images": to_mapping(evaluation.images)},
    }


def _percentiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{q}": round(_percentile(values, q), 3) for q in (50, 90, 95, 99)}


def _percentile(values: np.ndarray, q: int) -> float:
    """One of the values: a time that was measured."""
    return float(np.percentile(values, q, method="nearest"))


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


def peak_rss_mb(variant: Variant) -> float | None:
    """Peak memory of a fresh process that opens this variant alone and runs five frames; None if it fails."""
    command = [sys.executable, "-m", "fcn_edge.bench.memory", str(variant.path), variant.target, variant.execution]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        return float(json.loads(done.stdout)["peak_rss_mb"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _mark_pareto(rows: list[dict[str, Any]]) -> None:
    """A row is on the front when no other is at least as fast and as accurate, and better in one."""
    for row in rows:
        here = (row["latency_ms"]["p50"], -(row["miou"] or 0))
        others = [(o["latency_ms"]["p50"], -(o["miou"] or 0)) for o in rows if o is not row]
        row["pareto"] = not any(o[0] <= here[0] and o[1] <= here[1] and o != here for o in others)
