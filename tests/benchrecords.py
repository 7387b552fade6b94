"""Benchmark records as `bench` writes them, drawn instead of measured: images, rounds, reference workload, noise.

Keys are spelled here as in record.json, so that the tests hold the library to them.
"""

from __future__ import annotations

import numpy as np

from fcn_edge.atomic_io import with_checksum
from fcn_edge.metrics import ImageScore, scores_from_confusion, sparse_cells
from fcn_edge.percentiles import nearest_rank
from fcn_edge.records import Record
from fcn_edge.schema import to_mapping

CLASSES = ("sky", "road", "car")
FRAMES = 5
DEVICE = {"name": "epyc-2c", "cpu": "EPYC", "cores": 2, "instruction_sets": ["avx2", "avx512_vnni"]}


def drawn_images(count=60, lost=0.0, seed=1, no_class=None, spread=0.3):
    """(count, C, C): what each image's pixels were called. lost: share of right pixels that are wrong instead,
    in each image another share around it; no_class: a class that is never found."""
    random = np.random.default_rng(seed)
    labelled = random.integers(500, 1500, (count, len(CLASSES)))
    wrong = random.uniform(0.1, 0.3, (count, len(CLASSES)))
    more = lost * random.uniform(1 - spread, 1 + spread, (count, 1))
    found = np.zeros((count, len(CLASSES), len(CLASSES)), np.int64)
    for label in range(len(CLASSES)):
        share = np.ones(count) if label == no_class else np.clip(wrong[:, label] + more[:, 0], 0, 1)
        missed = np.round(labelled[:, label] * share).astype(np.int64)
        found[:, label, label] = labelled[:, label] - missed
        found[:, label, (label + 1) % len(CLASSES)] = missed
    return found


def row(
    precision="int8", target="openvino", *, images=None, ms=20.0, rounds=20, noise=0.02, seed=1, slow=1.0, **changes
):
    """One row of record.json. ms: of the network on an idle machine; noise: of each round; slow: factor of all that is
    timed, above 1 because other processes use the CPU."""
    matrices = drawn_images() if images is None else images
    scores = scores_from_confusion(matrices.sum(0))
    listed = [
        ImageScore(f"{number:064x}", f"street{number}", sparse_cells(each)) for number, each in enumerate(matrices)
    ]
    random = np.random.default_rng(seed)
    turns = slow * np.exp(random.normal(0, noise, rounds))
    raw = (ms * turns[:, None] * np.exp(np.abs(random.normal(0, 0.02, (rounds, FRAMES))))).ravel()
    beside = 2.0 * slow * np.exp(random.normal(0, noise / 2, rounds))
    cpu = ms * np.exp(random.normal(0, 0.01, rounds))
    beside_cpu = np.minimum(beside, 2.0) * np.exp(random.normal(0, 0.01, rounds)) if slow > 1 else beside
    percents = (50, 90, 95, 99)
    latency = {f"p{q}": round(ms, 3) for q, ms in zip(percents, nearest_rank(raw, percents))}
    return {
        "model": "fcn8s",
        "target": target,
        "runtime": f"{target} 1.0",
        "precision": precision,
        "execution": "f32",
        "height": 360,
        "width": 480,
        "model_sha256": "ab" * 32,
        "weights": "trained",
        "miou": scores.miou,
        "miou_ci": [scores.miou - 0.01, scores.miou + 0.01],
        "latency_ms": latency | {"raw": [round(float(v), 3) for v in raw]},
        "end_to_end_ms": {name: 1.1 * value for name, value in latency.items()} | {"raw": [1.0]},
        "stages_ms": {name: {"p50": 1.0, "p90": 1.0, "p95": 1.0, "p99": 1.0} for name in ("input", "infer", "view")},
        **{
            name: [round(float(v), 4) for v in values]
            for name, values in (
                ("yardstick_ms", beside),
                ("cpu_ms", cpu),
                ("yardstick_cpu_ms", beside_cpu),
                ("preemptions", np.full(rounds, 2.0 if slow <= 1 else 40.0)),
            )
        },
        "warmup_frames": 10,
        "fps": 50.0,
        "end_to_end_fps": 45.0,
        "paced": {
            "camera_fps": 30.0,
            "frames": 60,
            "missed": 2,
            "answer_ms": {"p50": 22.0, "p90": 30.0, "p95": 31.0, "p99": 32.0},
        },
        "cold_start_ms": 300.0,
        "warm_start_ms": 200.0,
        "energy_mj": None,
        "power_w": None,
        "peak_rss_mb": 180.0,
        "size_mb": 3.5,
        "pareto": True,
        "dominated_by": None,
        "scores": {**to_mapping(scores), "images": to_mapping(listed)},
    } | changes


def record(*rows, **changes):
    """A whole record."""
    return Record.from_mapping(record_table(*rows, **changes))


def sealed(table):
    """The JSON object with the checksum of its content."""
    return with_checksum(table, "sha256")


def record_table(*rows, **changes):
    """The JSON object of a whole record."""
    return sealed(
        {
            "schema": 2,
            "data": "streets",
            "classes": list(CLASSES),
            "images": 60,
            "skipped": [],
            "suite": "quick",
            "protocol": {"rounds": 20, "frames": FRAMES, "together": 8, "threads": 1},
            "yardstick": "adds",
            "energy_source": None,
            "command": "fcn-edge bench --suite quick",
            "calibration": {},
            "rows": list(rows) or [row("fp32", ms=40.0), row()],
            "device": DEVICE,
            "conditions": {
                "before": {"temperature_c": None, "clock_mhz": None, "load": 1.0},
                "after": {"temperature_c": 50.0, "clock_mhz": 3000, "load": 1.0},
            },
            "versions": {"python": "3.11"},
            "commit": "abc",
            "date": "2026-11-25T08:00:00+00:00",
        }
        | changes
    )
