"""PyTorch to ONNX: the network alone is traced, the contract is put around it."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn

from fcn_edge.errors import BadInput
from fcn_edge.exporting.contract import attach_contract
from fcn_edge.exporting.tidy import tidy_model
from fcn_edge.geometry import Sampling, stretch
from fcn_edge.models.checkpoint import Checkpoint, spec_from_header
from fcn_edge.models.fcn import STRIDE, Segmenter, padded
from fcn_edge.onnxfile import IR_VERSION, OPSET
from fcn_edge.spec import Head, HeadKind, ModelSpec

MAX_SIDE = 8192


class _Headed(nn.Module):
    """The network with padding in front and the wanted head behind."""

    def __init__(self, network: Segmenter, head: HeadKind) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, x: Tensor) -> Tensor:
        wide = padded(x, self.network.geometry)
        if self.head == "scores" and not self.network.has_learned_last:
            return self.network.scores(wide)
        logits: Tensor = self.network(wide)
        if wide.shape[2:] != x.shape[2:]:
            logits = logits[:, :, : x.shape[2], : x.shape[3]]
        return logits.argmax(1).to(torch.uint8) if self.head == "classes" else logits


def model_from_checkpoint(
    checkpoint: Checkpoint, size: tuple[int, int] | None, head: HeadKind, *, dynamic: bool
) -> tuple[onnx.ModelProto, ModelSpec]:
    """(onnx.ModelProto with contract, its spec). A learned last layer turns `scores` into `logits`."""
    network = checkpoint.network
    spec = spec_from_header(checkpoint.header, network, checkpoint.sha256)
    height, width = size or spec.preprocess.size
    _check_size(height, width, dynamic)
    kind: HeadKind = "logits" if head == "scores" and network.has_learned_last else head
    full = Sampling(stretch(height, height), stretch(width, width))
    spec = replace(
        spec,
        preprocess=replace(spec.preprocess, height=height, width=width),
        head=Head(kind, network.score_sampling(height, width) if kind == "scores" else full),
        dynamic=dynamic,
    )
    return attach_contract(_traced(network, head, (height, width), dynamic=dynamic), spec), spec


def _check_size(height: int, width: int, dynamic: bool) -> None:
    if not (STRIDE <= height <= MAX_SIDE and STRIDE <= width <= MAX_SIDE):
        raise BadInput(f"size {height}x{width}: each side must be {STRIDE} to {MAX_SIDE} pixels")
    if dynamic and (height % STRIDE or width % STRIDE):
        good = f"{-(-height // STRIDE) * STRIDE}x{-(-width // STRIDE) * STRIDE}"
        raise BadInput(f"size {height}x{width} is not a multiple of {STRIDE}, which `dynamic` needs; {good} is one")


def _traced(network: Segmenter, head: HeadKind, size: tuple[int, int], *, dynamic: bool) -> onnx.ModelProto:
    axes = {}
    if dynamic:
        rows, columns = (1, 2) if head == "classes" else (2, 3)
        axes = {"x": {0: "batch", 2: "height", 3: "width"}, "y": {0: "batch", rows: "rows", columns: "columns"}}
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # The TorchScript exporter writes the paper's graph one node a layer at opset 17, with batch
        # norms folded; the newer one starts at opset 18 and is asked for again when this one goes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Headed(network, head).eval(),
            (torch.zeros(1, 3, *size),),
            cast(Any, buffer),  # this exporter writes to files in memory too; its annotation says paths
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )
    model = tidy_model(onnx.load_from_string(buffer.getvalue()))
    model.ir_version = IR_VERSION
    return model
