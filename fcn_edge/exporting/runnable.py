"""MODEL made runnable: whatever a user names, as an ONNX network with its contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path
from fcn_edge.errors import BadInput, shown_as
from fcn_edge.exporting.checkpoints import onnx_from_checkpoint
from fcn_edge.exporting.foreign import contract_from_foreign
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress, report_warning
from fcn_edge.registry import Recipe, recipe_from_shelf


def onnx_model(
    model: str | Path | OnnxModel | None = None,
    *,
    spec: Path | str | None = None,
    recipe: Recipe | str | None = None,
    images: Sequence[np.ndarray] = (),
    progress: Progress = SILENT,
) -> OnnxModel:
    """The network behind MODEL, with its contract, in memory.

    Args:
        model: an ONNX file; a checkpoint, which is exported; a packaged name; None for the packaged network.
        spec: TOML file that describes an ONNX file made elsewhere, which is wrapped and compared with itself.
        recipe: name or recipe of the network of a plain state dict.
        images: (H, W, 3) uint8 BGR, any size, on which a wrapped file is compared; others are made here.
        progress: takes warnings; without one they are Python warnings.

    Returns:
        The model; its `path` is the file that was named.

    Raises:
        BadInput: none of these, an engine directory, a file without contract and `spec`, or `spec` or `recipe` for a
            file that needs none.
        BackendMissing: PyTorch or ONNX Runtime is needed and not installed.

    Example:
        net = onnx_model("other.onnx", spec="other.toml")
        net.save("contract.onnx")
    """
    if isinstance(model, OnnxModel) and model.has_contract:
        _require_unneeded(model.path, spec, recipe)
        return model
    path = model.path if isinstance(model, OnnxModel) else model_path(model)
    if path.is_dir():
        raise BadInput(f"{path}: an engine directory; give the ONNX file or the checkpoint that it was built from")
    if not isinstance(model, OnnxModel) and path.suffix.lower() in CHECKPOINT_SUFFIXES:
        _require_unneeded(path, spec, None)
        return onnx_from_checkpoint(path, recipe=_recipe(recipe))[0]
    net = OnnxModel.of(model if isinstance(model, OnnxModel) else path)
    _require_unneeded(path, spec if net.has_contract else None, recipe)
    if net.has_contract:
        return net
    made = contract_from_foreign(net, Path(spec) if spec is not None else None, images=images)
    for text in made.notes:
        report_warning(progress, text)
    return made


@contextmanager
def runnable_file(
    model: str | Path | None = None,
    *,
    spec: Path | str | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> Iterator[Path]:
    """Inside the block: a file or engine directory that engines open for MODEL.

    Engine directories and checkpoints of ours are taken as they are. Anything else without a contract is made an ONNX
    file in a folder that is removed at the end; errors inside the block name the file that was given.

    Raises BadInput and BackendMissing as `onnx_model`.
    """
    path = model_path(model)
    is_own_checkpoint = path.suffix.lower() == ".safetensors" and recipe is None
    if path.is_dir() or is_own_checkpoint:
        _require_unneeded(path, spec, recipe)
        yield path
        return
    net = onnx_model(path, spec=spec, recipe=recipe, progress=progress)
    with net.on_disk() as file, shown_as({file: path}):
        yield file


def _recipe(recipe: Recipe | str | None) -> Recipe | None:
    return recipe_from_shelf(recipe) if isinstance(recipe, str) else recipe


def _require_unneeded(path: Path, spec: Path | str | None, recipe: Recipe | str | None) -> None:
    """Raises BadInput where an argument would be ignored."""
    if spec is not None:
        raise BadInput(f"{path}: holds its own spec; `spec` is for an ONNX file made elsewhere, leave it out")
    if recipe is not None:
        raise BadInput(f"{path}: `recipe` names the network of a plain state dict, and this is none; leave it out")
