"""Checkpoints as ONNX networks, each compared with PyTorch before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fcn_edge.choices import GraphIo
from fcn_edge.engines import require_package
from fcn_edge.exporting.contract import plain_from_contract
from fcn_edge.exporting.parity import Parity, parity_with_checkpoint
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.registry import Recipe
from fcn_edge.spec import HeadKind


@dataclass(frozen=True)
class GraphOptions:
    """What the ONNX graph of a checkpoint is.

    size: (height, width) instead of the checkpoint's own. head: where it ends. io: "contract" takes uint8 frames,
    "plain" normalised float planes. dynamic: any multiple of 32 at run time. same_padding: a pad-100 network pads
    its maps instead of the frame, which is less to compute and not the same.
    """

    size: tuple[int, int] | None = None
    head: HeadKind = "scores"
    io: GraphIo = "contract"
    dynamic: bool = False
    same_padding: bool = False


def onnx_from_checkpoint(
    path: Path,
    *,
    options: GraphOptions = GraphOptions(),
    recipe: Recipe | None = None,
) -> tuple[OnnxModel, Parity]:
    """A checkpoint as an ONNX network in memory, and how near it is to PyTorch.

    Raises:
        BadInput: no checkpoint, an impossible size, nothing to pad otherwise, or parity not reached (with figures).
        BackendMissing: PyTorch, or an engine to check parity with, is not installed.
    """
    require_package("pytorch")
    from fcn_edge.exporting.trace import model_from_checkpoint
    from fcn_edge.models.checkpoint import checkpoint_from_file, with_same_padding

    checkpoint = checkpoint_from_file(path, recipe)
    if options.same_padding:
        checkpoint = with_same_padding(checkpoint)
    proto, spec = model_from_checkpoint(checkpoint, options.size, options.head, dynamic=options.dynamic)
    model = OnnxModel(path, proto)
    parity = parity_with_checkpoint(model, checkpoint)
    if options.io == "plain":
        model = model.changed(plain_from_contract(proto, spec))
    return model, parity
