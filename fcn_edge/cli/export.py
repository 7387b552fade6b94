"""The verb `export`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.choices import GraphIo
from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption, ModelArgument, RecipeOption, SpecOption
from fcn_edge.cli._parse import recipe_of, require_suffix, size_from_text
from fcn_edge.cli._print import emit, progress_bar, warn
from fcn_edge.errors import BadInput
from fcn_edge.schema import to_mapping
from fcn_edge.spec import HeadKind

if TYPE_CHECKING:
    from fcn_edge.exporting.padding import PaddingPrice


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
    from fcn_edge.engines import CHECKPOINT_SUFFIXES
    from fcn_edge.exporting import ExportOptions, contract_file, onnx_from_checkpoint
    from fcn_edge.exporting.runnable import exportable_file

    path = exportable_file(model)
    require_suffix(out, ".onnx", "an ONNX file")
    if data is not None and not same_padding:
        raise BadInput("--data measures what --same-padding costs: give both, or neither")
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        if (size, head, io, dynamic, same_padding) != (None, "scores", "contract", False, False):
            raise BadInput(
                "--size, --head, --io, --dynamic and --same-padding are for checkpoints; an ONNX file is only wrapped"
            )
        if contract_file(path, out, spec=spec, warn=warn) != out:
            raise BadInput(f"{path}: carries its contract already; there is nothing to export")
        origin = spec or "its own metadata"
        emit({"onnx": str(out)}, as_json=json, human=lambda: print(f"{out}: {path} with the contract of {origin}"))
        return
    if spec is not None:
        raise BadInput(f"{path}: a checkpoint; --spec describes an ONNX file made elsewhere")
    options = ExportOptions(size_from_text(size), head, io, dynamic, same_padding)
    price = None
    if data is None:
        made = onnx_from_checkpoint(path, out, options=options, recipe=recipe_of(recipe))
    else:
        from fcn_edge.data import dataset_from_name
        from fcn_edge.exporting.padding import same_padding_from_checkpoint

        with progress_bar() as progress:
            made, price = same_padding_from_checkpoint(
                path,
                out,
                dataset_from_name(data),
                options=options,
                recipe=recipe_of(recipe),
                on_image=functools.partial(progress.update, "evaluating both"),
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
            _print_padding(price, str(out))

    emit(result, as_json=json, human=human)


def _print_padding(price: PaddingPrice | None, out: str) -> None:
    """What same padding costs, in points, or that nobody knows."""
    if price is None:
        print(f"{out}: padded otherwise than it was trained; what that costs is unknown: give --data SET to measure it")
        return
    interval = "no interval, the images are too few"
    if price.interval is not None:
        interval = f"95 % interval {100 * price.interval[0]:+.2f} to {100 * price.interval[1]:+.2f}"
    print(
        f"mIoU on {price.data}, {price.images} images: {100 * price.miou_original:.2f} with the border of 100,"
        f" {100 * price.miou:.2f} with same padding: {100 * price.difference:+.2f} points ({interval})"
    )
