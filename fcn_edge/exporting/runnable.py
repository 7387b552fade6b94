"""A model as a caller names it, as a file that engines open."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path
from fcn_edge.errors import BadInput, shown_as, warn_user
from fcn_edge.exporting import contract_file
from fcn_edge.registry import PACKAGED_NETWORK, Recipe, packaged_file, recipe_from_shelf


@contextmanager
def runnable_file(
    model: str | Path | None,
    *,
    spec: Path | None = None,
    recipe: str | None = None,
    warn: Callable[[str], None] = warn_user,
) -> Iterator[Path]:
    """Inside the block: the file or engine directory behind `model`, as an engine opens it.

    An ONNX file made elsewhere is wrapped by its `spec`, and a plain state dict is exported by its `recipe`, in a
    folder that is removed at the end. Errors inside the block name the file that was given.

    Args:
        model: a checkpoint, ONNX file, engine directory, packaged name or None (the packaged network).
        spec: TOML file that describes an ONNX file made elsewhere.
        recipe: name or TOML file of the recipe of a plain state dict.
        warn: receives what is probably wrong about a file made elsewhere.

    Raises:
        BadInput: `model` is none of these, or `spec` or `recipe` are given for a file that needs none.
    """
    path = model_path(model)
    is_checkpoint = path.suffix.lower() in CHECKPOINT_SUFFIXES
    _require_unneeded(path, spec if path.is_dir() or is_checkpoint else None, None if is_checkpoint else recipe)
    if path.is_dir() or (path.suffix.lower() == ".safetensors" and recipe is None):
        yield path
        return
    with _wrapped(path, spec, _recipe(recipe), warn) as wrapped:
        yield wrapped


@contextmanager
def contract_onnx(
    model: str | Path | None,
    *,
    spec: Path | None = None,
    recipe: str | None = None,
    warn: Callable[[str], None] = warn_user,
) -> Iterator[Path]:
    """Inside the block: `model` as an ONNX file with a contract; a checkpoint is exported. As `runnable_file`.

    Raises:
        BadInput: `model` is an engine directory, or what `runnable_file` refuses.
    """
    path = model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    is_checkpoint = path.suffix.lower() in CHECKPOINT_SUFFIXES
    _require_unneeded(path, spec if is_checkpoint else None, None if is_checkpoint else recipe)
    with _wrapped(path, spec, _recipe(recipe), warn) as wrapped:
        yield wrapped


def exportable_file(model: str | Path | None) -> Path:
    """The file behind `model` from which ONNX is exported: of the packaged network its checkpoint.

    Raises:
        BadInput: `model` is an engine directory, or does not exist.
    """
    if model is None or str(model) == PACKAGED_NETWORK:
        return packaged_file(".safetensors")
    path = model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    return path


@contextmanager
def _wrapped(path: Path, spec: Path | None, recipe: Recipe | None, warn: Callable[[str], None]) -> Iterator[Path]:
    """The file with a contract, in a folder of its own where it has none."""
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        wrapped = Path(scratch) / path.with_suffix(".onnx").name
        with shown_as({wrapped: path}):
            yield contract_file(path, wrapped, spec=spec, recipe=recipe, warn=warn)


def _recipe(name: str | None) -> Recipe | None:
    return None if name is None else recipe_from_shelf(name)


def _require_unneeded(path: Path, spec: Path | None, recipe: str | None) -> None:
    """Raises BadInput where an argument would be ignored."""
    if spec is not None:
        raise BadInput(f"{path}: holds its own spec; `spec` is for an ONNX file made elsewhere, leave it out")
    if recipe is not None:
        raise BadInput(f"{path}: `recipe` names the network of a plain state dict, and this is none; leave it out")
