"""Networks of every precision from one fp32 network and one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fcn_edge.calibration.coverage import Coverage, coverage_from_table
from fcn_edge.calibration.fp16_range import fp16_model
from fcn_edge.calibration.placement import PlacementName, unsigned_tensors
from fcn_edge.calibration.quantize import int8_model
from fcn_edge.calibration.table import (
    CalibrationTable,
    require_same_origin,
)
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import QUANTIZATION_KEY, Quantization, with_metadata
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_apart
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Precision


@dataclass(frozen=True)
class Calibrated:
    """A lower-precision network and what made it. table: None for fp16 without images. coverage: None without INT8.

    left_fp32: node -> why half precision cannot hold it. table_path: where the table was written, if it was.
    """

    model: OnnxModel
    quantization: Quantization
    table: CalibrationTable | None
    coverage: Coverage | None = None
    left_fp32: Mapping[str, str] = field(default_factory=dict)
    table_path: Path | None = None

    @property
    def path(self) -> Path:
        """Where the network lies, or what messages call it."""
        return self.model.path

    def save(self, path: Path) -> Calibrated:
        """Write the ONNX file, whole or not at all, and give the network that lies there. Raises BadInput."""
        return replace(self, model=self.model.save(path))


def quantized_model(
    model: OnnxModel,
    *,
    precision: Precision,
    table: CalibrationTable | None = None,
    placement: PlacementName = "any",
    kept_float: frozenset[str] = frozenset(),
) -> Calibrated:
    """`model` (fp32, with contract) in another precision, in memory.

    Args:
        table: ranges of its tensors. INT8 needs one; with one, fp16 keeps in float32 what half precision cannot
            hold, which is not checked without.
        placement: where Q/DQ pairs go in INT8. kept_float: nodes that stay in float.

    Raises:
        BadInput: INT8 without a table, a table of another network, or a file that is not fp32.
    """
    if model.precision != "fp32":
        raise BadInput(f"{model.path}: is {model.precision} already; start from the fp32 file")
    if table is not None:
        require_same_origin(table, model)
    graph, kept, left, coverage = model.proto, tuple[str, ...](), dict[str, str](), None
    if precision.startswith("int8"):
        if table is None:
            raise BadInput("INT8 needs calibration: `calib` is a folder, video, data set, TOML, table or images")
        unsigned = unsigned_tensors(graph.graph, placement)
        coverage = coverage_from_table(table, unsigned)
        graph, kept = int8_model(graph, table.limits(unsigned), placement, kept_float)
    if precision.endswith("fp16"):
        graph, left = fp16_model(graph, table.magnitudes if table else None)
    quantization = Quantization(
        precision,
        placement=placement if coverage else "",
        method=table.method if table and coverage else "",
        table_sha256=table.sha256 if table else "",
        source_sha256=model.sha256,
        kept_float=kept,
        kept_fp32=tuple(left),
        range_images=len(table.images) if table and precision.endswith("fp16") else 0,
    )
    made = model.changed(with_metadata(graph, QUANTIZATION_KEY, json.dumps(to_mapping(quantization))))
    return Calibrated(made, quantization, table, coverage, left)


def quantized_file(
    model: OnnxModel | Path,
    out: Path,
    *,
    precision: Precision,
    table: CalibrationTable | None = None,
    placement: PlacementName = "any",
    kept_float: frozenset[str] = frozenset(),
) -> Calibrated:
    """Write `model` in another precision to `out`. Arguments and errors as `quantized_model`."""
    net = OnnxModel.of(model)
    require_apart([out], [net.path])
    return quantized_model(net, precision=precision, table=table, placement=placement, kept_float=kept_float).save(out)
