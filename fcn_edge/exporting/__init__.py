"""Checkpoints and foreign networks to ONNX files that know how to feed themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.choices import GraphIo
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput, warn_user
from fcn_edge.exporting.contract import plain_from_contract
from fcn_edge.exporting.foreign import contract_from_foreign
from fcn_edge.exporting.parity import Parity, parity_with_checkpoint
from fcn_edge.onnxfile import ORIGIN_KEY, onnx_from_file, save_onnx, spec_from_onnx, takes_frames, with_metadata
from fcn_edge.outputs import require_outputs
from fcn_edge.registry import Recipe
from fcn_edge.spec import HeadKind

__all__ = ["ExportOptions", "Exported", "contract_file", "onnx_from_checkpoint"]


@dataclass(frozen=True)
class ExportOptions:
    """size: (height, width) instead of the checkpoint's own; dynamic: any multiple of 32 at run time.

    same_padding: a pad-100 network pads its maps instead of the frame, which is less to compute and not the same.
    """

    size: tuple[int, int] | None = None
    head: HeadKind = "scores"
    io: GraphIo = "contract"
    dynamic: bool = False
    same_padding: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to PyTorch."""

    path: Path
    opset: int
    parity: Parity


def onnx_from_checkpoint(
    checkpoint: Path, out: Path, *, options: ExportOptions = ExportOptions(), recipe: Recipe | None = None
) -> Exported:
    """Export; the file appears under `out` only after its class maps agreed with PyTorch's.

    Raises:
        BadInput: no checkpoint, an impossible size, nothing to pad otherwise, or parity not reached (with figures).
        BackendMissing: PyTorch, or an engine to check parity with, is not installed.
    """
    from fcn_edge.engines import require_package

    require_package("pytorch")
    require_outputs([out], [checkpoint])
    from fcn_edge.exporting.trace import model_from_checkpoint
    from fcn_edge.models.checkpoint import checkpoint_from_file, with_same_padding

    loaded = checkpoint_from_file(checkpoint, recipe)
    if options.same_padding:
        loaded = with_same_padding(loaded)
    model, spec = model_from_checkpoint(loaded, options.size, options.head, dynamic=options.dynamic)
    parity = parity_with_checkpoint(model, spec, loaded, checkpoint)
    if options.io == "plain":
        model = plain_from_contract(model, spec)
    save_onnx(model, out)
    return Exported(out, model.opset_import[0].version, parity)


def contract_file(
    model: Path,
    out: Path,
    *,
    spec: Path | None = None,
    recipe: Recipe | None = None,
    images: Sequence[np.ndarray] = (),
    warn: Callable[[str], None] = warn_user,
) -> Path:
    """`model` itself where it is an ONNX file with a contract; otherwise `out`, made from it.

    A checkpoint is exported; an ONNX file made elsewhere is wrapped by the TOML file `spec`, and compared with the
    file itself on `images` ((H, W, 3) uint8 BGR) and on pictures made here.
    Raises BadInput where neither can be done.
    """
    if model.suffix.lower() in CHECKPOINT_SUFFIXES:
        return onnx_from_checkpoint(model, out, recipe=recipe).path
    graph = onnx_from_file(model)
    inside = spec_from_onnx(graph, str(model))
    if inside is not None and takes_frames(graph):
        if spec is not None:
            raise BadInput(f"{model}: already carries its own spec ({inside.name}); leave --spec out")
        return model
    require_outputs([out], [model, spec])
    contract = contract_from_foreign(graph, model, spec, inside, images=images, warn=warn)
    save_onnx(with_metadata(contract, ORIGIN_KEY, sha256_of_file(model)), out)
    return out
