"""The typer application, and what all verbs share: options, progress and output."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fcn_edge.errors import BadInput, shown_as
from fcn_edge.redaction import redacted

if TYPE_CHECKING:
    from rich.table import Table

    from fcn_edge.engines.base import StageRuns

# As one meets them: what the program is for, what it is judged by, its single steps, what to ask it.
ORDER = (
    "build-engine",
    "run",
    "bench",
    "evaluate",
    "gate",
    "compare",
    "train",
    "export",
    "calibrate",
    "export-deepstream",
    "export-triton",
    "inspect",
    "models",
    "doctor",
    "demo",
)


class _Verbs(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=_Verbs,
    name="fcn-edge",
    help="Trained FCN segmentation networks at real time on the edge; the price of every millisecond in mIoU.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Target(str, Enum):
    auto = "auto"
    openvino = "openvino"
    onnxruntime = "onnxruntime"
    pytorch = "pytorch"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"
    reference = "reference"


class Execution(str, Enum):
    f32 = "f32"
    bf16 = "bf16"


class Provider(str, Enum):
    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"
    nv_tensorrt_rtx = "nv-tensorrt-rtx"


class Cluster(str, Enum):
    ray = "ray"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; all else goes to stderr.")]
Spec = Annotated[Path | None, typer.Option("--spec", help="TOML that describes an ONNX file made elsewhere.")]
RecipeName = Annotated[str | None, typer.Option("--recipe", help="Network of a plain state dict (see `models`).")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of the engine's compute.")]
AllowHostCode = Annotated[
    bool, typer.Option("--allow-host-code", help="Load a TensorRT plan that carries programs of its own.")
]
AllowOverlap = Annotated[bool, typer.Option("--allow-overlap", help="Calibration images may be among those of --data.")]
Model = Annotated[str | None, typer.Argument(help="Checkpoint, ONNX, engine directory or name; default: packaged.")]
Across = Annotated[
    Cluster | None, typer.Option("--cluster", help="Spread over the cluster at RAY_ADDRESS, or over this machine.")
]
Through = Annotated[Provider, typer.Option("--provider", help="What ONNX Runtime (--target onnxruntime) runs with.")]
On = Annotated[Target, typer.Option("--target", help="Engine to run on.")]
In = Annotated[Execution | None, typer.Option("--execution", help="Arithmetic of float layers [f32].")]
When = Annotated[
    str, typer.Option("--schedule", help="Stages over a video: fixed:K, fixed:1,2,4, adaptive:T (docs/clockwork.md).")
]

Tick = Callable[[str, int, int], None]


def stage_runs_in_words(stages: Sequence[StageRuns]) -> str:
    """Such as "stride 4 on 9 of 9 frames, stride 8 on 5 (up to 1 old)"."""
    first, *deeper = stages
    said = [f"stride {first.stride} on {first.runs} of {first.frames} frames{_old(first)}"]
    return ", ".join(said + [f"stride {stage.stride} on {stage.runs}{_old(stage)}" for stage in deeper])


def _old(stage: StageRuns) -> str:
    return f" (up to {stage.oldest} old)" if stage.oldest else ""


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from fcn_edge.device import package_versions

        print(f"fcn-edge {package_versions(['fcn-edge']).get('fcn-edge', '(run from a checkout, not installed)')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        say(ctx.get_help())
        raise typer.Exit(BadInput.exit_code)


def say(text: str) -> None:
    """One line for people, on stderr."""
    print(redacted(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One warning for people, on stderr."""
    say(f"warning: {text}")


def emit(value: Any, *, as_json: bool, human: Callable[[], None]) -> None:
    """The verb's result: one JSON object on stdout, or `human()`."""
    if as_json:
        print(json.dumps(value, allow_nan=False))
    else:
        human()


def describe_skipped(names: Sequence[str]) -> None:
    """What could not be read: how many, and each with its reason."""
    if names:
        print(f"{len(names)} skipped, because they cannot be read:")
    for text in names:
        print(f"  {text}")


def print_table(table: Table) -> None:
    """A rich table on stdout, never narrower than its content when stdout is a file."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160, markup=False, highlight=False).print(table)


@contextmanager
def progress() -> Iterator[Tick]:
    """A bar a task on a terminal's stderr, gone once it is full; call it with (what, done, total or 0)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None, visible=not total or done < total)

        yield tick


def size_from_text(text: str | None) -> tuple[int, int] | None:
    """(height, width) from "HxW". Raises BadInput."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if match is None:
        raise BadInput(f"--size {text}: write HEIGHTxWIDTH, such as 360x480")
    return int(match[1]), int(match[2])


def require_suffix(out: Path, suffix: str, what: str, *, option: str = "--out") -> None:
    """Raises BadInput where `out` would not be found again by its name."""
    if out.suffix != suffix:
        raise BadInput(f"{option} {out}: {what} ends in {suffix}, such as {out.stem or 'net'}{suffix}")


def recipe_of(name: str | None) -> Any:
    """The recipe of the export shelf, or None."""
    from fcn_edge.registry import recipe_from_shelf

    return None if name is None else recipe_from_shelf(name)


@contextmanager
def runnable(model: str | None, spec: Path | None, recipe: str | None = None) -> Iterator[Path]:
    """The file behind MODEL, made runnable: an ONNX file made elsewhere is wrapped by its --spec."""
    import tempfile

    from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path

    path = model_path(model)
    is_checkpoint = path.suffix.lower() in CHECKPOINT_SUFFIXES
    _require_no_more_words(path, spec if path.is_dir() or is_checkpoint else None, None if is_checkpoint else recipe)
    if path.is_dir() or (path.suffix.lower() == ".safetensors" and recipe is None):
        yield path
        return
    from fcn_edge.exporting import contract_file

    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        wrapped = Path(scratch) / path.with_suffix(".onnx").name
        with shown_as({wrapped: path}):
            yield contract_file(path, wrapped, spec=spec, recipe=recipe_of(recipe), warn=warn)


def _require_no_more_words(path: Path, spec: Path | None, recipe: str | None) -> None:
    """Raises BadInput where an option would be passed over in silence."""
    if spec is not None:
        raise BadInput(f"{path}: says itself what it is; --spec is for an ONNX file made elsewhere, leave it out")
    if recipe is not None:
        raise BadInput(f"{path}: --recipe names the network of a plain state dict, and this is none; leave it out")


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Inside the block SIGTERM is Ctrl-C, so that `systemctl stop` ends a run, and leaves nothing half written."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
