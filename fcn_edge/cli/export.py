"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn_edge.choices import GraphIo
from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption, ModelArgument, RecipeOption, SpecOption
from fcn_edge.cli._parse import require_suffix, size_from_text
from fcn_edge.cli._print import emit, progress_bar
from fcn_edge.schema import to_mapping
from fcn_edge.spec import HeadKind

if TYPE_CHECKING:
    from fcn_edge.exporting import Exported, PaddingEffect


@verb
def export(
    model: ModelArgument = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="ONNX file to write.")],
    size: Annotated[str | None, typer.Option("--size", help="Input size HxW [the checkpoint's].")] = None,
    head: Annotated[
        HeadKind, typer.Option("--head", help="Output of the graph: score map, logits at input size, or class indices.")
    ] = "scores",
    io: Annotated[
        GraphIo, typer.Option("--io", help="Input of the graph: uint8 BGR frames (contract) or float NCHW (plain).")
    ] = "contract",
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Leave the input size open: any multiple of 32.")] = False,
    same_padding: Annotated[
        bool, typer.Option("--same-padding", help="Pad in each layer instead of by 100 pixels: faster, another mIoU.")
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="Labelled data set on which the effect of --same-padding is measured.")
    ] = None,
    recipe: RecipeOption = None,
    spec: SpecOption = None,
    json: JsonOption = False,
) -> None:
    """Export a checkpoint to ONNX, checked against PyTorch.

    The file holds its contract: classes, mean, std, geometry. It is written once its class maps agree with
    PyTorch's. An ONNX file made elsewhere gets the contract that its --spec describes.

    --same-padding replaces the original padding of 100 pixels by padding in each layer: a faster network of
    the same weights with another mIoU; with --data both are evaluated.

    \b
    Examples:
      fcn-edge export net.safetensors --out net.onnx --size 384x512
      fcn-edge export other.onnx --spec other.toml --out net.onnx
      fcn-edge export fcn8s.safetensors --same-padding --data voc:VOC2012#val --out same.onnx
    """
    from fcn_edge import exporting

    require_suffix(out, ".onnx", "an ONNX file")
    with progress_bar() as progress:
        made = exporting.export(
            model,
            out,
            recipe=recipe,
            head=head,
            io=io,
            size=size_from_text(size),
            dynamic=dynamic,
            same_padding=same_padding,
            spec=spec,
            data=data,
            progress=progress,
        )
    result: dict[str, Any] = {"onnx": str(made.path)}
    if made.parity is not None:
        result |= {
            "opset": made.opset,
            "relative_error": made.parity.relative_error,
            "agreement": made.parity.agreement,
            "checked_with": made.parity.engine,
        }
    if same_padding:
        result["same_padding"] = to_mapping(made.padding)
    emit(result, as_json=json, human=lambda: _print_export(made, same_padding=same_padding))


def _print_export(made: Exported, *, same_padding: bool) -> None:
    if made.parity is None:
        print(f"{made.path}: with its contract, for {made.model.spec.name}")
    else:
        shown = f"{made.parity.agreement:.3%} of pixels as in PyTorch ({made.parity.engine})"
        print(f"{made.path}: opset {made.opset}, {shown}")
    if same_padding:
        _print_padding(made.padding, made.path)


def _print_padding(effect: PaddingEffect | None, out: Path) -> None:
    """How same padding changes mIoU, in points, or that it was not measured."""
    if effect is None:
        print(f"{out}: padded otherwise than in training; --data SET measures what that changes")
        return
    interval = "no interval, the images are too few"
    if effect.interval is not None:
        interval = f"95 % interval {100 * effect.interval[0]:+.2f} to {100 * effect.interval[1]:+.2f}"
    print(
        f"mIoU on {effect.data}, {effect.images} images: {100 * effect.miou_original:.2f} with the border of 100,"
        f" {100 * effect.miou:.2f} with same padding: {100 * effect.difference:+.2f} points ({interval})"
    )
