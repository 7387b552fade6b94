"""What a graph does to a frame before its first layer, found out by showing it colours.

The spec says how a network is to be fed; the graph does it. Frames of one colour show what a graph
truly subtracts, divides by and swaps, whatever its nodes are called and whatever its spec says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fcn_edge.comparison.artefact import Artefact
from fcn_edge.comparison.graph import first_convolution, held_model, preprocessing_nodes
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import attributes, operator

BGR = "BGR"
MIXED = 0.01  # of a slot's strongest colour: less is rounding
SAME_FILTERS = 0.9  # correlation of first convolutions that read their three slots in the same order
NOISE_SEED = 0


@dataclass(frozen=True)
class Front:
    """The network's input, slot s of its first layer: `matrix[s] @ colour + offset[s]` of a BGR colour 0..255.

    matrix: (3, 3) float64, offset: (3,) float64.
    """

    artefact: Artefact
    matrix: np.ndarray
    offset: np.ndarray

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The colour in each slot, "R", "G" or "B"; "B+R" where the graph mixes them."""
        size = np.abs(self.matrix)
        seen = size > MIXED * np.maximum(size.max(1, keepdims=True), np.finfo(np.float64).tiny)
        return tuple("+".join(np.array(list(BGR))[row]) for row in seen)

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted, in levels; in RGB order where each slot has a colour of its own, else by slot."""
        return self._in_rgb(-self.offset / self._scale)

    @property
    def std(self) -> tuple[float, ...]:
        """What is divided by, in levels; order as in `mean`."""
        return self._in_rgb(1 / self._scale)

    @property
    def _scale(self) -> np.ndarray:
        """(3,) strongest factor of each slot."""
        strongest = np.abs(self.matrix).argmax(1)
        return np.asarray(self.matrix[np.arange(3), strongest])

    def _in_rgb(self, values: np.ndarray) -> tuple[float, ...]:
        slots = [self.colours.index(c) for c in "RGB"] if set(self.colours) == set(BGR) else [0, 1, 2]
        return tuple(float(values[slot]) for slot in slots)

    def arriving(self, x: np.ndarray) -> np.ndarray:
        """(3, H, W) float64: the BGR levels that reach the first layer when the frame (1, H, W, 3) uint8 is shown."""
        ready = self._taps.run(x)[self.artefact.begin][0].astype(np.float64)
        return np.asarray(np.einsum("cs,shw->chw", np.linalg.pinv(self.matrix), ready - self.offset[:, None, None]))

    @cached_property
    def _taps(self) -> Taps:
        return _tap(self.artefact)

    @cached_property
    def own_nodes(self) -> str:
        """The graph's nodes in front of the network that resize, crop or pad, such as "Resize (nearest)"."""
        found = []
        for node in preprocessing_nodes(self.artefact.model, self.artefact.begin):
            if operator(node) in ("Resize", "Upsample", "Slice", "Pad", "AveragePool", "MaxPool"):
                mode = attributes(node).get("mode", b"").decode()
                found.append(f"{operator(node)} ({mode})" if mode else operator(node))
        return ", ".join(found)


def front_of(artefact: Artefact) -> Front:
    """Show the graph five colours. Raises BadInput where what its first layer reads is not (1, 3, H, W)."""
    taps = _tap(artefact)

    def shown(colour: tuple[int, int, int]) -> np.ndarray:
        frame = np.empty((1, *artefact.spec.preprocess.size, 3), np.uint8)
        frame[...] = colour
        ready = taps.run(frame)[artefact.begin]
        if ready.ndim != 4 or ready.shape[:2] != (1, 3):
            raise BadInput(f"{artefact.path}: its first layer reads {ready.shape}; compare knows (1, 3, H, W)")
        return np.asarray(ready[0, :, ready.shape[2] // 2, ready.shape[3] // 2], np.float64)

    black = shown((0, 0, 0))
    columns = [shown((255, 0, 0)), shown((0, 255, 0)), shown((0, 0, 255))]
    matrix = np.stack([(column - black) / 255 for column in columns], 1)
    if not np.isfinite(matrix).all() or not np.abs(matrix).max(1).all():
        raise BadInput(f"{artefact.path}: what its first layer reads does not follow the frame's colours")
    return Front(artefact, matrix, black)


def same_slots(a: Front, b: Front) -> tuple[int, ...] | None:
    """For each slot of A's first layer the slot of B's that the same filters read; None where filters are unrelated.

    The first layers of both are shown one input of coloured noise, to B's as it is and with its
    slots reversed: exports fold the colour order into the first layer by reversing its filters.
    """
    size = a.artefact.spec.preprocess.size
    frame = np.random.default_rng(NOISE_SEED).integers(0, 256, (1, *size, 3), np.uint8)
    x = _tap(a.artefact).run(frame)[a.artefact.begin]
    wanted = _first_layer(a.artefact, x)
    found = {order: _correlation(wanted, _first_layer(b.artefact, x[:, order])) for order in ((0, 1, 2), (2, 1, 0))}
    best = max(found, key=lambda order: found[order])
    return best if found[best] >= SAME_FILTERS else None


def _tap(artefact: Artefact) -> Taps:
    return Taps(held_model(artefact.model, {}, [artefact.begin]), artefact.path.name)


def _first_layer(artefact: Artefact, x: np.ndarray) -> np.ndarray:
    """What the first convolution makes of the network's input (1, 3, H, W)."""
    result = first_convolution(artefact.model, artefact.begin).output[0]
    black = np.zeros((1, *artefact.spec.preprocess.size, 3), np.uint8)
    kind = _tap(artefact).run(black)[artefact.begin].dtype
    taps = Taps(held_model(artefact.model, {artefact.begin: kind}, [result]), artefact.path.name)
    return taps.run(x.astype(kind))[result].astype(np.float64)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two (1, C, h, w) arrays without each channel's mean; 0 where their shapes differ."""
    if a.shape != b.shape:
        return 0.0
    a, b = (value - value.mean((2, 3), keepdims=True) for value in (a, b))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / length if length else 0.0
