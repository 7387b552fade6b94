"""What a Q/DQ file rounds: the pair in front of each input of its convolutions and residual adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from fcn_edge.onnxgraph import operator
from fcn_edge.onnxmodel import OnnxModel


@dataclass(frozen=True)
class QdqPair:
    """One scale and zero point; int8 or uint8. tensor: the file's name of the integers."""

    tensor: str
    scale: float
    is_signed: bool
    zero: int

    @property
    def ends(self) -> tuple[int, int]:
        """Smallest and largest step: the ends of the integer type less the zero point."""
        lowest = -128 if self.is_signed else 0
        return lowest - self.zero, lowest + 255 - self.zero


def pairs_from_onnx(given: OnnxModel | Path) -> dict[str, tuple[QdqPair, ...]]:
    """Node -> the pairs that its activations come through: one of a Conv with rounded weights, two of an Add."""
    model = OnnxModel.of(given)
    makers = {name: node for name, node in model.producers.items() if operator(node) == "DequantizeLinear"}
    stored = model.initializers
    found = {}
    for node in model.graph.node:
        if operator(node) in ("Conv", "Add") and all(name in makers for name in node.input[:2]):
            read = [makers[name] for name in node.input[:2]]
            found[node.name] = tuple(_pair(maker, stored) for maker in read if maker.input[0] not in stored)
    return found


def _pair(node: NodeProto, stored: Mapping[str, TensorProto]) -> QdqPair:
    scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input[1:3])
    return QdqPair(node.input[0], float(scale), zero.dtype == np.int8, int(zero))
