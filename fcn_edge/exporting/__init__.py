"""Checkpoints and foreign networks to ONNX files that know how to feed themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcn_edge.choices import GraphIo
from fcn_edge.data import DataLike, labelled_for
from fcn_edge.engines import CHECKPOINT_SUFFIXES, available_targets, model_path
from fcn_edge.errors import BadInput
from fcn_edge.exporting.checkpoints import GraphOptions, onnx_from_checkpoint
from fcn_edge.exporting.padding import PaddingEffect, effect_of_padding
from fcn_edge.exporting.parity import Parity
from fcn_edge.exporting.runnable import onnx_model, runnable_file
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import PACKAGED_NETWORK, Recipe, packaged_file, recipe_from_shelf
from fcn_edge.spec import HeadKind

__all__ = [
    "Exported",
    "GraphOptions",
    "PaddingEffect",
    "Parity",
    "export",
    "onnx_from_checkpoint",
    "onnx_model",
    "runnable_file",
]


@dataclass(frozen=True)
class Exported:
    """What was written.

    parity: how near a checkpoint's file is to PyTorch; None for what was an ONNX file before.
    padding: what `same_padding` changes, where it was measured.
    """

    model: OnnxModel
    parity: Parity | None = None
    padding: PaddingEffect | None = None

    @property
    def path(self) -> Path:
        return self.model.path

    @property
    def opset(self) -> int:
        return self.model.opset


def export(
    model: str | Path | None,
    out: str | Path,
    *,
    recipe: Recipe | str | None = None,
    head: HeadKind = "scores",
    io: GraphIo = "contract",
    size: tuple[int, int] | None = None,
    dynamic: bool = False,
    same_padding: bool = False,
    spec: str | Path | None = None,
    data: DataLike | None = None,
    progress: Progress = SILENT,
) -> Exported:
    """Write a network as an ONNX file with its contract.

    A checkpoint's file appears only after its class maps agreed with PyTorch's; that of an ONNX file made elsewhere,
    which `spec` describes, after it was compared with the file itself.

    Args:
        model: a checkpoint, an ONNX file made elsewhere, a packaged name, or None for the packaged network.
        out: ONNX file to write.
        recipe: name or recipe of the network of a plain state dict.
        head: "scores" ends in the score map, "logits" at the input's size, "classes" in class indices.
        io: "contract" takes (1, H, W, 3) uint8 BGR frames; "plain" (1, 3, H, W) float32, normalised.
        size: (height, width) instead of the checkpoint's own, in pixels.
        dynamic: leave the input size open to any multiple of 32.
        same_padding: pad in each layer instead of by 100 pixels: faster, with another mIoU.
        spec: TOML file that describes an ONNX file made elsewhere.
        data: labelled images on which both paddings are evaluated.
        progress: takes notes, warnings, and images evaluated.

    Returns:
        The model that lies under `out`, and what it was compared with.

    Raises:
        BadInput: a file that cannot be exported, an argument that does not fit, an `out` that may not be replaced.
        BackendMissing: PyTorch, or an engine to compare with, is not installed.

    Example:
        export("net.safetensors", "net.onnx", size=(384, 512))
    """
    out, options = Path(out), GraphOptions(size, head, io, dynamic, same_padding)
    if data is not None and not same_padding:
        raise BadInput("`data` measures what `same_padding` changes: give both, or neither")
    path = _source(model)
    require_outputs([out], [path, spec])
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        net = _with_contract(path, options, spec, recipe, progress)
        if net.file is not None and not _is_packaged(model):
            raise BadInput(f"{path}: carries its contract already; there is nothing to export")
        return Exported(net.save(out))
    if spec is not None:
        raise BadInput(f"{path}: a checkpoint; `spec` describes an ONNX file made elsewhere")
    known = recipe_from_shelf(recipe) if isinstance(recipe, str) else recipe
    net, parity = onnx_from_checkpoint(path, options=options, recipe=known)
    padding = None
    if data is not None:
        padding = effect_of_padding(
            net, path, labelled_for(net.spec, data), options=options, recipe=known, progress=progress
        )
    return Exported(net.save(out), parity, padding)


def _source(model: str | Path | None) -> Path:
    """The file that is exported: of the packaged network its checkpoint, or without PyTorch its ONNX file."""
    if _is_packaged(model):
        return packaged_file(".safetensors" if "pytorch" in available_targets() else ".onnx")
    return model_path(model)


def _is_packaged(model: str | Path | None) -> bool:
    return model is None or str(model) == PACKAGED_NETWORK


def _with_contract(
    path: Path, options: GraphOptions, spec: str | Path | None, recipe: Recipe | str | None, progress: Progress
) -> OnnxModel:
    """An ONNX file with its contract. Raises BadInput where its graph would have to change."""
    if options != GraphOptions():
        raise BadInput(
            f"{path}: an ONNX file, whose graph stays as it is; `size`, `head`, `io`, `dynamic` and `same_padding` are"
            " for checkpoints"
        )
    return onnx_model(path, spec=spec, recipe=recipe, progress=progress)
