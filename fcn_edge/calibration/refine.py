"""Weights and biases of an INT8 file made better than rounding to the nearest makes them.

bias: what rounded weights add to each channel's mean is taken off its bias; needs nothing but the
table. rounding: weights rounded so that errors cancel out (`rounding`); needs the images once more,
and the result stands in the table.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from onnx import numpy_helper

from fcn_edge.calibration.collect import CalibrationReader, taps_of
from fcn_edge.calibration.images import CalibrationImages
from fcn_edge.calibration.moments import Reading, batches_of, reading_of, second_moments
from fcn_edge.calibration.placement import quantizable_convolutions
from fcn_edge.calibration.rounding import compensated, nearest, scales_of
from fcn_edge.calibration.table import CalibrationTable
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.onnxgraph import stored_tensors

Refinement = Literal["bias", "rounding"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)


def default_refinements(table: CalibrationTable) -> tuple[Refinement, ...]:
    """Rounding where the table holds it. None by itself: docs/int8.md shows no gain in mIoU of any."""
    return ("rounding",) if table.roundings else ()


def table_with_roundings(
    model_path: Path,
    table: CalibrationTable,
    images: CalibrationImages,
    *,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationTable:
    """The table, and how to round the weights of each convolution whose moments fit into memory.

    images: those that the table was made of.
    """
    model, spec = onnx_from_file(model_path), contract_from_onnx(model_path).spec
    weights = stored_tensors(model.graph)
    read: dict[Reading, dict[str, np.ndarray]] = {}
    seen = set[str]()
    for node in quantizable_convolutions(model.graph):
        values = numpy_helper.to_array(weights[node.input[1]]).astype(np.float32)
        reading = reading_of(node, values)
        if reading is not None and node.input[1] not in seen:
            seen.add(node.input[1])
            read.setdefault(reading, {})[node.input[1]] = values
    fan_in = {reading: int(np.prod(next(iter(by.values())).shape[1:])) for reading, by in read.items()}
    batches = batches_of(list(read), fan_in)
    reader = CalibrationReader(images, spec, lambda done: on_image(done, len(batches) * len(images.images)))
    roundings = {}
    for batch in batches:
        taps = taps_of(model, [reading.tensor for reading in batch], model_path.name)
        for reading, moments in second_moments(batch, (taps.run(x) for _, x in reader.inputs())).items():
            for name, values in read[reading].items():
                scales = scales_of(values)
                off = compensated(values, scales, moments) - nearest(values, scales)
                roundings[name] = packed(off)
    return replace(table, roundings=roundings)


def packed(steps: np.ndarray) -> str:
    """int8 steps off the nearest, of any shape, as text."""
    return base64.b64encode(zlib.compress(steps.astype(np.int8).tobytes(), 9)).decode()


def unpacked(text: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The steps again. Raises BadInput where the text holds another number of them, or none."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), int(np.prod(shape)) + 1)
    except (ValueError, zlib.error) as error:
        raise BadInput(f"the calibration table's rounding of {name} is damaged; calibrate anew") from error
    if len(data) != int(np.prod(shape)):
        raise BadInput(f"the calibration table's rounding of {name} is not for weights {shape}; calibrate anew")
    return np.frombuffer(data, np.int8).reshape(shape)


def roundings_for(model: Any, table: CalibrationTable) -> Mapping[str, np.ndarray]:
    """Weights -> int8 steps off the nearest, of the table's shape."""
    weights = stored_tensors(model.graph)
    return {name: unpacked(text, tuple(weights[name].dims), name) for name, text in table.roundings.items()}
