"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, progress_bar, say
from fcn_edge.cli.bench import print_record
from fcn_edge.errors import SourceLost

if TYPE_CHECKING:
    from fcn_edge.demo import DemoResult


@verb
def demo(
    source: Annotated[str | None, typer.Option("--source", help="Your own video [synthetic streets].")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for all files.")] = Path("out/demo"),
    json: JsonOption = False,
) -> None:
    """Run the whole pipeline on synthetic streets or a video.

    Exports the packaged checkpoint to ONNX, calibrates INT8, builds engines, measures mIoU and latency of
    each, and writes an annotated video. Takes a few minutes on two cores.

    \b
    Example:
      fcn-edge demo --source my.mp4
    """
    from fcn_edge.demo import run_demo

    with progress_bar() as progress:
        result = run_demo(out, source=source, progress=progress)
    emit(result.to_mapping(), as_json=json, human=lambda: _print_demo(result))
    if lost := result.summary["lost"]:
        say(f"fcn-edge: {lost}")
        raise typer.Exit(SourceLost.exit_code)


def _print_demo(result: DemoResult) -> None:
    from fcn_edge.demo import plan_in_words

    print_record(result.record)
    for manifest in result.nvidia:
        print(f"{plan_in_words(manifest)}; mIoU {manifest.miou_note}")
    print(f"video: {result.summary['frames_out']} frames, {result.summary['fps']:.1f} fps, drawing included")
    for path, meaning in result.files.items():
        print(f"  {path}  {meaning}")
