"""Q/DQ files from a calibration table: per-tensor activations, symmetric per-channel weights, fp32 scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from fcn_edge.calibration.placement import (
    PLACEMENT,
    PlacementName,
    early_tensors,
    is_depthwise,
    is_shifted,
    quantizable_convolutions,
    residual_adds,
    unsigned_tensors,
)
from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import (
    Names,
    consumers,
    copied,
    keep_tensors,
    names_read,
    operator,
    replace_nodes,
    stored_tensors,
)
from fcn_edge.onnxpairs import SHIFT

LARGEST = 127  # weights are symmetric int8
SMALLEST_SCALE = 1e-8  # what is always zero still needs a scale


def scales_of(weights: np.ndarray) -> np.ndarray:
    """(O,) float32 steps of weights (O, ...): each output channel's largest magnitude is integer 127."""
    largest = np.abs(weights.reshape(len(weights), -1)).max(1)
    return np.asarray(np.maximum(largest / np.float32(LARGEST), np.float32(SMALLEST_SCALE)))


def nearest(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int8 of the same shape. weights: (O, ...); scales: (O,) float32 steps."""
    in_steps = weights / scales.reshape(-1, *[1] * (weights.ndim - 1))
    return np.rint(in_steps).clip(-LARGEST, LARGEST).astype(np.int8)


def int8_model(
    model: onnx.ModelProto,
    limits: Mapping[str, float],
    placement: PlacementName,
    kept_float: frozenset[str],
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """(a Q/DQ copy of `model`, the quantizable nodes that stayed in float).

    limits: tensor name -> magnitude at the end of the integer range.
    Raises BadInput for a tensor that the limits do not know, or weights that are not finite.
    """
    quantized = copied(model)
    graph, rules = quantized.graph, PLACEMENT[placement]
    layers: list[NodeProto] = []
    kept: list[NodeProto] = []
    for node in [*quantizable_convolutions(graph), *residual_adds(graph)]:
        is_float = node.name in kept_float or (is_depthwise(node) and not rules.depthwise)
        (kept if is_float else layers).append(node)
    early = early_tensors(graph, {node.output[0] for node in layers}) if rules.early else {}
    signed = _SHIFTED if is_shifted(graph, placement) else _SYMMETRIC
    writer = _QdqWriter(graph, limits, signed, unsigned_tensors(graph, placement), early)
    for node in layers:
        writer.read_quantized(node)
    writer.finish()
    return quantized, tuple(node.name for node in kept)


@dataclass(frozen=True)
class _Integers:
    """How an activation is stored. zero: the zero point, of its type. top: steps from it to the end of the range."""

    zero: np.generic
    top: int


_SYMMETRIC = _Integers(np.int8(0), 127)
_UNSIGNED = _Integers(np.uint8(0), 255)
_SHIFTED = _Integers(np.uint8(SHIFT), 127)


class _QdqWriter:
    """Adds Q/DQ pairs to a graph; each tensor and weight gets one, however many read it."""

    def __init__(
        self,
        graph: GraphProto,
        limits: Mapping[str, float],
        signed: _Integers,
        unsigned: set[str],
        early: dict[str, str],
    ) -> None:
        """signed: how tensors that are not `unsigned` are stored. early: tensor -> the one before it with its pair."""
        self.graph, self.limits, self.signed, self.unsigned = graph, limits, signed, unsigned
        self.early = early
        self.readers, self.names = consumers(graph), Names(graph)
        self.weights = stored_tensors(graph)
        self.made: dict[str, str] = {}
        self.pairs: dict[str, list[NodeProto]] = {}  # tensor -> nodes that must follow its producer

    def read_quantized(self, node: NodeProto) -> None:
        """Make a Conv read its input and weights, or an Add both of its inputs, through pairs."""
        if operator(node) == "Conv":
            node.input[0], node.input[1] = self._activation(node.input[0]), self._weight(node.input[1])
        else:
            node.input[0], node.input[1] = self._activation(node.input[0]), self._activation(node.input[1])

    def _activation(self, name: str) -> str:
        """The tensor to read instead; `name` itself where its pair stands earlier."""
        if name not in self.limits:
            raise BadInput(f"the calibration table does not know tensor {name}; calibrate this file again")
        if name not in self.early:
            return self._pair(name, self.limits[name])
        source = self.early[name]
        restored = self._pair(source, self.limits.get(source, self.limits[name]))
        for node in self.readers[source]:
            if node.output[0] in self.early:
                node.input[0] = restored
        return name

    def _pair(self, name: str, limit: float) -> str:
        if name in self.made:
            return self.made[name]
        kind = _UNSIGNED if name in self.unsigned else self.signed
        scale = np.float32(max(limit / kind.top, SMALLEST_SCALE))
        inputs = self._constants(name, scale, kind.zero)
        steps, restored = self.names.fresh(f"{name}_q"), self.names.fresh(f"{name}_dq")
        self.pairs[name] = [
            helper.make_node("QuantizeLinear", [name, *inputs], [steps], f"{name}_quantize"),
            helper.make_node("DequantizeLinear", [steps, *inputs], [restored], f"{name}_dequantize"),
        ]
        self.made[name] = restored
        return restored

    def _weight(self, name: str) -> str:
        if name in self.made:
            return self.made[name]
        steps, scale = self._rounded(name)
        constants = self._constants(name, scale, np.zeros(len(steps), np.int8))
        inputs = [self.names.store(self.graph, f"{name}_q", steps), *constants]
        restored = self.names.fresh(f"{name}_dq")
        node = helper.make_node("DequantizeLinear", inputs, [restored], f"{name}_dequantize", axis=0)
        self.pairs[name] = [node]
        self.made[name] = restored
        return restored

    def _rounded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(the int8 steps of stored weights, the scale of each output channel)."""
        values = numpy_helper.to_array(self.weights[name]).astype(np.float32)
        if not np.isfinite(values).all():
            raise BadInput(f"weights {name} hold NaN or infinity")
        scale = scales_of(values)
        return nearest(values, scale), scale

    def _constants(self, name: str, scale: np.generic | np.ndarray, zero: np.generic | np.ndarray) -> list[str]:
        """Names of the stored scale and zero point."""
        values = {f"{name}_scale": scale, f"{name}_zero": zero}
        return [self.names.store(self.graph, wanted, np.asarray(value)) for wanted, value in values.items()]

    def finish(self) -> None:
        """Put each pair behind its producer, and drop the float weights that nobody reads any more."""
        early = [node for name, pair in self.pairs.items() if name in self.weights for node in pair]
        early += [node for value in self.graph.input for node in self.pairs.get(value.name, [])]
        ordered = list(early)
        for node in self.graph.node:
            ordered.append(node)
            ordered += [follower for output in node.output for follower in self.pairs.get(output, [])]
        replace_nodes(self.graph, ordered)
        read = {name for node in ordered for name in names_read(node)}
        keep_tensors(self.graph, read | {value.name for value in self.graph.output})
