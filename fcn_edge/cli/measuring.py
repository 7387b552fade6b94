"""Verbs that measure networks: evaluate, bench."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli.app import (
    Across,
    AllowHostCode,
    AllowOverlap,
    In,
    Json,
    Model,
    On,
    Provider,
    RecipeName,
    Spec,
    Target,
    Threads,
    Through,
    When,
    app,
    emit,
    progress,
    runnable,
    say,
)

if TYPE_CHECKING:
    from fcn_edge.cli.evaluating import SavedRun


class Label(str, Enum):
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"
    fp16 = "fp16"
    int8_fp16 = "int8-fp16"


@app.command()
def evaluate(
    data: Annotated[str, typer.Option("--data", help="Labelled set KIND:PATH#SPLIT.")],
    model: Model = None,
    target: On = Target.auto,
    execution: In = None,
    provider: Through = Provider.cpu,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first images.")] = None,
    trimap: Annotated[int | None, typer.Option("--trimap", min=1, help="Also so many pixels around edges.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Model, or JSON of evaluate or bench, to differ from.")
    ] = None,
    spec: Spec = None,
    recipe: RecipeName = None,
    schedule: When = "every",
    threads: Threads = None,
    allow_host_code: AllowHostCode = False,
    cluster: Across = None,
    json: Json = False,
) -> None:
    """The paper's four metrics on a labelled set.

    Pixel accuracy, mean accuracy, mean IU and frequency weighted IU, and the IU of each class.
    An image that does not decode is named and left out. Intervals of 95 % say how far a score would
    move on other frames of the same drives. --against scores a second model on the same images (or
    takes its scores from the JSON of an earlier evaluate, or from a row of a bench record) and says
    whether the difference in mean IU is real; each class is judged by itself, so one in twenty
    classes seems to differ where none does. --schedule is for sets that are videos, and for the
    model alone, not for the one it is held against. --cluster ray gives the same result bit for bit.

    \b
    Examples:
      fcn-edge evaluate net.int8.onnx --data camvid:camvid#val
      fcn-edge evaluate net.int8.onnx --data camvid:camvid#val --against net.onnx
      fcn-edge evaluate net.onnx --data camvid:camvid#val --against bench/record.json#2
      fcn-edge evaluate net.onnx --data camvid:camvid#val --schedule fixed:1,2,4 --against net.onnx
      fcn-edge evaluate net.onnx --data camvid:camvid#val --trimap 3
    """
    from fcn_edge.cli.evaluating import (
        comparison_of,
        describe_evaluation,
        is_saved_run,
        result_of,
        run_from_evaluation,
        run_from_json,
    )
    from fcn_edge.cluster import evaluate_on_ray
    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines import EngineOptions, model_path, open_engine
    from fcn_edge.errors import BadInput
    from fcn_edge.evaluation import evaluate_engine
    from fcn_edge.schedule import EVERY

    labelled = dataset_from_name(data)
    if cluster and (limit or trimap or schedule != EVERY):
        raise BadInput("--cluster scores whole sets, image by image: leave out --limit, --trimap and --schedule")
    other = run_from_json(against) if against and is_saved_run(against) else None
    if against and other is None:
        model_path(against)  # a name that is nothing is told before minutes of measuring
    with progress() as tick:

        def measured(what: str, name: str | None, when: str, spec: Path | None, recipe: str | None) -> SavedRun:
            options = EngineOptions(
                execution.value if execution else None,
                threads,
                provider=provider.value,
                schedule=when,
                allow_host_code=allow_host_code,
            )
            with (
                runnable(name, spec, recipe) as path,
                open_engine(path, target=target.value, options=options) as engine,
            ):
                on_image = partial(tick, what)
                if cluster:
                    found = evaluate_on_ray(path, data, target=engine.target, options=options, on_image=on_image)
                else:
                    found = evaluate_engine(engine, labelled, limit=limit, trimap=trimap, on_image=on_image)
                return run_from_evaluation(found, engine)

        run = measured("evaluating", model, schedule, spec, recipe)
        if against:
            other = other or measured("evaluating the other", against, EVERY, None, None)
    result = result_of(run, labelled, trimap)
    for warning in result["warnings"]:
        say(f"warning: {warning}")
    if other is not None:
        result["against"] = comparison_of(run, other, labelled.classes)
    emit(result, as_json=json, human=lambda: describe_evaluation(result))


@app.command()
def bench(
    model: Annotated[list[str] | None, typer.Argument(help="Files and engine directories; default: packaged.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Labelled set that mIoU is measured on.")] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="A suite of the benchmarks shelf.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the record and its reports.")] = Path("bench"),
    calib: Annotated[str | None, typer.Option("--calib", help="Also build and measure INT8 of the fp32 files.")] = None,
    allow_overlap: AllowOverlap = False,
    target: Annotated[list[Target] | None, typer.Option("--target", help="Only this engine (repeatable).")] = None,
    precision: Annotated[list[Label] | None, typer.Option("--precision", help="Only this one (repeatable).")] = None,
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
    spec: Spec = None,
    recipe: RecipeName = None,
    threads: Threads = None,
    json: Json = False,
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
    from fcn_edge.cli.benching import command_line, describe_record, options_of, suite_from_options, variants_of_suite
    from fcn_edge.cli.preparing import Preparation
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
        "precisions": tuple(each.value for each in precision or ()) or None,
        "targets": tuple(each.value for each in target or () if each is not Target.auto) or None,
    }
    chosen = suite_from_options(suite, given)
    labelled = dataset_from_name(chosen.data)
    if prepare and kept is None:
        raise BadInput("--prepare: where the files shall be kept says --files DIR")
    with ExitStack() as stack:
        require_apart([out], [chosen.data, *chosen.models])
        if not prepare:
            stack.enter_context(report_folder(out))
        tick = stack.enter_context(progress())
        held_out = None if allow_overlap else labelled
        preparation = Preparation(chosen, stack, tick, held_out, kept, spec, recipe)
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
            about={"suite": suite, "command": command_line(), "calibration": preparation.coverage},
            on_progress=tick,
        )
        paths = write_report(record, out)
    for note in labelled.notes.lines:
        say(f"note: {note}")
    emit(record, as_json=json, human=lambda: describe_record(record))
    say(f"wrote {', '.join(str(path) for path in paths.values())}")
    if "png" not in paths:
        say("no picture: matplotlib is not installed (pip install matplotlib)")
