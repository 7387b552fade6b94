"""What values the end of a graph can give, where its last operators tell."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto

from fcn_edge.exporting.tidy import static_shapes
from fcn_edge.onnxgraph import attributes, operator, producers, source_node, stored_values

MOVES = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
SELECTS = MOVES | {"AveragePool", "Gather", "MaxPool", "Resize", "Slice"}  # and what lies between values
ONE_AT_MOST = {"HardSigmoid", "Sigmoid", "Softmax"}


def argmax_channels(model: ModelProto, name: str) -> int | None:
    """Over how many channels the arg-max behind output `name` chooses; None where it is not one, or not known."""
    node = source_node(name, producers(model.graph), MOVES)
    if node is None or operator(node) != "ArgMax":
        return None
    axis = attributes(node).get("axis", 0)
    shape = static_shapes(model).get(node.input[0])
    return None if shape is None else shape[axis]


def mask_top(model: ModelProto, name: str) -> float | None:
    """The largest value that the mask `name` can take, where it begins at 0 by its last operators; else None."""
    known = stored_values(model.graph)
    made, factor = producers(model.graph), 1.0
    node = source_node(name, made, SELECTS)
    while node is not None and operator(node) in ("Mul", "Div"):
        scales = [known[other] for other in node.input if other in known and known[other].size == 1]
        others = [other for other in node.input if other not in known]
        if len(scales) != 1 or len(others) != 1 or (operator(node) == "Div" and node.input[1] not in known):
            return None
        scale = float(scales[0].reshape(-1)[0])
        factor *= scale if operator(node) == "Mul" else 1 / scale
        node = source_node(others[0], made, SELECTS)
    if node is None or factor <= 0:
        return None
    if operator(node) in ONE_AT_MOST:
        return factor
    if operator(node) == "Clip":
        low, high = _clip_limits(node, known)
        return factor * high if low == 0 and high is not None else None
    return None


def _clip_limits(node: NodeProto, known: dict[str, np.ndarray]) -> tuple[float | None, float | None]:
    names = [*node.input, "", ""][1:3]
    given = {name: float(value) for name, value in attributes(node).items()}
    limits = [float(known[name].reshape(-1)[0]) if name in known else None for name in names]
    return given.get("min", limits[0]), given.get("max", limits[1])
