"""Run a model by its name on sources and sinks by their addresses: what the verb `run` does, with one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fcn_edge import streaming
from fcn_edge.choices import Policy, TargetOrAuto
from fcn_edge.cluster import run_on_ray
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.packaged import fastest_packaged
from fcn_edge.errors import BadInput
from fcn_edge.exporting.runnable import runnable_file
from fcn_edge.frame import Style
from fcn_edge.outputs import require_apart
from fcn_edge.progress import SILENT, Progress
from fcn_edge.redaction import redacted
from fcn_edge.spec import ModelSpec, class_index
from fcn_edge.streaming.capture import policy_for
from fcn_edge.streaming.pipeline import frames_in_flight
from fcn_edge.streaming.regions import region_from_text, require_distinct, rule_from_text
from fcn_edge.streaming.sinks import SinkOptions, paths_of_sinks
from fcn_edge.streaming.sources import Patience, Source, recordings_of, source_from_uri
from fcn_edge.streaming.summary import Summary

CAMERA, WINDOW = "0", "display://0"  # where nothing else is named


@dataclass(frozen=True)
class Streams:
    """Where frames come from and results go.

    Args:
        source: addresses (docs/reference/sources.md); empty for camera 0. Several sources share the engine.
        sinks: addresses (docs/reference/sinks.md); empty for a window.
        policy: which frames are segmented; None for the newest of live sources, every of others.
        limit: number of frames of each source.
        patience: how long live sources are waited for.
    """

    source: Sequence[str] = ()
    sinks: Sequence[str] = ()
    policy: Policy | None = None
    limit: int | None = None
    patience: Patience = Patience()  # noqa: RUF009 - frozen

    @property
    def addresses(self) -> list[str]:
        """Of the sources."""
        return list(self.source) or [CAMERA]

    @property
    def outputs(self) -> list[str]:
        """Addresses of the sinks."""
        return list(self.sinks) or [WINDOW]

    def paths(self) -> list[Path]:
        """What the sinks write to."""
        return [Path(path) for path in paths_of_sinks(self.outputs)]


@dataclass(frozen=True)
class ViewOptions:
    """What sinks draw and watch, in words, for a network whose classes are not known yet.

    Args:
        legend: draw class names and figures. opacity: of the class colours, 0 to 1.
        hidden_classes: names of classes that are neither drawn nor counted.
        regions: such as "door=0.1,0.2 0.5,0.2 0.5,1", in shares of width and height.
        rules: such as "car in door > 20% for 2s".
        events: file for events as JSON lines; None for stderr.
        is_logged: states and figures of the sources are logged.
    """

    legend: bool = True
    opacity: float = 0.5
    hidden_classes: Sequence[str] = ()
    regions: Sequence[str] = ()
    rules: Sequence[str] = ()
    events: Path | None = None
    is_logged: bool = False

    def sink_options(self, spec: ModelSpec, read: Sequence[Path]) -> SinkOptions:
        """For a network. read: files that no sink may write over. Raises BadInput for unknown classes and regions."""
        regions = tuple(region_from_text(text) for text in self.regions)
        require_distinct(regions)
        return SinkOptions(
            legend=self.legend,
            style=Style(self.opacity, hidden_classes=tuple(class_index(spec, name) for name in self.hidden_classes)),
            regions=regions,
            rules=tuple(rule_from_text(text, spec, regions) for text in self.rules),
            events=self.events,
            is_logged=self.is_logged,
            read=tuple(read),
        )


def run_model(
    model: str | Path | None = None,
    *,
    streams: Streams = Streams(),
    view: ViewOptions = ViewOptions(),
    target: TargetOrAuto = "auto",
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
    spec: Path | None = None,
    recipe: str | None = None,
    cluster: Literal["ray"] | None = None,
    progress: Progress = SILENT,
) -> Summary:
    """Open a model and segment sources into sinks until all sources end, a window is closed or Ctrl-C.

    Args:
        model: a checkpoint, ONNX file, engine directory, packaged name, or None for the packaged file that runs
            fastest here.
        streams: sources and sinks.
        view: what sinks draw and watch.
        target: the engine to run on.
        options: of the engine.
        spec: TOML file that describes a model made elsewhere.
        recipe: name or TOML file of the recipe of a plain state dict.
        cluster: each recording goes to one worker of a cluster, on one core unless `options` give threads. A source
            may then also be a folder or a glob of videos.
        progress: receives the frames done, and what people should know.

    Returns:
        What was done; see `fcn_edge.streaming.run`.

    Raises:
        BadInput: an unknown model, source, sink, class or region, or an output that is also an input.
        BackendMissing: a package, device or cluster is missing. SourceLost: no source gave even one frame.

    Example:
        >>> run_model("engine", streams=Streams(["drive.mp4"], ["out.mp4"])).frames_out
    """
    addresses = streams.addresses
    if cluster:
        _require_recordings_to_files(streams, view)
        addresses = [recording for address in addresses for recording in recordings_of(address)]
        options = replace(options, threads=options.threads or 1)
        view = replace(view, is_logged=False)
    written = [*streams.paths(), *([view.events] if view.events is not None else [])]
    require_apart(written, [model, spec, *addresses])
    name, options = fastest_packaged(None if model is None else str(model), target, options)
    with ExitStack() as ends:
        path = ends.enter_context(runnable_file(name, spec=spec, recipe=recipe, progress=progress))
        sources = [ends.enter_context(source_from_uri(address, streams.patience)) for address in addresses]
        if cluster and (live := [source.uri for source in sources if source.is_live]):
            raise BadInput(f"`cluster={cluster}` takes recordings, and {', '.join(live)} is live")
        options = replace(options, in_flight=_in_flight(sources, streams.policy))
        engine = ends.enter_context(open_engine(path, target=target, options=options))
        drawn = view.sink_options(engine.spec, [*(file for source in sources for file in source.files), path])
        if cluster:
            return run_on_ray(
                path,
                addresses,
                streams.outputs,
                target=engine.target,
                options=options,
                drawn=drawn,
                limit=streams.limit,
                progress=progress,
            )
        return streaming.run(
            engine,
            source=sources,
            sinks=streams.outputs,
            policy=streams.policy,
            limit=streams.limit,
            style=drawn.style,
            options=drawn,
            progress=progress,
        )


def _in_flight(sources: Sequence[Source], policy: Policy | None) -> int:
    return frames_in_flight(sources, [policy_for(source, policy) for source in sources])


def _require_recordings_to_files(streams: Streams, view: ViewOptions) -> None:
    """Raises BadInput where something was asked that no cluster can do."""
    unfit = [redacted(uri) for uri in streams.outputs if uri.startswith(("display://", "http://"))]
    unfit += ["`policy=newest`"] * (streams.policy == "newest")
    unfit += ["`rules`"] * bool(view.rules) + ["`events`"] * bool(view.events)
    if unfit:
        known = "`sinks` may be FOLDER/, FILE.mp4, FILE.mkv, FILE.jsonl or null:"
        raise BadInput(f"`cluster=ray` writes files of recordings, and nothing for {', '.join(unfit)}; {known}")
