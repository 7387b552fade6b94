"""What `bench` prepares and says."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fcn_edge.bench import BenchOptions
from fcn_edge.bench.report import label_of, miou_in_points
from fcn_edge.calib import int8_from_onnx
from fcn_edge.calib.placement import placement_for
from fcn_edge.cli.app import Tick, print_table, recipe_of, runnable, size_from_text
from fcn_edge.data import Dataset
from fcn_edge.device import this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.records import frame_ms
from fcn_edge.schema import to_mapping
from fcn_edge.shelf import PACKAGED_NETWORK, BenchSuite, packaged_file, suite_from_shelf

QUICK = {"rounds": 3, "frames": 5, "camera_fps": 0.0}


def suite_from_options(name: str | None, given: Mapping[str, Any]) -> BenchSuite:
    """The suite of that name with what the command line says otherwise. BadInput without a name and data."""
    if name is None and given["data"] is None:
        raise BadInput("bench needs labelled images: give --data KIND:PATH#SPLIT or --suite NAME")
    suite = suite_from_shelf(name) if name is not None else BenchSuite(given["data"])
    return replace(suite, **{key: value for key, value in given.items() if value is not None})


def options_of(suite: BenchSuite, *, quick: bool) -> BenchOptions:
    """How long and how often; `quick` for a first look."""
    shared = {part.name: getattr(suite, part.name) for part in fields(BenchOptions) if hasattr(suite, part.name)}
    return replace(BenchOptions(**shared), **(QUICK if quick else {}))  # type: ignore[arg-type]


def command_line() -> str:
    """What was typed, for the record."""
    return shlex.join(["fcn-edge", *sys.argv[1:]])


def prepared_files(
    suite: BenchSuite, spec: Path | None, recipe: str | None, stack: ExitStack, tick: Tick, *, held_out: Dataset | None
) -> tuple[list[Path], dict[str, Any]]:
    """Files that can be measured: models as they are or exported at each size, then INT8 where asked for.

    Also what each calibration covers, by the name of its file. Raises BadInput where an image is in `held_out`.
    """
    models = suite.models or (None,)
    if suite.sizes:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn-edge-")))
        files = [
            _exported(name, size, recipe, scratch / str(number), tick)
            for number, name in enumerate(models)
            for size in suite.sizes
        ]
    else:
        files = [stack.enter_context(runnable(name, spec, recipe)) for name in models]
    return with_int8(files, suite.calib, stack, tick, held_out=held_out)


def _exported(name: str | None, size: str, recipe: str | None, folder: Path, tick: Tick) -> Path:
    from fcn_edge.export import ExportOptions, onnx_from_checkpoint

    path = packaged_file(".safetensors") if name in (None, PACKAGED_NETWORK) else Path(str(name))
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise BadInput(f"{path}: --size exports anew, which takes a checkpoint; an ONNX file has the size it has")
    tick(f"exporting {path.stem} {size}", 0, 1)
    out = folder / f"{path.stem}.{size}.onnx"
    made = onnx_from_checkpoint(path, out, options=ExportOptions(size_from_text(size)), recipe=recipe_of(recipe))
    tick(f"exporting {path.stem} {size}", 1, 1)
    return made.path


def with_int8(
    files: Sequence[Path], calib: str | None, stack: ExitStack, tick: Tick, *, held_out: Dataset | None
) -> tuple[list[Path], dict[str, Any]]:
    """The files, behind each fp32 ONNX file its INT8 form for this CPU where `calib` is given, and their coverage.

    Raises BadInput where a calibration image is in `held_out` too.
    """
    found, coverage = list[Path](), dict[str, Any]()
    for path in files:
        found.append(path)
        is_onnx = path.is_file() and path.suffix.lower() not in CHECKPOINT_SUFFIXES
        if calib and is_onnx and contract_from_onnx(path).quantization.precision == "fp32":
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn-edge-"))
            made = int8_from_onnx(
                path, Path(scratch) / f"{path.stem}.int8.onnx", calib=str(calib),
                placement=placement_for("openvino", this_device()),
                held_out=held_out, on_image=lambda done, total: tick("calibrating", done, total),
            )  # fmt: skip
            found.append(made.path)
            size = contract_from_onnx(path).spec
            label = f"{size.name} {size.preprocess.height}x{size.preprocess.width}"
            coverage[label] = {"calib": calib, **_covered(made.coverage)}
    return found, coverage


def _covered(coverage: Any) -> dict[str, Any]:
    """What a report shows of a calibration: its verdict, its classes, its worst tensors."""
    if coverage is None:
        return {}
    worst = {name: coverage.tensors[name].sqnr_db for name in coverage.worst}
    return {
        "verdict": list(coverage.verdict), "predicted": to_mapping(coverage.predicted),
        "labelled": to_mapping(coverage.labelled), "worst_sqnr_db": worst, "tensors": len(coverage.tensors),
    }  # fmt: skip


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
            f"{row['model']} {row['height']}x{row['width']}", label_of(row), row["runtime"], f"{latency['p50']:.1f}",
            f"{latency['p95']:.1f}", f"{1000 / row['end_to_end_fps']:.1f}", miou_in_points(row),
            f"{row['size_mb']:.1f}", "-" if memory is None else f"{memory:.0f}", _standing(row),
        )  # fmt: skip
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
