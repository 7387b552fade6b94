"""Verbs about this machine: doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli.app import Json, app, emit, print_table, progress, say
from fcn_edge.errors import SourceLost

if TYPE_CHECKING:
    from fcn_edge.demo import DemoResult
    from fcn_edge.doctor import Diagnosis


@app.command()
def doctor(json: Json = False) -> None:
    """What this machine can run, and what is in the way.

    \b
    Example:
      fcn-edge doctor
    """
    from fcn_edge.doctor import diagnose
    from fcn_edge.schema import to_mapping

    diagnosis = diagnose()
    emit(to_mapping(diagnosis), as_json=json, human=lambda: _describe(diagnosis))


def _describe(diagnosis: Diagnosis) -> None:
    from rich.table import Table

    device = diagnosis.device
    print(f"{device['cpu']}, {device['cores']} cores, {device['memory_gb']} GB: {' '.join(device['instruction_sets'])}")
    table = Table("", "what", "found", "what to do")
    for finding in diagnosis.findings:
        table.add_row(finding.state, finding.name, finding.found, finding.advice)
    print_table(table)


@app.command()
def demo(
    source: Annotated[str | None, typer.Option("--source", help="Your own video; default: synthetic streets.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")] = Path("out/demo"),
    json: Json = False,
) -> None:
    """The whole story on synthetic streets or your video.

    Checkpoint to ONNX to INT8 to engines to mIoU and latency to an annotated video: a few
    minutes on two cores.

    \b
    Example:
      fcn-edge demo --source my.mp4
    """
    from fcn_edge.demo import run_demo
    from fcn_edge.schema import to_mapping

    with progress() as tick:
        result = run_demo(out, source=source, on_stage=lambda text: say(f"- {text}"), on_progress=tick)
    emit(to_mapping(result), as_json=json, human=lambda: _describe_demo(result))
    if lost := result.summary["lost"]:
        say(f"fcn-edge: {lost}")
        raise typer.Exit(SourceLost.exit_code)


def _describe_demo(result: DemoResult) -> None:
    from fcn_edge.cli.benching import describe_record
    from fcn_edge.demo import plan_in_words

    describe_record(result.record)
    for manifest in result.nvidia:
        print(f"{plan_in_words(manifest)}; mIoU {manifest['miou_note']}")
    print(f"video: {result.summary['frames_out']} frames, {result.summary['fps']:.1f} a second, drawing included")
    for path, meaning in result.files.items():
        print(f"  {path}  {meaning}")
