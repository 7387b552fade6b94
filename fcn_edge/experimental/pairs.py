"""What a Q/DQ file rounds: the pair in front of each input of its convolutions and residual adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, numpy_helper

from fcn_edge.onnxfile import onnx_from_file
from fcn_edge.onnxgraph import operator, stored_tensors


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


def pairs_from_onnx(path: Path) -> dict[str, tuple[QdqPair, ...]]:
    """Node -> the pairs that its activations come through: one of a Conv with rounded weights, two of an Add."""
    graph = onnx_from_file(path).graph
    makers = {node.output[0]: node for node in graph.node if operator(node) == "DequantizeLinear"}
    stored = stored_tensors(graph)
    found = {}
    for node in graph.node:
        if operator(node) in ("Conv", "Add") and all(name in makers for name in node.input[:2]):
            read = [makers[name] for name in node.input[:2]]
            found[node.name] = tuple(_pair(maker, stored) for maker in read if maker.input[0] not in stored)
    return found


def _pair(node: NodeProto, stored: dict[str, Any]) -> QdqPair:
    scale, zero = (numpy_helper.to_array(stored[name]) for name in node.input[1:3])
    return QdqPair(node.input[0], float(scale), zero.dtype == np.int8, int(zero))
