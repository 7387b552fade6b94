"""Cross-layer equalisation: neighbouring convolutions share out the ranges of the channels between them.

Where nothing but pooling, padding with zeros and ReLU stands between two convolutions, a channel may be
made smaller by the first and larger again by the second. Factors are powers of two, so the network
computes the same as before, bit for bit; only its INT8 scales have less to span.

Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019, section 4.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from fcn_edge.atomic_io import whole_file
from fcn_edge.engines import EngineOptions, engine_on_target
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file, save_onnx
from fcn_edge.onnxgraph import attributes, operator, stored_tensors
from fcn_edge.outputs import require_outputs

SCALES_ALONG = {"AveragePool", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Relu"}  # f(s x) = s f(x) for s > 0
SWEEPS = 8  # over the pairs: what one evens out, its neighbour unsettles
LARGEST_FACTOR = 2**10  # a channel of almost nothing is not blown up without end


@dataclass(frozen=True)
class LayerPair:
    """Two Conv nodes with the same channels between them."""

    first: Any
    second: Any


def equalised_file(model: Path, out: Path) -> int:
    """Write the equalised network under `out`; returns how many pairs of convolutions it has.

    Raises:
        BadInput: not an fp32 file with its contract, no such pair, or the result computes something else.
    """
    contract = contract_from_onnx(model)
    if contract.quantization.precision != "fp32":
        raise BadInput(f"{model}: is {contract.quantization.precision} already; equalise the fp32 file")
    require_outputs([out], [model])
    graph = onnx_from_file(model)
    pairs = equalise(graph.graph, model)
    with whole_file(out) as part:
        save_onnx(graph, part)
        _require_same(model, part, out)
    return pairs


def equalise(graph: Any, name: Path) -> int:
    """Change the weights of `graph` in place; returns the number of pairs. Raises BadInput where there is none."""
    pairs = list(pairs_of(graph))
    if not pairs:
        raise BadInput(f"{name}: no two convolutions follow each other with ReLU or nothing between; none to equalise")
    tensors = stored_tensors(graph)
    read = {name for pair in pairs for node in (pair.first, pair.second) for name in node.input[1:] if name}
    values = {name: numpy_helper.to_array(tensors[name]).astype(np.float32) for name in read}
    for _ in range(SWEEPS):
        for pair in pairs:
            _share_out(pair, values)
    for changed, value in values.items():
        tensors[changed].CopyFrom(numpy_helper.from_array(value, changed))
    return len(pairs)


def pairs_of(graph: Any) -> Iterator[LayerPair]:
    """Pairs whose channels nobody else reads and whose weights are no one else's."""
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(value.name for value in graph.output)
    readers = {name: node for node in graph.node for name in node.input}
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == 1}  # 1: FLOAT
    zeros = {tensor.name for tensor in graph.initializer if not numpy_helper.to_array(tensor).any()}

    def is_own(node: Any) -> bool:
        return operator(node) == "Conv" and all(name in weights and uses[name] == 1 for name in node.input[1:] if name)

    for first in filter(is_own, graph.node):
        name = first.output[0]
        while uses[name] == 1 and name in readers:
            node = readers[name]
            if is_own(node) and node.input[0] == name:
                yield LayerPair(first, node)
            if node.input[0] != name or not _scales_along(node, zeros):
                break
            name = node.output[0]


def _scales_along(node: Any, zeros: set[str]) -> bool:
    """Whether the node's output is so many times larger as its input is, in each channel for itself."""
    given = [*node.input, "", ""]
    if operator(node) == "Clip":
        return given[1] in zeros and not given[2]
    if operator(node) == "Pad":
        mode = attributes(node).get("mode", b"constant")
        return mode == b"constant" and (not given[2] or given[2] in zeros)
    return operator(node) in SCALES_ALONG


def _share_out(pair: LayerPair, values: dict[str, np.ndarray]) -> None:
    """Make the first's output channels and the second's input channels span alike."""
    first, second = values[pair.first.input[1]], values[pair.second.input[1]]
    groups = attributes(pair.second).get("group", 1)
    by_group = second.reshape(groups, len(second) // groups, second.shape[1], -1)  # a view
    made, read = np.abs(first.reshape(len(first), -1)).max(1), np.abs(by_group).max((1, 3)).ravel()
    both = (made > 0) & (read > 0)
    ratio = np.sqrt(np.divide(made, read, out=np.ones_like(made), where=both))
    factors = 2.0 ** np.rint(np.log2(ratio.clip(1 / LARGEST_FACTOR, LARGEST_FACTOR)))
    factors = factors.astype(np.float32)
    first /= factors.reshape(-1, *[1] * (first.ndim - 1))
    if len(pair.first.input) > 2 and pair.first.input[2]:
        values[pair.first.input[2]] /= factors
    by_group *= factors.reshape(groups, 1, -1, 1)


def _require_same(before: Path, after: Path, name: Path) -> None:
    """Raises BadInput, under `name`, where the two do not compute the same scores of one noisy frame."""
    spec = contract_from_onnx(before).spec
    frame = np.random.default_rng(0).integers(0, 256, (1, *spec.preprocess.size, 3), np.uint8)
    outputs = []
    for path in (before, after):
        with engine_on_target(path, "reference", EngineOptions()) as engine:
            outputs.append(engine.infer(frame).astype(np.float64))
    largest = np.abs(outputs[0]).max()
    if np.abs(outputs[0] - outputs[1]).max() > 1e-5 * largest:
        raise BadInput(f"{name}: equalised, the network computes something else; it cannot be equalised")
