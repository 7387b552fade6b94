"""Verbs about networks and their files: models, inspect, train, export."""

from __future__ import annotations

import functools
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fcn_edge.cli.app import (
    Json,
    RecipeName,
    Spec,
    app,
    emit,
    print_table,
    progress,
    recipe_of,
    require_suffix,
    size_from_text,
    warn,
)
from fcn_edge.errors import BadInput
from fcn_edge.outputs import require_apart
from fcn_edge.schema import to_mapping


class Head(str, Enum):
    scores = "scores"
    logits = "logits"
    classes = "classes"


class Io(str, Enum):
    contract = "contract"
    plain = "plain"


@app.command()
def models(json: Json = False) -> None:
    """The networks that can be trained, with their cost.

    \b
    Example:
      fcn-edge models
    """
    from fcn_edge.engines import require_package

    require_package("pytorch")
    from fcn_edge.models.summary import network_summaries

    rows = network_summaries()

    def human() -> None:
        from rich.table import Table

        table = Table("network", "input", "stride", "skips", "parameters", "GMAC", "what")
        for row in rows:
            size, skips = f"{row['height']}x{row['width']}", " ".join(row["skips"]) or "none"
            cost = f"{row['parameters'] / 1e6:.2f} M", f"{row['gmac']:.2f}"
            table.add_row(row["name"], size, str(row["stride"]), skips, *cost, row["title"])
        print_table(table)

    emit({"networks": rows}, as_json=json, human=human)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Any file or engine directory of ours, or an ONNX file.")],
    json: Json = False,
) -> None:
    """What an artefact is: contract, precision, layers.

    \b
    Example:
      fcn-edge inspect model.int8.onnx
    """
    from fcn_edge.cli.inspecting import facts_from_file

    facts = facts_from_file(file)

    def human() -> None:
        for key, value in facts.items():
            print(f"{key:>18}  {value}")

    emit(facts, as_json=json, human=human)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A name of the export shelf, or a TOML file of your own.")],
    data: Annotated[str, typer.Option("--data", help="Training set, such as camvid:DIR#train.")],
    out: Annotated[Path, typer.Option("--out", help="Checkpoint to write (.safetensors).")],
    val: Annotated[str | None, typer.Option("--val", help="Keep the best on this set; else the last.")] = None,
    supplement: Annotated[str | None, typer.Option("--supplement", help="Synthetic set that is mixed in.")] = None,
    backgrounds: Annotated[
        list[str] | None, typer.Option("--backgrounds", help="Set behind the figures of composed scenes (repeatable).")
    ] = None,
    backbone: Annotated[Path | None, typer.Option("--backbone", help="ImageNet weights of the backbone.")] = None,
    start: Annotated[Path | None, typer.Option("--start", help="Checkpoint to begin with, as 16s with 32s.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Instead of the recipe's.")] = None,
    json: Json = False,
) -> None:
    """Fine-tune by a recipe, resumable, best checkpoint kept.

    Stopped or killed, the same command goes on after the last whole epoch. Beside the checkpoint
    stand its record (.record.json), its curves (.record.png) and the state that a run goes on from
    (.state). Neighbouring frames of a drive are alike: judge a recipe by a drive it never saw,
    then train it on all.

    \b
    Examples:
      fcn-edge train fcn4s_lite0_camvid --data camvid:camvid#train --val camvid:camvid#val \\
        --out net.safetensors
      fcn-edge train fcn4s_lite0_camvid --data camvid:camvid#train,without=0006R0 \\
        --val camvid:camvid#train,only=0006R0 --out unseen.safetensors
      fcn-edge train fcn4s_lite0_person --data folder:portraits#train --val folder:portraits#val \\
        --backgrounds camvid:camvid#train --out person.safetensors
      fcn-edge train fcn16s_vgg16_voc --data voc:VOC2012#train --val voc:VOC2012#val \\
        --start fcn32s.safetensors --out fcn16s.safetensors
    """
    from fcn_edge.cli.building import describe_training
    from fcn_edge.training import IMAGENET
    from fcn_edge.training import train as train_network

    require_suffix(out, ".safetensors", "a checkpoint")
    require_apart([out], [start, backbone])
    with progress() as tick:
        trained = train_network(
            recipe,
            data=data,
            out=out,
            val=val,
            supplement=supplement,
            backgrounds=backgrounds or (),
            backbone=backbone or IMAGENET,
            start=start,
            epochs=epochs,
            progress=tick,
        )
    result = {
        "checkpoint": str(out),
        "best_miou": trained.record.best_miou,
        "epochs": len(trained.record.epochs),
        "resumed_after": trained.resumed_after,
    }
    emit(result, as_json=json, human=lambda: describe_training(result))


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Checkpoint, or an ONNX file made elsewhere with --spec.")],
    out: Annotated[Path, typer.Option("--out", help="ONNX file to write.")],
    size: Annotated[str | None, typer.Option("--size", help="HxW instead of the checkpoint's.")] = None,
    head: Annotated[Head, typer.Option("--head", help="Where the graph ends.")] = Head.scores,
    io: Annotated[Io, typer.Option("--io", help="contract: uint8 frames in; plain: float NCHW in.")] = Io.contract,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Any multiple of 32 at run time.")] = False,
    same_padding: Annotated[
        bool, typer.Option("--same-padding", help="A pad-100 network pads its maps instead: faster, another accuracy.")
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled set on which to measure the price of --same-padding.")
    ] = None,
    recipe: RecipeName = None,
    spec: Spec = None,
    json: Json = False,
) -> None:
    """A checkpoint as ONNX, held against PyTorch first.

    An ONNX file made elsewhere gets the contract that its --spec describes. --same-padding makes
    another network of the same weights, without the original's border of 100 pixels: with --data
    both are evaluated.

    \b
    Examples:
      fcn-edge export net.safetensors --out net.onnx --size 384x512
      fcn-edge export other.onnx --spec other.toml --out net.onnx
      fcn-edge export fcn8s.safetensors --same-padding --data voc:VOC2012#val --out same.onnx
    """
    from fcn_edge.atomic_io import require_file
    from fcn_edge.cli.building import describe_padding
    from fcn_edge.engines import CHECKPOINT_SUFFIXES
    from fcn_edge.exporting import ExportOptions, contract_file, onnx_from_checkpoint

    require_file(model, "a checkpoint or an ONNX file")
    require_suffix(out, ".onnx", "an ONNX file")
    if data is not None and not same_padding:
        raise BadInput("--data measures what --same-padding costs: give both, or neither")
    if model.suffix.lower() not in CHECKPOINT_SUFFIXES:
        if (size, head, io, dynamic, same_padding) != (None, Head.scores, Io.contract, False, False):
            raise BadInput(
                "--size, --head, --io, --dynamic and --same-padding are for checkpoints; an ONNX file is only wrapped"
            )
        path = contract_file(model, out, spec=spec, warn=warn)
        if path != out:
            raise BadInput(f"{model}: carries its contract already; there is nothing to export")
        origin = spec or "its own metadata"
        emit({"onnx": str(out)}, as_json=json, human=lambda: print(f"{out}: {model} with the contract of {origin}"))
        return
    if spec is not None:
        raise BadInput(f"{model}: a checkpoint; --spec describes an ONNX file made elsewhere")
    options = ExportOptions(size_from_text(size), head.value, io.value, dynamic, same_padding)
    price = None
    if data is None:
        made = onnx_from_checkpoint(model, out, options=options, recipe=recipe_of(recipe))
    else:
        from fcn_edge.data import dataset_from_name
        from fcn_edge.exporting.padding import same_padding_from_checkpoint

        with progress() as tick:
            made, price = same_padding_from_checkpoint(
                model,
                out,
                dataset_from_name(data),
                options=options,
                recipe=recipe_of(recipe),
                on_image=functools.partial(tick, "evaluating both"),
            )
    result = {
        "onnx": str(made.path),
        "opset": made.opset,
        "relative_error": made.parity.relative_error,
        "agreement": made.parity.agreement,
        "checked_with": made.parity.engine,
    }
    if same_padding:
        result["same_padding"] = None if price is None else to_mapping(price)

    def human() -> None:
        shown = f"{made.parity.agreement:.3%} of pixels as in PyTorch ({made.parity.engine})"
        print(f"{out}: opset {made.opset}, {shown}")
        if same_padding:
            describe_padding(price, str(out))

    emit(result, as_json=json, human=human)
