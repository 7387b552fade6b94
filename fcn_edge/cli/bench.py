"""The verb `bench`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import AllowOverlapOption, JsonOption, RecipeOption, SpecOption, ThreadsOption
from fcn_edge.cli._print import emit, print_table, progress_bar, say

if TYPE_CHECKING:
    from fcn_edge.benchmark.variants import Label
    from fcn_edge.choices import TargetOrAuto
    from fcn_edge.records import Record, RecordRow


@verb
def bench(
    model: Annotated[list[str] | None, typer.Argument(help="Files and engine directories; default: packaged.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Labelled set that mIoU is measured on.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="A suite of the benchmarks shelf.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the record and its reports.")] = Path("bench"),
    calib: Annotated[str | None, typer.Option("--calib", help="Also build and measure INT8 of the fp32 files.")] = None,
    allow_overlap: AllowOverlapOption = False,
    target: Annotated[
        list[str] | None, typer.Option("--target", metavar="TARGET", help="Only this engine (repeatable).")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", metavar="PRECISION", help="Only this one (repeatable).")
    ] = None,
    schedule: Annotated[
        list[str] | None, typer.Option("--schedule", help="Also by this one, on a video (repeatable).")
    ] = None,
    size: Annotated[list[str] | None, typer.Option("--size", help="HxW, of checkpoints (repeatable).")] = None,
    files: Annotated[
        Path | None, typer.Option("--files", help="Keep exported and INT8 files there, and use them again.")
    ] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Only make the files of --files.")] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds of each variant [10].")] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames of a round [10].")] = None,
    camera_fps: Annotated[
        float | None, typer.Option("--camera-fps", min=0, help="Of the paced run; 0 for none [30].")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds and frames, no paced run: a first look.")
    ] = False,
    pictures: Annotated[bool, typer.Option(help="Show sample pictures in the HTML report.")] = True,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Latency against mIoU, on every engine that is here.

    fp32, bf16 where the CPU has it, and with --calib INT8 are measured in interleaved rounds, so drift
    affects all of them equally; a fixed reference workload is timed beside each frame, so `gate` can
    compare the record with another day's. Frames are timed as fast as they go and at a camera's pace.
    Writes record.json, .csv, .md, .html and .png; a run that was cut short goes on from its last
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
    from fcn_edge.errors import BadInput

    with progress_bar() as progress:
        if prepare:
            if files is None:
                raise BadInput("`prepare` makes the files of `files`: name a folder")
            paths = benchmark.prepare(
                model,
                data,
                suite=suite,
                files=files,
                calib=calib,
                allow_overlap=allow_overlap,
                size=size,
                spec=spec,
                recipe=recipe,
                progress=progress,
            )
        else:
            record = benchmark.bench(
                model,
                data,
                suite=suite,
                calib=calib,
                allow_overlap=allow_overlap,
                target=cast("list[TargetOrAuto] | None", target),  # unknown names are refused there
                precision=cast("list[Label] | None", precision),
                schedule=schedule,
                size=size,
                files=files,
                spec=spec,
                recipe=recipe,
                options=benchmark.bench_options(
                    suite, quick=quick, rounds=rounds, frames=frames, camera_fps=camera_fps, threads=threads
                ),
                out=out,
                pictures=pictures,
                command=_command_line(),
                progress=progress,
            )
    if prepare:
        table = {"files": [str(path) for path in paths]}
        emit(table, as_json=json, human=lambda: print(f"{len(paths)} files are ready in {files}"))
        return
    emit(record.to_mapping(), as_json=json, human=lambda: print_record(record))
    reports = benchmark.files_of_report(out)
    say(f"wrote {', '.join(str(path) for path in reports.values())}")
    if "png" not in reports:
        say("no picture: matplotlib is not installed (pip install matplotlib)")


def _command_line() -> str:
    """What was typed, for the record."""
    return shlex.join(["fcn-edge", *sys.argv[1:]])


def print_record(record: Record) -> None:
    """The record as a table for people."""
    from rich.table import Table

    from fcn_edge.benchmark.report import device_words, miou_in_points

    title = f"{record.data}, {record.images} images; {device_words(record, short=True)}"
    columns = ("model", "precision", "engine", "p50 ms", "p95 ms", "with input and view", "mIoU", "MB", "peak MB", "")
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
        print("±: half the 95 % interval; all rows see the same images: compare two by evaluate --against")
    for text in record.skipped:
        print(f"skipped: {text}")


def _standing(row: RecordRow) -> str:
    if row.target == "reference":
        return "reference"
    return "front" if row.pareto else f"slower and no better than {(row.dominated_by or '').partition(' ')[2]}"
