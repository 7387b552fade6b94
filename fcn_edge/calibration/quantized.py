"""Files of every precision from one fp32 file and one table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fcn_edge.atomic_io import sha256_of_file, whole_file
from fcn_edge.calibration.collect import table_from_images
from fcn_edge.calibration.coverage import Coverage, coverage_from_table
from fcn_edge.calibration.fp16_range import fp16_model
from fcn_edge.calibration.images import images_from_source, require_disjoint
from fcn_edge.calibration.methods import Method
from fcn_edge.calibration.placement import PlacementName, unsigned_tensors
from fcn_edge.calibration.quantize import int8_model
from fcn_edge.calibration.table import (
    CalibrationTable,
    require_same_images,
    require_same_origin,
    table_from_file,
    with_method,
)
from fcn_edge.data import Dataset
from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines.reference_check import quantized_near
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import (
    QUANTIZATION_KEY,
    Quantization,
    contract_from_onnx,
    onnx_from_file,
    save_onnx,
    with_metadata,
)
from fcn_edge.outputs import require_apart, require_outputs
from fcn_edge.registry import table_file, table_names
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Precision


@dataclass(frozen=True)
class Calibrated:
    """A lower-precision file and what made it. table: None for fp16 without images. coverage: None without INT8.

    left_fp32: node -> why half precision cannot hold it.
    """

    path: Path
    quantization: Quantization
    table: CalibrationTable | None
    coverage: Coverage | None = None
    left_fp32: Mapping[str, str] = field(default_factory=dict)


def int8_from_onnx(
    model: Path,
    out: Path,
    *,
    calib: str,
    method: Method | None = None,
    count: int | None = None,
    placement: PlacementName = "any",
    table_out: Path | None = None,
    held_out: Dataset | None = None,
    verify: str | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> Calibrated:
    """Calibrate `model` (fp32, with contract) on `calib` (images or a table) and write the int8 file.

    held_out: a set that none of the images may be in. verify: a source that a table must be made of.
    on_note: takes what was changed or passed over while the images were read.
    """
    require_outputs([out, table_out], [model, calib, verify])
    table = load_or_make_table(
        model,
        calib,
        method=method,
        count=count,
        held_out=held_out,
        verify=verify,
        on_image=on_image,
        on_note=on_note,
    )
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        draft = Path(scratch) / out.name
        made = quantized_file(model, draft, precision="int8", table=table, placement=placement)
        quantized_near(draft, model, probe_pictures(*table.preprocess.size)[:1])
        with whole_file(out) as part:
            part.write_bytes(draft.read_bytes())
    if table_out is not None:
        try:
            table.save(table_out)
        except BadInput:  # both or none
            out.unlink()
            raise
    return replace(made, path=out)


def is_table_name(calib: str) -> bool:
    """Whether `calib` names a calibration table rather than images."""
    return calib in table_names() or calib.endswith(".json")


def load_or_make_table(
    model: Path,
    calib: str,
    *,
    method: Method | None = None,
    count: int | None = None,
    held_out: Dataset | None = None,
    verify: str | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> CalibrationTable:
    """The table behind --calib: a .json or a table's name is read, anything else is a source of images.

    Raises:
        BadInput: an image is in `held_out`, the table was not made of the images of `verify`, or
            one of these is given where it cannot be held against anything.
    """
    if is_table_name(calib):
        table = table_from_file(table_file(calib) if calib in table_names() else Path(calib))
        if count is not None:
            raise BadInput(f"--images {count}: {calib} is a table of {len(table.images)} images already; leave it out")
        if verify is not None:
            require_same_images(table, images_from_source(verify, len(table.images) + len(table.skipped)))
        if table.roundings:
            on_note(
                f"{calib}: holds weight roundings of an earlier version, which are left out: all weights are rounded"
                " to the nearest step"
            )
        if held_out is not None:
            require_disjoint(table.hashes, held_out)
        return table if method is None else with_method(table, method)
    if verify is not None:
        raise BadInput(f"--verify {verify}: holds a table against its images; {calib} is no table")
    images = images_from_source(calib, count)
    if held_out is not None:
        require_disjoint({image.name: image.sha256() for image in images.images}, held_out)
    table = table_from_images(model, images, method=method or "percentile", on_image=on_image)
    for line in images.notes.lines:
        on_note(line)
    return table


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

    A table lets fp16 keep in float32 what half precision cannot hold; without one that is not checked.

    Raises:
        BadInput: int8 without a table, a table of another network, or a file that is not fp32.
    """
    require_apart([out], [model])
    contract = contract_from_onnx(model)
    if contract.quantization.precision != "fp32":
        raise BadInput(f"{model}: is {contract.quantization.precision} already; start from the fp32 file")
    graph = onnx_from_file(model)
    if table is not None:
        require_same_origin(table, graph, contract.spec)
    kept, left, coverage = tuple[str, ...](), dict[str, str](), None
    if precision.startswith("int8"):
        if table is None:
            raise BadInput("INT8 needs calibration: give --calib a folder, video, data set, TOML or table")
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
        source_sha256=sha256_of_file(model),
        kept_float=kept,
        kept_fp32=tuple(left),
        range_images=len(table.images) if table and precision.endswith("fp16") else 0,
    )
    save_onnx(with_metadata(graph, QUANTIZATION_KEY, json.dumps(to_mapping(quantization))), out)
    return Calibrated(out, quantization, table, coverage, left)
