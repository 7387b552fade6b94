"""Forty runs against one baseline while another process uses the CPU: what is the gate's verdict on each?

    python benchmarks/gate_trial.py --out benchmarks/gate_trial.json

Twenty runs are unchanged. Twenty have a change planted: slowdowns for real, by an engine that keeps the core busy
for so much longer; losses of accuracy in the class maps, whose tiles take a wrong class, in some images more than in
others; size and memory by their figures. The load is a process that comes and goes. Must hold: no false alarm, each
loss of a point and more and each slowdown of a fifth and more failed, nothing else passed that lost a point.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge import open_engine
from fcn_edge.atomic_io import write_json
from fcn_edge.benchmark import BenchOptions, Variant, bench
from fcn_edge.benchmark.measurement import per_round
from fcn_edge.benchmark.sensors import EnergyMeter
from fcn_edge.benchmark.timing import first_images, interleaved_rounds
from fcn_edge.calibration import calibrate
from fcn_edge.calibration.placement import placement_for
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.device import git_commit, this_device
from fcn_edge.engines import Engine, EngineOptions
from fcn_edge.frame import Frame, Result, Style
from fcn_edge.gating import Limits, gate
from fcn_edge.metrics import ImageScore, confusion_from_maps, scores_from_confusion, sparse_cells
from fcn_edge.progress import SILENT
from fcn_edge.records import Latency, Record, RowScores
from fcn_edge.registry import PACKAGED_NETWORK, packaged_file
from fcn_edge.schema import to_mapping

STREETS = "synthetic:street,seed=3,images=128,size=360x480"
OPTIONS = BenchOptions(rounds=20, frames=5, threads=1, camera_fps=0)
LIMITS = Limits(max_miou_drop=0.5, max_class_drop=10, max_latency_ratio=1.1)
UNCHANGED = 20
LOST_POINTS = (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
SLOWER_PERCENT = (3, 5, 10, 15, 20, 25, 35, 50)
MUST_SEE_POINTS, MUST_SEE_PERCENT = 1.0, 20
TILE = 24  # pixels
POLE = 2  # the class that is lost: the thinnest of CamVid's eleven


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gate_trial.json"))
    given = parser.parse_args()
    data = dataset_from_name(STREETS)
    with tempfile.TemporaryDirectory() as scratch, competing_load():
        model = calibrate(
            packaged_file(".onnx"),
            PACKAGED_NETWORK,
            Path(scratch) / "net.int8.onnx",
            placement=placement_for("openvino", this_device()),
        ).path
        baseline = bench(Variant(model, "openvino", "f32"), data, options=OPTIONS)
        with open_engine(model, target="openvino", options=EngineOptions(threads=1)) as engine:
            trials = [judged(what, size, found, baseline) for what, size, found in runs(engine, data, baseline)]
    failures = [trial for trial in trials if not trial["as_it_must"]]
    write_json(
        given.out,
        {
            "schema": 1,
            "limits": to_mapping(LIMITS),
            "protocol": to_mapping(OPTIONS),
            "data": data.name,
            "device": {**to_mapping(this_device()), "name": this_device().name},
            "commit": git_commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "trials": trials,
        },
    )
    print(f"{len(trials)} runs, {len(failures)} not as they must be; wrote {given.out}")
    sys.exit(1 if failures else 0)


def runs(engine: Engine, data: Dataset, baseline: Record) -> Iterator[tuple[str, float, Record]]:
    """(what was planted, how much of it, the record) of every run."""
    images = first_images(data, OPTIONS.frames)
    for _ in range(UNCHANGED):
        yield "nothing", 0, timed_again(baseline, engine, images)
    for percent in SLOWER_PERCENT:
        yield "slower, %", percent, timed_again(baseline, Slowed(engine, 1 + percent / 100), images)
    maps = [
        (item.labels(), engine.segment(item.image(), Style(overlay=False)).class_map, item)
        for item in (data.items[index] for index in range(len(data.items)))
    ]
    for points in LOST_POINTS:
        yield "mIoU lost, points", points, timed_again(with_loss(baseline, maps, points), engine, images)
    lost = scored(baseline, [(labels, np.where(found == POLE, 1, found), item) for labels, found, item in maps])
    yield "a class lost", 1, timed_again(lost, engine, images)
    row = baseline.rows[0]
    for factor in (1.05, 3.8):
        larger = changed(baseline, {"size_mb": row.size_mb * factor})
        yield "size_mb, x", factor, timed_again(larger, engine, images)
    if row.peak_rss_mb is not None:
        larger = changed(baseline, {"peak_rss_mb": row.peak_rss_mb * 1.4})
        yield "peak_rss_mb, x", 1.4, timed_again(larger, engine, images)


class Slowed:
    """An engine whose network is `factor` times the work: the core is kept busy for so much longer."""

    def __init__(self, engine: Engine, factor: float) -> None:
        self._engine, self._more = engine, factor - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def segment(self, image: Frame | np.ndarray, style: Style) -> Result:
        used_ns = time.process_time_ns()
        result = self._engine.segment(image, style)
        times, started_ns, now_ns = result.times, time.monotonic_ns(), time.process_time_ns()
        share = times.infer_ns / (times.input_ns + times.infer_ns + times.view_ns)
        until_ns = now_ns + self._more * share * (now_ns - used_ns)
        while time.process_time_ns() < until_ns:
            pass
        more_ns = time.monotonic_ns() - started_ns
        return replace(result, times=replace(times, infer_ns=times.infer_ns + more_ns, age_ns=times.age_ns + more_ns))


def timed_again(record: Record, engine: Any, images: list[np.ndarray]) -> Record:
    """The record with latencies of now."""
    rounds = interleaved_rounds([engine], images, OPTIONS, EnergyMeter(), SILENT)[0]
    latency = Latency.of(np.array([times.infer_ns for times in rounds.times]) / 1e6)
    return changed(record, {"latency_ms": latency, **per_round(rounds)})


def changed(record: Record, figures: dict[str, Any]) -> Record:
    """The record with other figures in its one row."""
    return replace(record, rows=(replace(record.rows[0], **figures),))


def with_loss(record: Record, maps: list[Any], points: float) -> Record:
    """Tiles of the class maps take a wrong class, so many that the set's mIoU falls by `points`."""
    wanted = (record.rows[0].miou or 0) - points / 100
    low, high = 0.0, 0.5
    for _ in range(14):
        share = (low + high) / 2
        found = scored(
            record,
            [(labels, spoilt(class_map, share, number), item) for number, (labels, class_map, item) in enumerate(maps)],
        )
        low, high = (share, high) if (found.rows[0].miou or 0) > wanted else (low, share)
    return found


