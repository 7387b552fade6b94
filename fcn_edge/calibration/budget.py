"""The accuracy budget: the cheapest set of layers that must stay in float so that INT8 loses no more than allowed.

Every measurement is the task's own metric, on the engine that will run (or, where that cannot run
here, on the reference run), of a file in which some layers stay in float. Layers are ranked by
what keeping each alone gives back for what it costs; the shortest beginning of that ranking that
meets the budget on a subset is confirmed on the whole set, and what it does not need is put back.
A layer that loses most of all by itself hides the others: it is kept, and they are ranked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnx import shape_inference

from fcn_edge.atomic_io import read_json, sha256_of_json, write_json
from fcn_edge.calibration.images import spread_indices
from fcn_edge.calibration.placement import PlacementName, quantizable_convolutions, residual_adds
from fcn_edge.calibration.quantized import Calibrated, quantized_model
from fcn_edge.calibration.table import CalibrationTable
from fcn_edge.data import Dataset, Item
from fcn_edge.data.base import sha256_of_pixels
from fcn_edge.engines import EngineOptions, Target, engine_on_target
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.evaluation import evaluate
from fcn_edge.onnxgraph import operator
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.spec import Precision

SUBSET = 24  # images that layers are ranked on
MAX_FLOAT_SHARE = 0.5  # of the cost: with more than half in float a file is INT8 by name only
BYTES_PER_MAC = 10.0  # CPUs with VNNI multiply some ten pairs in the time that a byte comes from memory
HIDES = 0.5  # of what is lost: a layer that gives back more leaves nothing to see of the others
BLAMED = 5  # layers named where no set meets the budget


@dataclass(frozen=True)
class Budget:
    """What may be lost, and how that is measured. points: of mIoU. cache: file of what was measured so far."""

    points: float
    data: Dataset
    target: Target
    options: EngineOptions
    cache: Path


@dataclass(frozen=True)
class LayerCost:
    """A layer that can be quantized. macs: of one input; elements: read and written as activations."""

    name: str
    macs: int
    elements: int

    @property
    def cost(self) -> float:
        """Time that float arithmetic adds, in multiply-accumulates: four times the bytes, a slower multiplier."""
        return self.macs + 3 * self.elements * BYTES_PER_MAC


@dataclass(frozen=True)
class Found:
    """kept: layers that stay in float. drop: points of mIoU on the whole set. gains: layer -> points given back."""

    kept: tuple[str, ...]
    drop: float
    gains: dict[str, float]


class Measurements:
    """mIoU by (images, layers kept), on disk after each measurement, so that a search goes on where it was stopped.

    `miou(kept, images)` builds and evaluates; key: hash of all else that the figures depend on. A file of
    another key starts again.
    """

    def __init__(self, path: Path, key: str, miou: Callable[[frozenset[str], int | None], float]) -> None:
        self.path, self.key, self._miou = path, key, miou
        self.taken = 0
        self.known: dict[str, float] = {}
        if path.is_file():
            held = read_json(path)
            if held.get("key") == key and isinstance(held.get("miou"), dict):
                self.known = {str(name): float(value) for name, value in held["miou"].items()}

    def miou(self, kept: Sequence[str] | frozenset[str], images: int | None) -> float:
        """As a fraction; images None is the whole set."""
        name = f"{'all' if images is None else images}: {' '.join(sorted(kept)) or '-'}"
        if name not in self.known:
            self.known[name] = self._miou(frozenset(kept), images)
            self.taken += 1
            write_json(self.path, {"schema": 1, "key": self.key, "miou": self.known})
        return self.known[name]


def cheapest_within(
    budget: float,
    layers: Sequence[LayerCost],
    measured: Measurements,
    reference: Callable[[int | None], float],
    *,
    total: int,
    progress: Progress = SILENT,
) -> Found:
    """The set of layers to keep in float.

    budget: points. reference: mIoU of fp32 on so many images (None: all). total: images of the set.

    Raises:
        CheckFailed: no set below half of the cost meets it; says the best found and the worst layers.
    """

    def drop(kept: Sequence[str], images: int | None) -> float:
        return 100 * (reference(images) - measured.miou(kept, images))

    whole = drop((), None)
    if whole <= budget:
        return Found((), whole, {})
    few = min(SUBSET, total)
    gains: dict[str, float] = {}
    hiding: list[str] = []
    while left := [layer.name for layer in layers if layer.name not in hiding]:
        base = drop(hiding, few)
        for done, name in enumerate(left, 1):
            gains[name] = base - drop((*hiding, name), few)
            progress.update("sensitivity", done, len(left))
        worst = max(left, key=lambda name: gains[name])
        if gains[worst] <= max(HIDES * base, budget):
            break
        hiding.append(worst)
        if drop(hiding, few) <= budget:
            break
    costs = {layer.name: layer.cost for layer in layers}
    others = [name for name in costs if gains[name] > 0 and name not in hiding]
    ranked = [*hiding, *sorted(others, key=lambda name: gains[name] / costs[name], reverse=True)]
    affordable = _affordable([(name, costs[name]) for name in ranked], sum(costs.values()))
    kept = _shortest(affordable, lambda names: drop(names, few) <= budget)
    while drop(kept, None) > budget:
        if len(kept) == len(affordable):
            raise CheckFailed(_blame(budget, whole, drop(kept, None), kept, gains, len(layers)))
        kept = affordable[: len(kept) + 1]
    for done, name in enumerate(sorted(kept, key=lambda name: -costs[name]), 1):
        without = [other for other in kept if other != name]
        if drop(without, few) <= budget and drop(without, None) <= budget:
            kept = without
        progress.update("putting back", done, len(kept))
    return Found(tuple(kept), drop(kept, None), gains)


def _affordable(ranked: Sequence[tuple[str, float]], whole: float) -> list[str]:
    """The beginning of the ranking, (name, cost) each, that costs no more than the allowed share."""
    names, spent = [], 0.0
    for name, cost in ranked:
        spent += cost
        if spent > MAX_FLOAT_SHARE * whole:
            break
        names.append(name)
    return names


def _shortest(names: list[str], is_enough: Callable[[list[str]], bool]) -> list[str]:
    """The shortest beginning of `names` that is enough, by bisection; all of them where none is."""
    low, high = 1, len(names)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(names[:middle]) else (middle + 1, high)
    return names[:high]


def _blame(budget: float, whole: float, best: float, kept: Sequence[str], gains: dict[str, float], layers: int) -> str:
    worst = sorted(gains, key=lambda name: gains[name], reverse=True)[:BLAMED]
    named = ", ".join(f"{name} ({gains[name]:+.2f})" for name in worst)
    return (
        f"INT8 loses {whole:.2f} points of mIoU and with {len(kept)} of {layers} layers in float still {best:.2f};"
        f" the budget is {budget:g}. Layers that cost most, with the points that keeping each in float gives back:"
        f" {named}. No engine was written"
    )


def int8_within_budget(
    fp32: OnnxModel,
    budget: Budget,
    *,
    precision: Precision,
    table: CalibrationTable,
    placement: PlacementName,
    progress: Progress = SILENT,
) -> tuple[Calibrated, Found]:
    """The network in INT8 with as few layers in float as the budget asks for, in memory.

    Raises:
        CheckFailed: no set of layers meets it.
        BadInput: as `quantized_model` and `evaluate`.
    """

    def quantized(kept: frozenset[str]) -> Calibrated:
        return quantized_model(fp32, precision=precision, table=table, placement=placement, kept_float=kept)

    def miou(model: OnnxModel, images: int | None) -> float:
        with engine_on_target(model, budget.target, budget.options) as engine:
            return evaluate(engine, _part(budget.data, images)).scores.miou or 0.0

    def quantized_miou(kept: frozenset[str], images: int | None) -> float:
        return miou(quantized(kept).model, images)

    references: dict[int | None, float] = {}

    def reference_miou(images: int | None) -> float:
        if images not in references:
            references[images] = miou(fp32, images)
        return references[images]

    key = sha256_of_json([fp32.sha256, table.sha256, precision, placement, budget.target, content_of(budget.data)])
    found = cheapest_within(
        budget.points,
        layer_costs(fp32),
        Measurements(budget.cache, key, quantized_miou),
        reference_miou,
        total=len(budget.data.items),
        progress=progress,
    )
    return quantized(frozenset(found.kept)), found


def _part(data: Dataset, images: int | None) -> Dataset:
    """So many images, evenly spread; all for None."""
    if images is None:
        return data
    return replace(data, items=[data.items[i] for i in spread_indices(len(data.items), images)])


def content_of(data: Dataset) -> list[list[str]]:
    """The hashes of every image and of its labels, as they are read: other labels are other measurements."""
    return [[item.sha256(), _labels_sha256(item)] for item in (data.items[i] for i in range(len(data.items)))]


def _labels_sha256(item: Item) -> str:
    try:
        return sha256_of_pixels(item.labels())
    except BadInput:  # of a picture that does not decode, which counts nowhere; else evaluating says so
        return ""


def layer_costs(model: OnnxModel) -> list[LayerCost]:
    """Costs of every layer that some placement quantizes, in graph order, for the graph's own input size."""
    inferred = shape_inference.infer_shapes(model.proto, data_prop=True).graph
    sizes = {}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        sizes[value.name] = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]

    def count(name: str) -> int:
        found = 1
        for side in sizes.get(name, [1]):
            found *= side
        return found

    quantizable = {node.name for node in [*quantizable_convolutions(model.graph), *residual_adds(model.graph)]}
    costs = []
    for node in model.graph.node:
        if node.name not in quantizable:
            continue
        macs = 0
        if operator(node) == "Conv":
            _, inside, *kernel = model.initializers[node.input[1]].dims
            macs = count(node.output[0]) * inside * kernel[0] * kernel[1]
        reads = node.input[:1] if operator(node) == "Conv" else node.input
        costs.append(LayerCost(node.name, macs, count(node.output[0]) + sum(count(name) for name in reads)))
    if len({layer.name for layer in costs}) < len(costs):
        raise BadInput("layers of this graph share names, so none can be kept in float by name; export it again")
    return costs
