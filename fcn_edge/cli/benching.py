"""What `bench` is told, and says."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fcn_edge.benchmark import BenchOptions, Variant, variants_from_files, with_schedules
from fcn_edge.benchmark.report import label_of, miou_in_points
from fcn_edge.cli.app import print_table, size_from_text
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.records import frame_ms
from fcn_edge.registry import BenchSuite, suite_from_shelf
from fcn_edge.schema import nearest
from fcn_edge.targets import TARGETS

QUICK = {"rounds": 3, "frames": 5, "camera_fps": 0.0}


def suite_from_options(name: str | None, given: Mapping[str, Any]) -> BenchSuite:
    """The suite of that name with what the command line says otherwise. BadInput without a name and data."""
    if name is None and given["data"] is None:
        raise BadInput("bench needs labelled images: give --data KIND:PATH#SPLIT or --suite NAME")
    suite = suite_from_shelf(name) if name is not None else BenchSuite(given["data"])
    if unknown := [target for target in suite.sizes_of if target not in TARGETS]:
        raise BadInput(f"{name}: sizes_of: {unknown[0]} is no engine{nearest(unknown[0], TARGETS)}")
    return replace(suite, **{key: value for key, value in given.items() if value is not None})


def options_of(suite: BenchSuite, *, quick: bool) -> BenchOptions:
    """How long and how often; `quick` for a first look."""
    shared = {part.name: getattr(suite, part.name) for part in fields(BenchOptions) if hasattr(suite, part.name)}
    return replace(BenchOptions(**shared), **(QUICK if quick else {}))  # type: ignore[arg-type]


def variants_of_suite(suite: BenchSuite, files: Sequence[Path]) -> list[Variant]:
    """Every file on every engine, as far as the suite wants it."""
    found = variants_from_files(files, suite.targets, suite.precisions)
    wanted = {target: [size_from_text(size) for size in sizes] for target, sizes in suite.sizes_of.items()}
    chosen = [v for v in found if v.target not in wanted or _size_of(v) in wanted[v.target]]
    return with_schedules(chosen, suite.schedules)


def _size_of(variant: Variant) -> tuple[int, int]:
    path = variant.path / "model.onnx" if variant.path.is_dir() else variant.path
    return contract_from_onnx(path).spec.preprocess.size


def command_line() -> str:
    """What was typed, for the record."""
    return shlex.join(["fcn-edge", *sys.argv[1:]])


def describe_record(record: dict[str, Any]) -> None:
    """The record as a table for people."""
    from rich.table import Table

    device = record["device"]
    title = f"{record['data']}, {record['images']} images; {device['cpu']}, {device['cores']} cores"
    columns = ("model", "precision", "engine", "p50 ms", "p95 ms", "with input and view", "mIoU", "MB", "peak MB", "")
    table = Table(*columns, title=title)
    for row in sorted(record["rows"], key=frame_ms):
        latency, memory = row["latency_ms"], row["peak_rss_mb"]
        table.add_row(
            f"{row['model']} {row['height']}x{row['width']}",
            label_of(row),
            row["runtime"],
            f"{latency['p50']:.1f}",
            f"{latency['p95']:.1f}",
            f"{1000 / row['end_to_end_fps']:.1f}",
            miou_in_points(row),
            f"{row['size_mb']:.1f}",
            "-" if memory is None else f"{memory:.0f}",
            _standing(row),
        )
    print_table(table)
    print("front: no other row is both faster and more accurate; else the fastest row that beats it on both counts")
    if any(row["miou_ci"] for row in record["rows"]):
        print("±: half the 95 % interval; all rows see the same images, so tell two apart by evaluate --against")
    for text in record["skipped"]:
        print(f"skipped: {text}")


def _standing(row: dict[str, Any]) -> str:
    if row["target"] == "reference":
        return "reference"
    return "front" if row["pareto"] else f"slower and no better than {row['dominated_by'].partition(' ')[2]}"
