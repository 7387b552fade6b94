"""The verb `bench`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import AllowOverlapOption, JsonOption, RecipeOption, SpecOption, ThreadsOption
from fcn_edge.cli._print import emit, print_table, progress_bar, say, show
from fcn_edge.errors import BadInput

if TYPE_CHECKING:
    from fcn_edge.benchmark.variants import Label
    from fcn_edge.choices import TargetOrAuto
    from fcn_edge.records import Record, RecordRow


@verb
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...", help="Checkpoints, ONNX files, engine directories or packaged names [packaged network]."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled data set, KIND:PATH#SPLIT, to measure mIoU on.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Suite of the benchmarks folder by name, or a TOML file.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the record and the reports.")] = Path("bench"),
    calib: Annotated[
        str | None, typer.Option("--calib", help="Calibration images: also measure each fp32 file in INT8.")
    ] = None,
    allow_overlap: AllowOverlapOption = False,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="TARGET", help="Measure only on this engine (repeatable) [all available]."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision", metavar="PRECISION", help="Measure only this precision (repeatable) [all available]."
        ),
    ] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option("--schedule", help="Also measure with this schedule, on a data set of videos (repeatable)."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option("--size", help="Input size HxW at which checkpoints are exported (repeatable).")
    ] = None,
    files: Annotated[
        Path | None, typer.Option("--files", help="Folder that keeps exported and INT8 files for the next run.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only write the files of --files; measure nothing.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="Rounds in which each row is timed [10].")
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames per round [10].")] = None,
    camera_fps: Annotated[
        float | None, typer.Option("--camera-fps", min=0, help="Frames per second of the paced run; 0: none [30].")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="3 rounds of 5 frames, no paced run.")] = False,
    pictures: Annotated[bool, typer.Option(help="Include sample pictures in the HTML report.")] = True,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Measure latency and mIoU on every available engine.

    fp32, bf16 where the CPU has it, and with --calib INT8 are timed in interleaved rounds, so drift of the
    machine affects all rows equally. A reference workload is timed in each round, so that `gate` can compare
    records of different days. Frames are timed back to back and at a camera's frame rate.

    Writes record.json, .csv, .md, .html and .png. A run that was interrupted continues after its last
    finished rows.

    \b
    Examples:
      fcn-edge bench --suite street --out bench
      fcn-edge bench net.onnx --data camvid:camvid#val --calib camvid:camvid#train --out bench
      fcn-edge bench net.onnx --data camvid:camvid#val --schedule fixed:2,2,6 --frames 50
      fcn-edge bench net.safetensors --size 256x352 --size 360x480 --data camvid:camvid#val --quick
      fcn-edge bench --suite sweep --files prepared --prepare
    """
    from fcn_edge import benchmark

    if prepare and files is None:
        raise BadInput("`prepare` makes the files of `files`: name a folder")
    made_from: dict[str, Any] = {
        "suite": suite,
        "calib": calib,
        "allow_overlap": allow_overlap,
        "size": size,
        "spec": spec,
        "recipe": recipe,
    }
    with progress_bar() as progress:
        if prepare and files is not None:
            paths = benchmark.prepare(models, data, files=files, progress=progress, **made_from)
            _emit_files(paths, files, as_json=json)
            return
        options = benchmark.bench_options(
            suite, quick=quick, rounds=rounds, frames=frames, camera_fps=camera_fps, threads=threads
        )
        record = benchmark.bench(
            models,
            data,
            target=cast("list[TargetOrAuto] | None", target),  # unknown names are refused there
            precision=cast("list[Label] | None", precision),
            schedule=schedule,
            files=files,
            options=options,
            out=out,
            pictures=pictures,
            command=shlex.join(["fcn-edge", *sys.argv[1:]]),
            progress=progress,
            **made_from,
        )
    emit(record.to_mapping(), as_json=json, human=lambda: print_record(record))
    _say_written(benchmark.files_of_report(out))


def _emit_files(paths: list[Path], folder: Path, *, as_json: bool) -> None:
    names = {"files": [str(path) for path in paths]}
    emit(names, as_json=as_json, human=lambda: print(f"{len(paths)} files are ready in {folder}"))


def _say_written(reports: Mapping[str, Path]) -> None:
    say(f"wrote {', '.join(str(path) for path in reports.values())}")
    if "png" not in reports:
        say("no picture: matplotlib is not installed (pip install matplotlib)")


def print_record(record: Record) -> None:
    """The record as a table for people."""
    from rich.table import Table

    from fcn_edge.benchmark.report import device_words, miou_in_points

    title = f"{record.data}, {record.images} images; {device_words(record, short=True)}"
    columns = ("model", "precision", "engine", "p50 ms", "p95 ms", "end to end ms", "mIoU", "MB", "peak MB", "")
    table = Table(*columns, title=title)
    for row in sorted(record.rows, key=lambda row: row.frame_ms):
        table.add_row(
            f"{row.model} {row.height}x{row.width}",
            row.label,
            row.runtime,
            f"{row.latency_ms.p50:.1f}",
            f"{row.latency_ms.p95:.1f}",
            f"{1000 / row.end_to_end_fps:.1f}",
            miou_in_points(row),
            f"{row.size_mb:.1f}",
            "-" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}",
            _standing(row),
        )
    print_table(table)
    print("front: no other row is both faster and more accurate; else the fastest row that is")
    if any(row.miou_ci for row in record.rows):
        print("±: half the 95 % interval; all rows use the same images: compare two with evaluate --against")
    for text in record.skipped:
        show(f"skipped: {text}")


def _standing(row: RecordRow) -> str:
    if row.target == "reference":
        return "reference"
    return "front" if row.pareto else f"slower and no better than {(row.dominated_by or '').partition(' ')[2]}"
