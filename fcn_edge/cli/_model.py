"""MODEL, --spec and --recipe as a file that engines and exporters take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.cli._print import warn
from fcn_edge.errors import BadInput, shown_as

if TYPE_CHECKING:
    from fcn_edge.registry import Recipe


def recipe_of(name: str | None) -> Recipe | None:
    """The recipe of the export shelf, or None."""
    from fcn_edge.registry import recipe_from_shelf

    return None if name is None else recipe_from_shelf(name)


@contextmanager
def runnable(model: str | None, spec: Path | None, recipe: str | None = None) -> Iterator[Path]:
    """The file behind MODEL, as an engine opens it: an ONNX file made elsewhere is wrapped by its --spec."""
    from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path

    path = model_path(model)
    is_checkpoint = path.suffix.lower() in CHECKPOINT_SUFFIXES
    _require_unneeded(path, spec if path.is_dir() or is_checkpoint else None, None if is_checkpoint else recipe)
    if path.is_dir() or (path.suffix.lower() == ".safetensors" and recipe is None):
        yield path
        return
    with _wrapped(path, spec, recipe) as wrapped:
        yield wrapped


@contextmanager
def contract_model(model: str | None, spec: Path | None, recipe: str | None) -> Iterator[Path]:
    """MODEL as an ONNX file with a contract; a checkpoint is exported. Raises BadInput for an engine directory."""
    from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path

    path = model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    is_checkpoint = path.suffix.lower() in CHECKPOINT_SUFFIXES
    _require_unneeded(path, spec if is_checkpoint else None, None if is_checkpoint else recipe)
    with _wrapped(path, spec, recipe) as wrapped:
        yield wrapped


def exportable(model: str | None) -> Path:
    """The file behind MODEL that is exported: of the packaged network its checkpoint. Raises BadInput for a folder."""
    from fcn_edge.engines import model_path
    from fcn_edge.registry import PACKAGED_NETWORK, packaged_file

    if model in (None, PACKAGED_NETWORK):
        return packaged_file(".safetensors")
    path = model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    return path


@contextmanager
def _wrapped(path: Path, spec: Path | None, recipe: str | None) -> Iterator[Path]:
    """The file with a contract, in a folder of its own where it has none; errors name the file that was given."""
    import tempfile

    from fcn_edge.exporting import contract_file

    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        wrapped = Path(scratch) / path.with_suffix(".onnx").name
        with shown_as({wrapped: path}):
            yield contract_file(path, wrapped, spec=spec, recipe=recipe_of(recipe), warn=warn)


def _require_unneeded(path: Path, spec: Path | None, recipe: str | None) -> None:
    """Raises BadInput where an option would be ignored."""
    if spec is not None:
        raise BadInput(f"{path}: holds its own spec; --spec is for an ONNX file made elsewhere, leave it out")
    if recipe is not None:
        raise BadInput(f"{path}: --recipe names the network of a plain state dict, and this is none; leave it out")
