"""The verb `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption
from fcn_edge.cli._print import emit, print_skipped, print_table, progress_bar, say, show

if TYPE_CHECKING:
    from fcn_edge.comparison import Comparison

SHOWN = 10  # layers, and class changes, that people are shown; JSON holds all
MARKED = 3
SIDE = "checkpoint, ONNX file, engine directory or packaged name"


@verb
def compare(
    a: Annotated[str | None, typer.Argument(help=f"The reference: {SIDE} [packaged network].")] = None,
    b: Annotated[
        str | None, typer.Argument(help=f"Compared with it: {SIDE} [packaged INT8 network, where A is packaged].")
    ] = None,
    *,
    images: Annotated[
        str, typer.Option("--images", help="Images to compare on: folder, glob, video, data set or TOML.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for compare.json and disagreement.png.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of images, evenly spread.")] = 8,
    min_agreement: Annotated[
        float | None,
        typer.Option("--min-agreement", min=0, max=100, help="Least share of equal pixels, in % [by precision]."),
    ] = None,
    min_sqnr: Annotated[
        float | None,
        typer.Option("--min-sqnr", help="Least SQNR of a layer given the same input, in dB [by precision]."),
    ] = None,
    max_levels: Annotated[
        float,
        typer.Option("--max-levels", min=0, help="Largest difference of the network's input, in levels of 0..255."),
    ] = 0.5,
    spec_a: Annotated[Path | None, typer.Option("--spec-a", help="TOML of A, an ONNX file made elsewhere.")] = None,
    spec_b: Annotated[Path | None, typer.Option("--spec-b", help="TOML of B, an ONNX file made elsewhere.")] = None,
    recipe_a: Annotated[str | None, typer.Option("--recipe-a", help="Network of A, a plain state dict.")] = None,
    recipe_b: Annotated[str | None, typer.Option("--recipe-b", help="Network of B, a plain state dict.")] = None,
    json: JsonOption = False,
) -> None:
    """Find the first stage in which two artefacts differ.

    The stages are frame, resize, colour, mean, std, network (layer by layer), upsample and argmax. Each stage
    is given A's values as input, so an earlier difference does not count again. What a graph does to a frame
    is measured with colour frames, so a spec that contradicts its graph is found as well.

    Exit code 0: every stage agrees within the limits; 1: one does not. Limits follow the less exact precision
    of both (fp32; fp16 or bf16; int8): class maps agree on 99.9, 99 or 80 % of pixels, and each layer, given
    the same input, reaches 60, 40 or 20 dB.

    \b
    Examples:
      fcn-edge compare net.safetensors net.onnx --images camvid:camvid#val
      fcn-edge compare net.onnx net.int8.onnx --images camvid:camvid#val --min-agreement 97 --out diff
      fcn-edge compare net.onnx other.onnx --spec-b other.toml --images photos/ --json
    """
    from fcn_edge import comparison

    a, b = _both_sides(a, b)
    limits = comparison.StageLimits(max_levels, min_sqnr, None if min_agreement is None else min_agreement / 100)
    with progress_bar() as progress:
        result = comparison.compare(
            a,
            b,
            images,
            count=count,
            limits=limits,
            spec_a=spec_a,
            spec_b=spec_b,
            recipe_a=recipe_a,
            recipe_b=recipe_b,
            out=out,
            progress=progress,
        )
    emit(result.to_mapping(), as_json=json, human=lambda: _print_comparison(result))
    if out is not None:
        say(f"wrote {', '.join(str(path) for path in comparison.files_of_comparison(out).values())}")
    raise typer.Exit(result.exit_code)


def _both_sides(a: str | None, b: str | None) -> tuple[str, str]:
    """A and B; nothing is the packaged network and its INT8 form."""
    from fcn_edge.errors import BadInput
    from fcn_edge.registry import PACKAGED_INT8, PACKAGED_NETWORK

    a = a or PACKAGED_NETWORK
    if b is None and a != PACKAGED_NETWORK:
        raise BadInput(f"`b` is missing: name what is compared with {a}")
    return a, b or PACKAGED_INT8


def _print_comparison(comparison: Comparison) -> None:
    from rich.table import Table

    print(comparison.verdict)
    stages = Table("stage", "", "found")
    for stage in comparison.stages:
        mark = {"same": "same", "differs": "DIFFERS", "unknown": "?"}[stage.state]
        stages.add_row(stage.name, mark, stage.finding)
    print_table(stages)
    if comparison.layers:
        _print_layers(comparison)
    _print_classes(comparison)
    limits = comparison.limits
    print(
        f"limits: {limits.levels:g} levels of input (--max-levels), {limits.sqnr_db:g} dB a layer (--min-sqnr),"
        f" {100 * (limits.agreement or 0):g} % of pixels (--min-agreement)"
    )
    print_skipped(comparison.skipped)
    for note in comparison.notes:
        show(f"note: {note}")


def _print_layers(comparison: Comparison) -> None:
    """The layers that lose most, in the network's order; the three lowest of them marked."""
    from rich.table import Table

    from fcn_edge.engines.agreement import EXACT_DB

    different = [layer for layer in comparison.layers if layer.alone_db < EXACT_DB]
    lowest = sorted(different, key=lambda layer: layer.alone_db)
    shared, of_a = comparison.matched
    if not lowest:
        print(f"{shared} tensors that both have, of A's {of_a}: all equal")
        return
    shown, marked = lowest[:SHOWN], lowest[:MARKED]
    title = f"SQNR of {shared} tensors that both have, of A's {of_a}; the {len(shown)} lowest"
    table = Table("", "layer", "op", "alone dB", "carried dB", title=title)
    for layer in comparison.layers:
        if layer in shown:
            mark = "<" if layer in marked else ""
            table.add_row(mark, layer.name, layer.op, f"{layer.alone_db:.1f}", f"{layer.carried_db:.1f}")
    print_table(table)
    print("alone: fed A's tensors; carried: from A's network input on; 200 dB: no difference at all")


def _print_classes(comparison: Comparison) -> None:
    """Which classes move where, and the IoU of both where there are labels."""
    moved = sorted(
        (
            (int(comparison.confusion[i, j]), a, b)
            for i, a in enumerate(comparison.classes)
            for j, b in enumerate(comparison.classes)
            if i != j and comparison.confusion[i, j]
        ),
        reverse=True,
    )
    total = comparison.confusion.sum()
    if moved:
        words = (f"{a} -> {b} {n / total:.2%}" for n, a, b in moved[:SHOWN])
        print(f"pixels of {comparison.images} images that change class from A to B: {', '.join(words)}")
    a, b = comparison.scores
    if a is None or b is None:
        return
    from rich.table import Table

    table = Table("class", "IoU of A", "IoU of B", "delta")
    for name, x, y in [*zip(comparison.classes, a.iou, b.iou), ("mean", a.miou, b.miou)]:
        delta = "" if x is None or y is None else f"{100 * (y - x):+.2f}"
        table.add_row(name, *("absent" if v is None else f"{100 * v:.2f}" for v in (x, y)), delta)
    print_table(table)
