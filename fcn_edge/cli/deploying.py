"""Verbs that write what fleets run: export-deepstream, export-triton."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcn_edge.cli.app import Json, Model, RecipeName, Spec, app, emit, recipe_of, warn
from fcn_edge.errors import BadInput, shown_as

if TYPE_CHECKING:
    from fcn_edge.deploy import DeepStreamFolder, TritonModel


@app.command("export-deepstream")
def export_deepstream(
    model: Model = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("deepstream"),
    spec: Spec = None,
    recipe: RecipeName = None,
    json: Json = False,
) -> None:
    """A folder that DeepStream's nvinfer runs.

    It holds graph, configuration and labels. nvinfer feeds planar float frames and wants
    probabilities, so the graph gets another front and another end; mean and std stay inside.
    Written after NVIDIA's documentation, not run on a GPU here.

    \b
    Examples:
      fcn-edge export-deepstream net.fp16.onnx --out deepstream
      fcn-edge export-deepstream net.int8.onnx --out deepstream
    """
    from fcn_edge.deploy import deepstream_from_onnx
    from fcn_edge.schema import to_mapping

    with _contract(model, spec, recipe) as path:
        made = deepstream_from_onnx(path, out)
    emit(
        {**to_mapping(made), "path": str(made.path), "config": str(made.config)},
        as_json=json,
        human=lambda: _describe_deepstream(made),
    )


@app.command("export-triton")
def export_triton(
    model: Model = None,
    out: Annotated[Path, typer.Option("--out", help="Model repository, made where there is none.")] = Path("models"),
    name: Annotated[str | None, typer.Option("--name", help="Of the model there [the network's].")] = None,
    spec: Spec = None,
    recipe: RecipeName = None,
    json: Json = False,
) -> None:
    """A model of a Triton repository.

    It holds config.pbtxt, graph or plan, and labels. An ONNX file or checkpoint is served by ONNX
    Runtime; an engine directory of --target tensorrt by TensorRT, on a GPU like the one it was
    built on. Frames go in as they are, uint8 BGR.

    \b
    Examples:
      fcn-edge export-triton net.onnx --out models
      fcn-edge export-triton engine --out models --name street
    """
    from fcn_edge.deploy import triton_from_engine, triton_from_onnx
    from fcn_edge.schema import to_mapping

    if model is not None and Path(model).is_dir():
        if spec is not None or recipe is not None:
            raise BadInput(f"{model}: an engine directory says itself what it is; leave --spec and --recipe out")
        made = triton_from_engine(Path(model), out, name=name)
    else:
        with _contract(model, spec, recipe) as path:
            made = triton_from_onnx(path, out, name=name)
    emit(
        {**to_mapping(made), "path": str(made.path), "config": str(made.config)},
        as_json=json,
        human=lambda: _describe_triton(made),
    )


@contextmanager
def _contract(model: str | None, spec: Path | None, recipe: str | None) -> Iterator[Path]:
    """MODEL as an ONNX file with a contract."""
    from fcn_edge.engines import model_path
    from fcn_edge.exporting import contract_file

    path = model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        wrapped = Path(scratch) / path.with_suffix(".onnx").name
        with shown_as({wrapped: path}):
            yield contract_file(path, wrapped, spec=spec, recipe=recipe_of(recipe), warn=warn)


def _describe_deepstream(made: DeepStreamFolder) -> None:
    print(f"{made.config}: configuration of nvinfer, with model.onnx and labels.txt beside it")
    for text in made.warnings:
        print(f"  warning: {text}")
    print("  on the device, in that folder, before the first start (without an engine nvinfer builds one itself):")
    for version, line in made.trtexec.items():
        print(f"    {version}: {line}")
    print(f"  try: {made.pipeline}")


def _describe_triton(made: TritonModel) -> None:
    print(f"{made.config}: {made.platform}")
    print(f"  {made.serve}")
