"""Files of every precision from one fp32 file and one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.calib.half import fp16_model
from fcn_edge.calib.images import images_from_source
from fcn_edge.calib.placement import PlacementName
from fcn_edge.calib.quantize import int8_model
from fcn_edge.calib.table import (
    CalibrationTable,
    Method,
    require_same_origin,
    table_from_file,
    table_from_images,
    with_method,
)
from fcn_edge.errors import BadInput
from fcn_edge.files import sha256_of_file
from fcn_edge.onnxfile import (
    QUANTIZATION_KEY,
    Quantization,
    contract_from_onnx,
    onnx_from_file,
    save_onnx,
    with_metadata,
)
from fcn_edge.schema import to_mapping
from fcn_edge.shelf import table_file, table_names
from fcn_edge.spec import Precision


@dataclass(frozen=True)
class Calibrated:
    """A lower-precision file and what made it. table: None for fp16."""

    path: Path
    quantization: Quantization
    table: CalibrationTable | None


def int8_from_onnx(
    model: Path,
    out: Path,
    *,
    calib: str,
    method: Method | None = None,
    count: int | None = None,
    placement: PlacementName = "any",
    table_out: Path | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> Calibrated:
    """Calibrate `model` (fp32, with contract) on `calib` (images or a table) and write the int8 file."""
    table = load_or_make_table(model, calib, method=method, count=count, on_image=on_image)
    made = quantized_file(model, out, precision="int8", table=table, placement=placement)
    if table_out is not None:
        try:
            table.save(table_out)
        except BadInput:  # both or none
            out.unlink()
            raise
    return made


def load_or_make_table(
    model: Path,
    calib: str,
    *,
    method: Method | None = None,
    count: int | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationTable:
    """The table behind --calib: a .json or a table's name is read, anything else is a source of images."""
    is_name = calib in table_names()
    if is_name or calib.endswith(".json"):
        table = table_from_file(table_file(calib) if is_name else Path(calib))
        return table if method is None else with_method(table, method)
    images = images_from_source(calib, count)
    return table_from_images(model, images, method=method or "percentile", on_image=on_image)


def quantized_file(
    model: Path,
    out: Path,
    *,
    precision: Precision,
    table: CalibrationTable | None = None,
    placement: PlacementName = "any",
    kept_float: frozenset[str] = frozenset(),
) -> Calibrated:
    """Write `model` (fp32, with contract) in another precision.

    Raises:
        BadInput: int8 without a table, a table of another network, or a file that is not fp32.
    """
    contract = contract_from_onnx(model)
    if contract.quantization.precision != "fp32":
        raise BadInput(f"{model}: is {contract.quantization.precision} already; start from the fp32 file")
    graph = onnx_from_file(model)
    kept: tuple[str, ...] = ()
    if precision.startswith("int8"):
        if table is None:
            raise BadInput("INT8 needs calibration: give --calib a folder, video, data set, TOML or table")
        require_same_origin(table, graph, contract.spec)
        graph, kept = int8_model(graph, table.limits(), placement, kept_float)
    if precision.endswith("fp16"):
        graph = fp16_model(graph)
    quantization = _quantization(model, precision, table, placement, kept)
    save_onnx(with_metadata(graph, QUANTIZATION_KEY, json.dumps(to_mapping(quantization))), out)
    return Calibrated(out, quantization, table)


def _quantization(
    model: Path, precision: Precision, table: CalibrationTable | None, placement: str, kept: Any
) -> Quantization:
    if table is None:
        return Quantization(precision, source_sha256=sha256_of_file(model))
    return Quantization(precision, placement, table.method, table.sha256, sha256_of_file(model), tuple(kept))
