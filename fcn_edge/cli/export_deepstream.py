"""The verb `export-deepstream`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli._app import verb
from fcn_edge.cli._options import JsonOption, ModelArgument, RecipeOption, SpecOption
from fcn_edge.cli._print import NOTES, emit, show

if TYPE_CHECKING:
    from fcn_edge.deploy import DeepStreamFolder


@verb
def export_deepstream(
    model: ModelArgument = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("deepstream"),
    spec: SpecOption = None,
    recipe: RecipeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a folder that DeepStream's nvinfer runs.

    It holds the graph, the configuration and the labels. nvinfer feeds planar float frames and expects
    probabilities, so input and output of the graph are replaced; mean and std stay inside. The format follows
    NVIDIA's documentation and has not been run on a GPU yet.

    \b
    Examples:
      fcn-edge export-deepstream net.fp16.onnx --out deepstream
      fcn-edge export-deepstream net.int8.onnx --out deepstream
    """
    from fcn_edge.deploy import deepstream_from_onnx
    from fcn_edge.schema import to_mapping

    made = deepstream_from_onnx(model, out, spec=spec, recipe=recipe, progress=NOTES)
    emit(
        {**to_mapping(made), "path": str(made.path), "config": str(made.config)},
        as_json=json,
        human=lambda: _print_deepstream(made),
    )


def _print_deepstream(made: DeepStreamFolder) -> None:
    print(f"{made.config}: configuration of nvinfer, with model.onnx and labels.txt beside it")
    for text in made.warnings:
        show(f"  warning: {text}")
    print("  on the device, in that folder, before the first start (without an engine nvinfer builds one itself):")
    for version, line in made.trtexec.items():
        print(f"    {version}: {line}")
    print(f"  try: {made.pipeline}")
