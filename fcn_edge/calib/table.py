"""The calibration table: the range of every tensor that will be quantized, and where it came from.

Two passes over the images, one image at a time: the largest magnitude of each tensor, then
a histogram of magnitudes up to it. Memory does not grow with the number of images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx

from fcn_edge.calib.images import CalibrationImages
from fcn_edge.calib.placement import activations_to_quantize
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.files import read_json, sha256_of_json, write_json
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.schema import from_mapping, to_mapping
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import input_from_frame

Method = Literal["minmax", "percentile"]
METHODS: tuple[Method, ...] = get_args(Method)
BINS = 1024
PERCENTILE = 99.99


@dataclass(frozen=True)
class TensorRange:
    """amax: largest magnitude seen. histogram: counts of |x| in 1024 equal bins of 0..amax."""

    amax: float
    minimum: float
    histogram: tuple[int, ...]

    def limit(self, method: Method) -> float:
        """The magnitude that maps to the end of the integer range: amax, or the 99.99th percentile."""
        if method == "minmax" or not self.histogram:
            return self.amax
        counts = np.cumsum(self.histogram)
        return float((np.searchsorted(counts, counts[-1] * PERCENTILE / 100) + 1) / BINS * self.amax)


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges with their origin: hashes of the graph, the preprocessing and every image."""

    tensors: Mapping[str, TensorRange]
    method: Method
    model: str
    source: str
    graph_sha256: str
    preprocess_sha256: str
    images_sha256: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    schema: int = 1

    @property
    def sha256(self) -> str:
        return sha256_of_json(to_mapping(self))

    def limits(self) -> dict[str, float]:
        """Tensor name -> magnitude at the end of the integer range, by the table's method."""
        return {name: entry.limit(self.method) for name, entry in self.tensors.items()}

    def save(self, path: Path) -> None:
        write_json(path, to_mapping(self))


def table_from_file(path: Path) -> CalibrationTable:
    """Read a table. Raises BadInput where the JSON is not one."""
    return from_mapping(CalibrationTable, read_json(path), str(path))


def table_from_images(
    model_path: Path,
    images: CalibrationImages,
    *,
    method: Method = "percentile",
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationTable:
    """Run the images through the fp32 file (optimisation off) and collect ranges.

    A picture that does not decode is skipped and named in the table.

    Raises:
        BadInput: no contract, no picture decodes, or the network yields NaN or infinity (tensor named).
    """
    spec = contract_from_onnx(model_path).spec
    model = onnx_from_file(model_path)
    taps = Taps(_with_taps(model), model_path.name)
    total = 2 * len(images.images)
    reader = _Reader(images, spec, lambda done: on_image(done, total))
    ranges = _ranges(taps, reader)
    histograms = _histograms(taps, reader, ranges)
    tensors = {n: TensorRange(hi, lo, tuple(histograms[n].tolist())) for n, (lo, hi) in ranges.items()}
    return CalibrationTable(
        tensors, method, spec.name, images.source, graph_sha256(model), spec.preprocess_sha256,
        tuple(reader.hashes), tuple(sorted(reader.skipped)),
    )  # fmt: skip


def graph_sha256(model: Any) -> str:
    """Hex SHA-256 of the graph alone: nodes, weights, inputs and outputs, without metadata."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def require_same_origin(table: CalibrationTable, model: Any, spec: ModelSpec) -> None:
    """Raises BadInput where the table was made with another graph or another preprocessing."""
    if table.preprocess_sha256 != spec.preprocess_sha256:
        raise BadInput(f"the table was made for {table.model} with another preprocessing; calibrate anew")
    if table.graph_sha256 != graph_sha256(model):
        raise BadInput(f"the table was made from another graph than this {spec.name}; calibrate anew")


def with_method(table: CalibrationTable, method: Method) -> CalibrationTable:
    """The same ranges read by another method."""
    return replace(table, method=method)


class _Reader:
    """Network inputs one at a time; what was read, and what did not decode."""

    def __init__(self, images: CalibrationImages, spec: ModelSpec, on_image: Callable[[int], None]) -> None:
        self.images, self.spec, self.on_image = images, spec, on_image
        self.skipped: set[str] = set()
        self.hashes: list[str] = []
        self.done = 0

    def inputs(self) -> Iterator[np.ndarray]:
        hashes = []
        for image in self.images.images:
            self.done += 1
            try:
                pixels = image.read()
            except BadInput:
                self.skipped.add(image.name)
                continue
            hashes.append(image.sha256())
            yield input_from_frame(pixels, self.spec.preprocess)
            self.on_image(self.done)
        self.hashes = hashes
        if not hashes:
            raise BadInput(f"{self.images.source}: none of {len(self.images.images)} images decodes")


def _with_taps(model: Any) -> bytes:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    for name in activations_to_quantize(model.graph):
        tapped.graph.output.append(onnx.ValueInfoProto(name=name))
    serialized: bytes = tapped.SerializeToString()
    return serialized


def _ranges(taps: Taps, reader: _Reader) -> dict[str, tuple[float, float]]:
    low = dict.fromkeys(taps.names, np.inf)
    high = dict.fromkeys(taps.names, 0.0)
    for x in reader.inputs():
        for name, value in taps.run(x).items():
            lower, upper = float(value.min()), float(value.max())
            if not (np.isfinite(lower) and np.isfinite(upper)):
                raise BadInput(f"tensor {name} holds NaN or infinity: the network cannot be calibrated")
            low[name], high[name] = min(low[name], lower), max(high[name], abs(lower), abs(upper))
    return {name: (low[name], high[name]) for name in taps.names}


def _histograms(taps: Taps, reader: _Reader, ranges: dict[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    counts = {name: np.zeros(BINS, np.int64) for name in taps.names}
    for x in reader.inputs():
        for name, value in taps.run(x).items():
            amax = ranges[name][1]
            if amax > 0:
                bins = (np.abs(value.ravel()) * np.float32(BINS / amax)).astype(np.int32)
                counts[name] += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
    return counts
