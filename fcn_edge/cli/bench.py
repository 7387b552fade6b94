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
    kept: Annotated[
        Path | None, typer.Option("--files", help="Keep exported and INT8 files there, and take them up again.")
    ] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="Only make the files of --files.")] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Turns that each variant takes [10].")] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="Frames a turn [10].")] = None,
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

    fp32, bf16 where the CPU has it, and with --calib INT8 take turns in one run, so that a slow
    minute of the machine falls on all of them alike; a fixed yardstick is timed beside each turn, so
    that `gate` can hold the record against another day's. Frames are timed as fast as they go and at
    a camera's pace. Writes record.json, .csv, .md, .html and .png; a run that was cut short goes on
    from its last finished rows.

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
