"""What `bench` prepares and says."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcn_edge.bench.report import label_of
from fcn_edge.calib import int8_from_onnx
from fcn_edge.calib.placement import placement_for
from fcn_edge.cli.app import Tick, print_table
from fcn_edge.data import Dataset
from fcn_edge.device import this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.shelf import BenchSuite, suite_from_shelf


def suite_from_options(
    name: str | None, *, data: str | None, calib: str | None, rounds: int | None, frames: int | None
) -> BenchSuite:
    """The suite of that name with what the command line says otherwise. BadInput without a name and data."""
    if name is None and data is None:
        raise BadInput("bench needs labelled images: give --data KIND:PATH#SPLIT or --suite NAME")
    suite = suite_from_shelf(name) if name is not None else BenchSuite(str(data))
    given = {"data": data, "calib": calib, "rounds": rounds, "frames": frames}
    return replace(suite, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]


def with_int8(
    files: Sequence[Path], calib: str | None, stack: ExitStack, tick: Tick, *, held_out: Dataset | None
) -> list[Path]:
    """The files, and for each fp32 ONNX file its INT8 form for this CPU where `calib` is given.

    Raises BadInput where a calibration image is in `held_out` too.
    """
    found = list(files)
    for path in files if calib else ():
        is_onnx = path.is_file() and path.suffix.lower() not in CHECKPOINT_SUFFIXES
        if is_onnx and contract_from_onnx(path).quantization.precision == "fp32":
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn-edge-"))
            made = int8_from_onnx(
                path, Path(scratch) / f"{path.stem}.int8.onnx", calib=str(calib),
                placement=placement_for("openvino", this_device().instruction_sets),
                held_out=held_out, on_image=lambda done, total: tick("calibrating", done, total),
            )  # fmt: skip
            found.append(made.path)
    return found


def describe_record(record: dict[str, Any]) -> None:
    """The record as a table for people."""
    from rich.table import Table

    device = record["device"]
    title = f"{record['data']}, {record['images']} images; {device['cpu']}, {device['cores']} cores"
    columns = ("model", "precision", "engine", "p50 ms", "p95 ms", "with input and view", "mIoU", "MB", "peak MB", "")
    table = Table(*columns, title=title)
    for row in sorted(record["rows"], key=lambda row: row["latency_ms"]["p50"]):
        latency, memory = row["latency_ms"], row["peak_rss_mb"]
        table.add_row(
            row["model"], label_of(row), row["runtime"], f"{latency['p50']:.1f}", f"{latency['p95']:.1f}",
            f"{1000 / row['end_to_end_fps']:.1f}", _miou(row),
            f"{row['size_mb']:.1f}", "-" if memory is None else f"{memory:.0f}", "front" if row["pareto"] else "",
        )  # fmt: skip
    print_table(table)
    print("front: no other row is both faster and more accurate")
    if any(row["miou_ci"] for row in record["rows"]):
        print("±: half the 95 % interval; all rows see the same images, so tell two apart by evaluate --against")
    for text in record["skipped"]:
        print(f"skipped: {text}")


def _miou(row: dict[str, Any]) -> str:
    """In points, with half the width of its interval."""
    miou, interval = row["miou"], row["miou_ci"]
    shown = "-" if miou is None else f"{100 * miou:.2f}"
    return f"{shown} ± {50 * (interval[1] - interval[0]):.1f}" if interval else shown
