"""An FCN's ONNX graph taken apart where scores of the skips are added: graphs that run only so deep.

A stage is the part of the backbone between two skips, with the scores at its end. A prefix runs the
first stages and takes the sum of all deeper scores as an input, as an earlier frame left it.
Source: Shelhamer, Rakelly, Hoffman, Darrell, "Clockwork Convnets for Video Semantic Segmentation", 2016.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import attributes, graph_inputs, operator, producers, stored_tensors
from fcn_edge.onnxmodel import OnnxModel

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

UPSAMPLING = {"ConvTranspose", "Resize", "Upsample"}
PASSED = UPSAMPLING | {
    "ArgMax",
    "Cast",
    "DequantizeLinear",
    "Identity",
    "Pad",
    "QuantizeLinear",
    "Slice",
    "Squeeze",
    "Transpose",
}
NOTHING_TO_REST = 'so no part of it can run less often; run it with `schedule="every"`'


@dataclass(frozen=True)
class Stages:
    """A graph and where its stages end.

    strides: input pixels a cell of each stage's scores, the shallowest first. carried: the tensor
    that adds up everything deeper than stage 1, 2, ..., as the sum at that stage reads it.
    """

    strides: tuple[int, ...]
    carried: tuple[str, ...]
    model: ModelProto

    def prefix(self, depth: int, keep: Collection[int]) -> ModelProto:
        """The graph of the first `depth` stages.

        Inputs: frames, and carried[depth - 1] unless all stages run. Outputs: the graph's own, and
        carried[k - 1] for each k of `keep` in ascending order.
        """
        from onnx.utils import Extractor

        inputs = [graph_inputs(self.model.graph)[0].name, *self.carried[depth - 1 : depth]]
        outputs = [self.model.graph.output[0].name, *[self.carried[k - 1] for k in sorted(keep)]]
        return Extractor(self.model).extract_model(inputs, outputs)


def stages_from_onnx(given: OnnxModel) -> Stages:
    """Where the graph can be taken apart.

    Raises BadInput where scores are not added up: no skips, or skips that are concatenated.
    """
    from onnx.shape_inference import infer_shapes

    path, model = given.path, infer_shapes(given.proto)  # a prefix declares the shape of what it is given
    writer = producers(model.graph)
    constants = set(stored_tensors(model.graph))
    tensor, carried, skips = model.graph.output[0].name, list[str](), list[str]()
    while True:
        node, _ = _source(tensor, writer, constants)
        if node is None or operator(node) != "Add":
            break
        deep, skip = _branches(node, writer, constants, path)
        carried.append(deep)
        skips.append(skip)
        tensor = deep
    if not carried:
        raise BadInput(f"{path}: {_why_one_piece(node, writer, constants)}, {NOTHING_TO_REST}")
    strides = _strides(model)
    ends = [*skips, node.output[0] if node is not None else ""]
    if not all(end in strides for end in ends):
        raise BadInput(f"{path}: scores that are added up do not all come from the frame, {NOTHING_TO_REST}")
    return Stages(tuple(strides[end] for end in ends), tuple(carried), model)


def _source(tensor: str, writer: dict[str, NodeProto], constants: set[str]) -> tuple[NodeProto | None, bool]:
    """The node that computes `tensor`, looked up through upsampling and cropping; and whether it was upsampled."""
    upsampled = False
    node = writer.get(tensor)
    while node is not None:
        moving = [name for name in node.input if name in writer or name not in constants]
        passed = operator(node) in PASSED or (operator(node) == "Add" and len(moving) == 1)  # a bias
        if not passed:
            break
        upsampled |= operator(node) in UPSAMPLING
        node = writer.get(moving[0])
    return node, upsampled


def _branches(node: NodeProto, writer: dict[str, NodeProto], constants: set[str], path: Path) -> tuple[str, str]:
    """(the deeper scores, scores of the skip) that an Add sums up."""
    found = [(name, *_source(name, writer, constants)) for name in node.input]
    deep = [name for name, _, upsampled in found if upsampled]
    skips = [end.output[0] for _, end, upsampled in found if not upsampled and end is not None]
    if len(deep) != 1 or len(skips) != 1:
        raise BadInput(f"{path}: node {node.name} adds no scores of a skip to upsampled ones, {NOTHING_TO_REST}")
    return deep[0], skips[0]


def _why_one_piece(node: NodeProto | None, writer: dict[str, NodeProto], constants: set[str]) -> str:
    if node is not None and operator(node) == "Conv":
        before, _ = _source(node.input[0], writer, constants)
        if before is not None and operator(before) == "Concat":
            return "its skips are concatenated and scored together (fuse concat; sum adds scores)"
    return "this network has no skips whose scores are added"


def _strides(model: ModelProto) -> dict[str, int]:
    """Frame pixels a cell, of each tensor of the backbone."""
    strides = {graph_inputs(model.graph)[0].name: 1}
    for node in model.graph.node:
        known = [strides[name] for name in node.input if name in strides]
        if not known or operator(node) in UPSAMPLING:
            continue
        step = attributes(node).get("strides", [1])[0]
        for name in node.output:
            strides[name] = max(known) * step
    return strides
