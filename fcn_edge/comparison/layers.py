"""Signal to quantization noise of every tensor that two graphs share: carried through, and of each layer alone.

Carried: B runs from A's network input and errors add up on the way. Alone: every layer of B is fed
A's tensors, so the layer with a low figure is the one that computes something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto

from fcn_edge.comparison.artefact import Artefact
from fcn_edge.comparison.graph import (
    HELD,
    held_model,
    layer_tensors,
    shared_tensors,
    stored_value,
    upsampling_tensors,
)
from fcn_edge.engines.agreement import decibels
from fcn_edge.engines.ort import Taps
from fcn_edge.onnxgraph import attributes, operator
from fcn_edge.onnxmodel import OnnxModel

SAME_WEIGHTS = 0.03  # relative: INT8 rounding of weights stays below
FLOATS = (np.float32, np.float16)
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LayerSqnr:
    """One shared tensor. carried_db, alone_db: up to 200, which means equal. stage: "network" or "upsample"."""

    name: str
    op: str
    tensor: str
    stage: str
    carried_db: float
    alone_db: float


class LayerRuns:
    """Both graphs, run image by image; sums of signal and noise of every shared tensor."""

    def __init__(self, a: Artefact, b: Artefact, slots: tuple[int, ...], x: np.ndarray) -> None:
        """slots: of B's first layer for each of A's. x: one input frame (1, H, W, 3) uint8 BGR, to learn shapes."""
        self.a, self.b, self.slots = a, b, slots
        ours, theirs = a.run(x), b.run(x)
        pairs = shared_tensors(a.model, a.begin, b.model, b.begin)
        self.shared = {name: partner for name, partner in pairs.items() if _alike(ours[name], theirs[partner])}
        self.total = sum(value.dtype in FLOATS for name, value in ours.items() if name != a.begin)
        self._kinds = {name: theirs[name].dtype for name in (b.begin, *self.shared.values())}
        outputs = layer_tensors(b.model, b.begin)
        self._carried = Taps(held_model(b.model, {b.begin: self._kinds[b.begin]}, outputs), b.path.name)
        self._alone = Taps(held_model(b.model, self._kinds, outputs), b.path.name)
        self._sums = {name: np.zeros(3) for name in self.shared}  # signal, noise carried, noise alone

    def run(self, ours: Tensors) -> dict[str, np.ndarray]:
        """Add one image, given A's tensors for it; yields B's tensors, with A's in place of those that both have."""
        given = {self.b.begin: ours[self.a.begin][:, self.slots]}
        given |= {partner: ours[name] for name, partner in self.shared.items()}
        feeds = {name + HELD: value.astype(self._kinds[name]) for name, value in given.items()}
        carried, alone = self._carried.run_with(feeds), self._alone.run_with(feeds)
        for name, partner in self.shared.items():
            signal = ours[name].astype(np.float64)
            noise = [float(((signal - found[partner]) ** 2).sum()) for found in (carried, alone)]
            self._sums[name] += (float((signal**2).sum()), *noise)
        return {**alone, **given}

    def sqnr(self) -> tuple[LayerSqnr, ...]:
        """Of all images so far, in A's order."""
        writer, upsampling = self.a.model.producers, upsampling_tensors(self.a.model)
        rows = []
        for name, (signal, carried, alone) in self._sums.items():
            node = writer[name]
            stage = "upsample" if name in upsampling else "network"
            found = decibels(signal, carried), decibels(signal, alone)
            rows.append(LayerSqnr(node.name or name, operator(node), name, stage, *found))
        return tuple(rows)

    def why(self, layer: LayerSqnr) -> str:
        """What differs between the two nodes of a layer: their weights, attributes or operators; "" if nothing does."""
        ours = self.a.model.producers[layer.tensor]
        theirs = self.b.model.producers[self.shared[layer.tensor]]
        if operator(ours) != operator(theirs):
            return f"A's is a {operator(ours)}, B's a {operator(theirs)}"
        return _other_constants(self.a.model, ours, self.b.model, theirs) or _other_attributes(ours, theirs)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype in FLOATS and b.dtype in FLOATS


def _other_constants(a: OnnxModel, ours: NodeProto, b: OnnxModel, theirs: NodeProto) -> str:
    for place, (left, right) in enumerate(zip(ours.input, theirs.input)):
        x, y = stored_value(a, left), stored_value(b, right)
        if x is None or y is None:
            continue
        what = {1: "weights", 2: "bias"}.get(place, "constant") if "Conv" in operator(ours) else "constant"
        if x.shape != y.shape:
            return f"A's {what} have shape {list(x.shape)}, B's {list(y.shape)}"
        size = float(np.linalg.norm(x)) or 1.0
        if float(np.linalg.norm(x - y)) <= SAME_WEIGHTS * size:
            continue
        gain = float((x * y).sum()) / size**2
        if float(np.linalg.norm(y - gain * x)) <= SAME_WEIGHTS * float(np.linalg.norm(y)):
            return f"its {what} in B are A's times {gain:.3g}"
        return f"its {what} differ by {float(np.linalg.norm(x - y)) / size:.0%}"
    return ""


def _other_attributes(ours: NodeProto, theirs: NodeProto) -> str:
    a, b = _readable_attributes(ours), _readable_attributes(theirs)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            return f"its {name} is {a.get(name, 'not given')} in A, {b.get(name, 'not given')} in B"
    return ""


def _readable_attributes(node: NodeProto) -> dict[str, Any]:
    given = attributes(node)
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in given.items()}
