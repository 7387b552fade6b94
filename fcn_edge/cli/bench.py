"""The verb `bench`."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import AllowOverlapOption, JsonOption, RecipeOption, SpecOption, ThreadsOption
from fcn_edge.cli._print import emit, print_table, progress_bar, say


@verb
def bench(
    model: Annotated[
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
    kept: Annotated[
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
    from fcn_edge.benchmark import record_from_engines, report_folder, write_report
    from fcn_edge.cli._preparing import Preparation, options_of, suite_from_options, variants_of_suite
    from fcn_edge.data import dataset_from_name
    from fcn_edge.errors import BadInput
    from fcn_edge.outputs import require_apart

    given = {
        "data": data,
        "calib": calib,
        "rounds": rounds,
        "frames": frames,
        "threads": threads,
        "camera_fps": camera_fps,
        "schedules": tuple(schedule or ()) or None,
        "models": tuple(model or ()) or None,
        "sizes": tuple(size or ()) or None,
        "precisions": tuple(precision or ()) or None,
        "targets": tuple(each for each in target or () if each != "auto") or None,
    }
    chosen = suite_from_options(suite, given)
    labelled = dataset_from_name(chosen.data)
    if prepare and kept is None:
        raise BadInput("--prepare: where the files shall be kept says --files DIR")
    with ExitStack() as stack:
        require_apart([out], [chosen.data, *chosen.models])
        if not prepare:
            stack.enter_context(report_folder(out))
        progress = stack.enter_context(progress_bar())
        held_out = None if allow_overlap else labelled
        preparation = Preparation(chosen, stack, progress, held_out, kept, spec, recipe)
        files = preparation.files()
        if prepare:
            told = {"files": [str(path) for path in files]}
            emit(told, as_json=json, human=lambda: print(f"{len(files)} files are ready in {kept}"))
            return
        variants = variants_of_suite(chosen, files)
        record = record_from_engines(
            variants,
            labelled,
            options=options_of(chosen, quick=quick),
            folder=out,
            pictures=pictures,
            about={"suite": suite, "command": _command_line(), "calibration": preparation.coverage},
            on_progress=progress.update,
        )
        paths = write_report(record, out)
    for note in labelled.notes.lines:
        say(f"note: {note}")
    emit(record, as_json=json, human=lambda: print_record(record))
    say(f"wrote {', '.join(str(path) for path in paths.values())}")
    if "png" not in paths:
        say("no picture: matplotlib is not installed (pip install matplotlib)")


def _command_line() -> str:
    """What was typed, for the record."""
    return shlex.join(["fcn-edge", *sys.argv[1:]])


def print_record(record: dict[str, Any]) -> None:
    """The record as a table for people."""
    from rich.table import Table

    from fcn_edge.benchmark.report import label_of, miou_in_points
    from fcn_edge.records import frame_ms

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
