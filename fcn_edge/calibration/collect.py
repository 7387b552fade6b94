"""From images to a calibration table, in two passes, one image at a time.

The first pass finds the largest magnitude of each tensor, the second counts magnitudes in equal bins
up to it. Memory does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from fcn_edge.calibration.images import CalibrationImage, CalibrationImages
from fcn_edge.calibration.methods import BINS, METHODS, Method, limit_from_histogram
from fcn_edge.calibration.placement import activations_to_quantize
from fcn_edge.calibration.table import CalibrationTable, Magnitude, TensorRange, graph_sha256, weights_sha256
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.onnxgraph import stored_values
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import input_from_frame

CHANNEL_AXES = (0, 2, 3)  # of (N, C, H, W), all but the channels
LEAST_BINNED = BINS / float(np.finfo(np.float32).max)  # bins of smaller ranges are narrower than float32 can divide by


def table_from_images(
    model: OnnxModel | Path,
    images: CalibrationImages,
    *,
    method: Method = "percentile",
    progress: Progress = SILENT,
) -> CalibrationTable:
    """Run the images through the fp32 network (optimisation off) and collect ranges.

    A picture that does not decode is skipped and named in the table; so is one of one colour, which counts.

    Raises:
        BadInput: no contract, no picture decodes, all are of one colour, or weights or a tensor hold
            NaN or infinity (named).
    """
    net = OnnxModel.of(model)
    spec, name = net.spec, net.path.name
    _require_finite_weights(net)
    reader = CalibrationReader(images, spec, progress)
    quantized, output = activations_to_quantize(net.graph), net.outputs[0].name
    first = _FirstPass(quantized, spec, images.classes == spec.classes)
    taps = Taps(net.tapped([*quantized, *float_tensors(net.proto), output]), name)
    for image, x in reader.inputs():
        first.add(image, taps.run(x), output)
    if len(reader.flat) == len(reader.hashes):
        raise BadInput(f"{images.source}: every image is of one colour throughout; calibrate on real pictures")
    histograms = _histograms(Taps(net.tapped(quantized), name), reader, first)
    tensors = {name: _range(first, name, histograms[name], len(reader.hashes)) for name in quantized}
    return CalibrationTable(
        tensors=tensors,
        magnitudes=first.magnitudes(),
        predicted=_by_class(spec, first.predicted),
        labelled=_by_class(spec, first.labelled) if first.has_labels else None,
        method=method,
        model=spec.name,
        source=images.source,
        graph_sha256=graph_sha256(net.proto),
        weights_sha256=weights_sha256(net.proto),
        preprocess=spec.preprocess,
        images=tuple(reader.hashes),
        images_sha256=tuple(reader.hashes.values()),
        skipped=tuple(sorted(reader.skipped)),
        flat=tuple(reader.flat),
    )


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the float32 tensors that nodes compute, in graph order."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*inferred.value_info, *inferred.output]}
    return [name for node in model.graph.node for name in node.output if kinds.get(name) == TensorProto.FLOAT]


class CalibrationReader:
    """Network inputs one at a time; what was read, what did not decode, and what is of one colour."""

    passes = 2

    def __init__(self, images: CalibrationImages, spec: ModelSpec, progress: Progress) -> None:
        self.images, self.spec, self.progress = images, spec, progress
        self.skipped: set[str] = set()
        self.flat: list[str] = []
        self.hashes: dict[str, str] = {}
        self.done = 0

    def inputs(self) -> Iterator[tuple[CalibrationImage, np.ndarray]]:
        is_first = not self.hashes
        for image in self.images.images:
            self.done += 1
            pixels = self._pixels(image)
            if pixels is None:
                continue
            if is_first:
                self.hashes[image.name] = image.sha256()
                if (pixels == pixels[0, 0]).all():
                    self.flat.append(image.name)
            yield image, input_from_frame(pixels, self.spec.preprocess)
            self.progress.update("calibrating", self.done, self.passes * len(self.images.images))
        if not self.hashes:
            raise BadInput(f"{self.images.source}: none of {len(self.images.images)} images decodes")

    def _pixels(self, image: CalibrationImage) -> np.ndarray | None:
        try:
            return image.read()
        except BadInput as error:
            self.skipped.add(image.name)
            self.images.notes.add(f"skipped ({error})", image.name)
            return None


class _FirstPass:
    """Ranges, magnitudes and classes, image after image. Row 0 or 1 of `amax` is that of every second image."""

    def __init__(self, quantized: list[str], spec: ModelSpec, has_labels: bool) -> None:
        self.spec, self.has_labels = spec, has_labels
        self.minimum = dict.fromkeys(quantized, np.inf)
        self.amax = {name: [0.0, 0.0] for name in quantized}
        self.channels: dict[str, np.ndarray] = {}
        self.sums: dict[str, np.ndarray] = {}  # of each channel's mean in each image
        self.sizes: dict[str, list[float]] = {}  # largest, smallest, sum of squares, count
        self.predicted, self.labelled = np.zeros((2, spec.num_classes), np.int64)
        self.count = 0

    def add(self, image: CalibrationImage, tensors: Mapping[str, np.ndarray], output: str) -> None:
        for name, value in tensors.items():
            if value.dtype == np.float32 and value.size:
                self._add_tensor(name, value)
        scores = tensors[output]
        class_map = scores if self.spec.head.kind == "classes" else scores.argmax(1)
        self.predicted += np.bincount(class_map.ravel(), minlength=len(self.predicted))
        if self.has_labels and image.labels is not None:
            labels = image.labels().ravel()
            self.labelled += np.bincount(labels[labels < len(self.labelled)], minlength=len(self.labelled))
        self.count += 1

    def _add_tensor(self, name: str, value: np.ndarray) -> None:
        magnitudes = np.abs(value)
        largest = float(magnitudes.max())
        if not np.isfinite(largest):
            raise BadInput(f"tensor {name} holds NaN or infinity: the network cannot be calibrated")
        if name in self.amax:
            half = self.count % 2
            self.amax[name][half] = max(self.amax[name][half], largest)
            self.minimum[name] = min(self.minimum[name], float(value.min()))
            if value.ndim == len(CHANNEL_AXES) + 1:
                found = magnitudes.max(CHANNEL_AXES)
                self.channels[name] = np.maximum(self.channels.get(name, found), found)
                self.sums[name] = self.sums.get(name, 0.0) + value.mean(CHANNEL_AXES, dtype=np.float64)
        some = magnitudes[magnitudes > 0]
        if some.size:
            size = self.sizes.setdefault(name, [0.0, np.inf, 0.0, 0.0])
            squares = float(np.square(some / np.float32(largest)).sum(dtype=np.float64)) * largest**2
            size[:] = max(size[0], largest), min(size[1], float(some.min())), size[2] + squares, size[3] + some.size
        else:
            self.sizes.setdefault(name, [0.0, 0.0, 0.0, 0.0])

    def magnitudes(self) -> dict[str, Magnitude]:
        return {
            name: Magnitude(largest, smallest if count else 0.0, (squares / count) ** 0.5 if count else 0.0)
            for name, (largest, smallest, squares, count) in self.sizes.items()
        }


def _histograms(taps: Taps, reader: CalibrationReader, first: _FirstPass) -> dict[str, np.ndarray]:
    """Tensor name -> (2, BINS) counts of magnitudes: of every second image, and of the others."""
    counts = {name: np.zeros((2, BINS), np.int64) for name in taps.names}
    for number, (_, x) in enumerate(reader.inputs()):
        for name, value in taps.run(x).items():
            amax = max(first.amax[name])
            if amax > LEAST_BINNED:
                bins = (np.abs(value.ravel()) * np.float32(BINS / amax)).astype(np.int32)
                counts[name][number % 2] += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
    return counts


def _range(first: _FirstPass, name: str, histograms: np.ndarray, images: int) -> TensorRange:
    amax = max(first.amax[name])

    def limit(half: int, method: Method) -> float:
        own = first.amax[name][half]
        return own if method == "minmax" else limit_from_histogram(histograms[half], amax, method)

    halves: dict[str, tuple[float, float]] | None = None
    if images > 1:
        halves = {method: (limit(0, method), limit(1, method)) for method in METHODS}
    counts = histograms.sum(0)
    channels = first.channels.get(name, np.empty(0))
    means = [float(f"{mean:.7g}") for mean in first.sums.get(name, np.empty(0)) / images]
    return TensorRange(
        amax, first.minimum[name], tuple(counts.tolist()), tuple(channels.tolist()), tuple(means), halves
    )


def _require_finite_weights(model: OnnxModel) -> None:
    for name, values in stored_values(model.graph).items():
        if values.dtype == np.float32 and values.ndim and not np.isfinite(values).all():
            raise BadInput(f"weights {name} hold NaN or infinity: the network cannot be calibrated")


def _by_class(spec: ModelSpec, counts: np.ndarray) -> dict[str, int]:
    return dict(zip(spec.classes, counts.tolist(), strict=True))