def spoilt(class_map: np.ndarray, share: float, number: int) -> np.ndarray:
    """A class map with about `share` of its tiles wrong: in some images three times as many as in others."""
    chance = np.random.default_rng(number)
    found, mine = class_map.copy(), share * chance.uniform(0.5, 1.5)
    for top in range(0, found.shape[0], TILE):
        for left in range(0, found.shape[1], TILE):
            is_hit, wrong = chance.random() < mine, chance.integers(0, 11)
            if is_hit:
                found[top : top + TILE, left : left + TILE] = wrong
    return found


def scored(record: Record, maps: list[Any]) -> Record:
    """The record with the scores of these class maps."""
    classes = len(record.classes)
    matrices = [confusion_from_maps(labels, found.astype(np.uint8), classes) for labels, found, _ in maps]
    scores = scores_from_confusion(np.sum(matrices, 0))
    before = record.rows[0].images
    images = [ImageScore(old.sha256, old.sequence, sparse_cells(matrix)) for old, matrix in zip(before, matrices)]
    return changed(record, {"miou": scores.miou, "scores": RowScores.of(scores, images)})


def judged(what: str, size: float, found: Record, baseline: Record) -> dict[str, Any]:
    """The gate's verdict on one run, and whether it is right."""
    verdict = gate(found, baseline, limits=LIMITS)
    failed = verdict.failed
    latency = next(check for check in verdict.checks if check.kind == "latency")
    miou = next(check for check in verdict.checks if check.kind == "miou")
    must_fail = (
        (what.startswith("slower") and size >= MUST_SEE_PERCENT)
        or (what.startswith("mIoU") and size >= MUST_SEE_POINTS)
        or what == "a class lost"
        or what.endswith(", x")
    )
    is_harmless = (
        what == "nothing" or (what.startswith("slower") and size < 10) or (what.startswith("mIoU") and size < 0.5)
    )
    is_right = verdict.verdict == "fail" if must_fail else not (is_harmless and failed)
    print(f"{what:18} {size:5g}  {verdict.verdict:12} latency {latency.reason}; mIoU {miou.reason}", flush=True)
    return {
        "planted": what,
        "size": size,
        "verdict": verdict.verdict,
        "failed": [check.kind for check in failed],
        "latency": latency.reason,
        "latency_power": latency.power,
        "miou": miou.reason,
        "miou_power": miou.power,
        "as_it_must": is_right,
    }


@contextmanager
def competing_load() -> Iterator[None]:
    """Another process that keeps one core busy, for a while, and then not, for a while."""
    process = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burn() -> None:
    chance = random.Random(8)
    while True:
        until = time.monotonic() + chance.uniform(0.3, 3)
        while time.monotonic() < until:
            pass
        time.sleep(chance.uniform(0.3, 3))


if __name__ == "__main__":
    main()
