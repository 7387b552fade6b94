"""The verb `run`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
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
from fcn_edge.cli._print import emit, print_skipped, progress_bar, say, stage_runs_in_words, warn

if TYPE_CHECKING:
    from fcn_edge.streaming.summary import Summary


@verb
def run(
    model: ModelArgument = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Camera number, video, folder, URL or synthetic:… (repeatable) [0]."),
    ] = None,
    sink: Annotated[
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
    silence: Annotated[
        float, typer.Option("--silence", min=0.1, help="Seconds without a frame before a live source is reopened.")
    ] = 3.0,
    await_: Annotated[bool, typer.Option("--await", help="Wait for live sources that cannot be opened yet.")] = False,
    opacity: Annotated[
        float, typer.Option("--opacity", min=0, max=1, help="Opacity of the class colours, 0 to 1.")
    ] = 0.5,
    ignore_class: Annotated[
        list[str] | None, typer.Option("--ignore-class", help="Class that is neither drawn nor counted (repeatable).")
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option("--roi", help="Region NAME=x,y x,y x,y in shares of width and height, 0 to 1 (repeatable)."),
    ] = None,
    event: Annotated[
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
            "--config", is_eager=True, callback=take_config, help="TOML file with these options (docs/running.md)."
        ),
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="Log file with states and figures, at most 16 MB.")] = None,
    json: JsonOption = False,
) -> None:
    """Segment cameras, videos or folders into sinks.

    Several sources share one engine. Each has its own output files: out.mp4 becomes out-0.mp4, out-1.mp4, and
    masks/ becomes masks/0/, masks/1/. Only files that fcn-edge wrote are replaced (docs/running.md).

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
    from fcn_edge import streaming
    from fcn_edge.engines import EngineOptions, open_engine
    from fcn_edge.engines.packaged import fastest_packaged
    from fcn_edge.errors import BadInput, SourceLost
    from fcn_edge.exporting.runnable import runnable_file
    from fcn_edge.frame import Style
    from fcn_edge.outputs import require_apart
    from fcn_edge.schema import to_mapping
    from fcn_edge.spec import class_index
    from fcn_edge.streaming.capture import policy_for
    from fcn_edge.streaming.pipeline import frames_in_flight
    from fcn_edge.streaming.regions import region_from_text, require_distinct, rule_from_text
    from fcn_edge.streaming.sinks import SinkOptions, paths_of_sinks
    from fcn_edge.streaming.sources import Patience, recordings_of, source_from_uri

    patience = Patience(silence, retries, await_)
    uris, addresses = sink or ["display://0"], source or ["0"]
    if cluster:
        _require_files_of_recordings(uris, policy, event, events)
        addresses = [recording for uri in addresses for recording in recordings_of(uri)]
    written = [path for path in (log, events, *paths_of_sinks(uris)) if path is not None]
    require_apart(written, [model, spec, config, *addresses])
    with logged(log) as note, ExitStack() as ends:
        options = EngineOptions(
            execution,
            threads or (1 if cluster else None),
            provider=provider,
            schedule=schedule,
            allow_host_code=allow_host_code,
        )
        model, options = fastest_packaged(model, target, options)
        path = ends.enter_context(runnable_file(model, spec=spec, recipe=recipe, warn=warn))
        sources = [ends.enter_context(source_from_uri(uri, patience)) for uri in addresses]
        if cluster and (live := [one.uri for one in sources if one.is_live]):
            raise BadInput(f"--cluster ray takes recordings; {', '.join(live)} is live and runs on one machine only")
        in_flight = frames_in_flight(sources, [policy_for(one, policy) for one in sources])
        options = replace(options, in_flight=in_flight)
        engine = ends.enter_context(open_engine(path, target=target, options=options))
        style = Style(opacity, hidden_classes=tuple(class_index(engine.spec, name) for name in ignore_class or ()))
        regions = tuple(region_from_text(text) for text in roi or ())
        require_distinct(regions)
        rules = tuple(rule_from_text(text, engine.spec, regions) for text in event or ())
        read = (*(file for one in sources for file in one.files), path)
        drawn = SinkOptions(legend, style, regions, rules, events, log is not None and cluster is None, read)
        if cluster:
            from fcn_edge.cluster import run_on_ray

            progress = ends.enter_context(progress_bar())
            summary = run_on_ray(
                path,
                addresses,
                uris,
                target=engine.target,
                options=options,
                drawn=drawn,
                limit=limit,
                progress=progress,
            )
        else:
            summary = streaming.run(
                engine,
                source=sources,
                sinks=uris,
                policy=policy,
                limit=limit,
                style=style,
                options=drawn,
                progress=ends.enter_context(progress_bar()),
            )
        for text in filter(None, (*summary.outputs, *summary.notes, summary.failed, summary.lost)):
            note(text)
    emit(to_mapping(summary), as_json=json, human=lambda: _print_summary(summary))
    if summary.failed:
        say(f"fcn-edge: {summary.failed}")
        raise typer.Exit(BadInput.exit_code)
    if summary.lost:
        say(f"fcn-edge: {summary.lost}")
        raise typer.Exit(SourceLost.exit_code)


def _require_files_of_recordings(
    sinks: list[str], policy: Policy | None, event: list[str] | None, events: Path | None
) -> None:
    """Raises BadInput where something was asked that no cluster can do."""
    from fcn_edge.errors import BadInput
    from fcn_edge.redaction import redacted

    unfit = [redacted(uri) for uri in sinks if uri.startswith(("display://", "http://"))]
    unfit += ["--policy newest"] * (policy == "newest") + ["--event"] * bool(event) + ["--events"] * bool(events)
    if unfit:
        known = "--sink may be a FOLDER/, FILE.mp4, FILE.mkv, FILE.jsonl or null:"
        raise BadInput(f"--cluster ray writes files of recordings, and nothing for {', '.join(unfit)}; {known}")


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
        print(text)
    print_skipped(summary.skipped)
