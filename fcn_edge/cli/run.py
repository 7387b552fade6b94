"""The verb `run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fcn_edge.choices import Policy
from fcn_edge.cli._app import verb
from fcn_edge.cli._config import take_config
from fcn_edge.cli._log import logged
from fcn_edge.cli._options import (
    AllowHostCodeOption,
    ClusterOption,
    JsonOption,
    ModelArgument,
    ProviderOption,
    RecipeOption,
    ScheduleOption,
    SpecOption,
    TargetOption,
    ThreadsOption,
)
from fcn_edge.cli._print import emit, print_skipped, progress_bar, say, show, stage_runs_in_words
from fcn_edge.errors import BadInput, SourceLost

if TYPE_CHECKING:
    from fcn_edge.streaming.summary import Summary


@verb
def run(
    model: ModelArgument = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Camera number, video, folder, URL or synthetic:… (repeatable) [0]."),
    ] = None,
    sinks: Annotated[
        list[str] | None,
        typer.Option(
            "--sink", help="Output such as out.mp4, masks/ or http://127.0.0.1:8080 (repeatable) [display://0]."
        ),
    ] = None,
    target: TargetOption = "auto",
    execution: Annotated[
        Literal["f32", "bf16"] | None,
        typer.Option("--execution", help="Arithmetic of float layers [f32; packaged fp32 file: bf16 if it can]."),
    ] = None,
    provider: ProviderOption = "cpu",
    schedule: ScheduleOption = "every",
    policy: Annotated[
        Policy | None, typer.Option("--policy", help="Frames to segment [newest for live sources, every for files].")
    ] = None,
    retries: Annotated[
        int | None, typer.Option("--retries", min=0, help="Consecutive attempts to reopen a live source [unlimited].")
    ] = None,
    silent_s: Annotated[
        float, typer.Option("--silence", min=0.1, help="Seconds without a frame before a live source is reopened.")
    ] = 3.0,
    awaited: Annotated[bool, typer.Option("--await", help="Wait for live sources that cannot be opened yet.")] = False,
    opacity: Annotated[
        float, typer.Option("--opacity", min=0, max=1, help="Opacity of the class colours, 0 to 1.")
    ] = 0.5,
    hidden_classes: Annotated[
        list[str] | None, typer.Option("--ignore-class", help="Class that is neither drawn nor counted (repeatable).")
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option("--roi", help="Region NAME=x,y x,y x,y in shares of width and height, 0 to 1 (repeatable)."),
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option("--event", help="Event rule such as 'car in NAME > 20% for 2s' (repeatable).")
    ] = None,
    events: Annotated[Path | None, typer.Option("--events", help="File for events as JSON lines [stderr].")] = None,
    legend: Annotated[bool, typer.Option(help="Draw class names, frame rate and latency.")] = True,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Number of frames per source.")] = None,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    threads: ThreadsOption = None,
    allow_host_code: AllowHostCodeOption = False,
    cluster: ClusterOption = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            is_eager=True,
            callback=take_config,
            help="TOML file with these options.",
        ),
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="Log file with states and figures, at most 16 MB.")] = None,
    json: JsonOption = False,
) -> None:
    """Segment cameras, videos or folders into sinks.

    Several sources share one engine. Each has its own output files: out.mp4 becomes out-0.mp4, out-1.mp4, and
    masks/ becomes masks/0/, masks/1/. Only files that fcn-edge wrote are replaced (docs/reference/files.md).

    Ctrl-C and SIGTERM end a run cleanly: sinks are closed, the summary is printed, the exit code is 0. If a
    sink cannot be written, the run ends with exit code 2.

    A live source that is lost or silent is opened again: soon at first, then every half second while the host
    does not answer, every 30 s while it refuses. If it is given up, or a file is truncated, the summary says
    so and the exit code is 4.

    With --cluster ray each recording goes to one worker, which computes on one core unless --threads is given;
    class maps are bit-identical. A source may then also be a folder or a glob of videos.

    \b
    Examples:
      fcn-edge run --source 0
      fcn-edge run engine --source drive.mp4 --sink out.mp4 --sink masks/
      fcn-edge run --source rtsp://camera/stream --sink null: --limit 1000 --json
      fcn-edge run --source drive.mp4 --schedule fixed:1,2,4 --sink out.mp4
      fcn-edge run --source rtsp://front/1 --source rtsp://back/1 --sink out.mp4
      fcn-edge run --source 0 --sink http://127.0.0.1:8080 --event 'car>20%@2s'
      fcn-edge run --source 'archive/*.mp4' --sink masks/ --sink out.mp4 --cluster ray
    """
    from fcn_edge.engines import EngineOptions
    from fcn_edge.model_run import Streams, ViewOptions, run_model
    from fcn_edge.outputs import require_apart
    from fcn_edge.schema import to_mapping
    from fcn_edge.streaming.sources import Patience

    streams = Streams(source or (), sinks or (), policy, limit, Patience(silent_s, retries, awaited))
    view = ViewOptions(legend, opacity, hidden_classes or (), regions or (), rules or (), events, log is not None)
    written = [path for path in (log, events, *streams.paths()) if path is not None]
    require_apart(written, [model, spec, config, *streams.addresses])
    with logged(log) as note, progress_bar() as progress:
        summary = run_model(
            model,
            streams=streams,
            view=view,
            target=target,
            options=EngineOptions(
                execution, threads, provider=provider, schedule=schedule, allow_host_code=allow_host_code
            ),
            spec=spec,
            recipe=recipe,
            cluster=cluster,
            progress=progress,
        )
        for text in filter(None, (*summary.outputs, *summary.notes, summary.failed, summary.lost)):
            note(text)
    emit(to_mapping(summary), as_json=json, human=lambda: _print_summary(summary))
    _exit_by(summary)


def _exit_by(summary: Summary) -> None:
    """Exit code 2 where a sink failed, 4 where a source was lost."""
    for text, error in ((summary.failed, BadInput), (summary.lost, SourceLost)):
        if text:
            say(f"fcn-edge: {text}")
            raise typer.Exit(error.exit_code)


def _print_summary(summary: Summary) -> None:
    if summary.interrupted:
        print("interrupted; what was written is complete up to here")
    print(
        f"{summary.frames_out} of {summary.frames_in} frames, {summary.fps:.1f} fps,"
        f" {summary.dropped} dropped, {summary.gaps} gaps, {summary.reconnects} reconnects"
    )
    stages = ", ".join(f"{name} {q.p50:.1f}" for name, q in summary.stages_ms.items() if q.p50 is not None)
    for s in summary.streams if len(summary.streams) > 1 else ():
        print(
            f"  {s.source}: {s.frames_out} of {s.frames_in} frames, {s.dropped} dropped, {s.gaps} gaps,"
            f" {s.reconnects} reconnects; age {s.frame_age_ms.p50 or 0:.1f} ms"
        )
    print(f"p50 ms: {stages}; frame age {summary.frame_age_ms.p50 or 0:.1f}; memory {summary.peak_rss_mb:.0f} MB")
    print(f"{summary.target}, {summary.precision}, executed in {summary.execution}")
    if summary.stage_runs:
        print(f"schedule {summary.schedule}: {stage_runs_in_words(summary.stage_runs)}")
    if summary.not_finite:
        print(f"warning: the scores of {summary.not_finite} frames hold NaN or infinity; their class maps mean nothing")
    for text in (*summary.outputs, *summary.notes):
        show(text)
    print_skipped(summary.skipped)
