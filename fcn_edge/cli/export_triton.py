"""The verb `export-triton`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption, ModelArgument, RecipeOption, SpecOption
from fcn_edge.cli._print import NOTES, emit

if TYPE_CHECKING:
    from fcn_edge.deploy import TritonModel


@verb
def export_triton(
    model: ModelArgument = None,
    out: Annotated[Path, typer.Option("--out", help="Model repository; created if missing.")] = Path("models"),
    name: Annotated[str | None, typer.Option("--name", help="Name of the model in it [the network's].")] = None,
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a model of a Triton repository.

    It holds config.pbtxt, the graph or plan, and labels. ONNX files and checkpoints are served by ONNX Runtime,
    engine directories of --target tensorrt by TensorRT on a GPU like the one they were built on. Requests
    carry uint8 BGR frames.

    \b
    Examples:
      fcn-edge export-triton net.onnx --out models
      fcn-edge export-triton engine --out models --name street
    """
    from fcn_edge.deploy import triton_from_onnx
    from fcn_edge.schema import to_mapping

    made = triton_from_onnx(model, out, name=name, spec=spec, recipe=recipe, progress=NOTES)
    emit(
        {**to_mapping(made), "path": str(made.path), "config": str(made.config)},
        as_json=json,
        human=lambda: _print_triton(made),
    )


def _print_triton(made: TritonModel) -> None:
    print(f"{made.config}: {made.platform}")
    print(f"  {made.serve}")
