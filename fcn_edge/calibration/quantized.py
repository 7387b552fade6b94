"""Networks of every precision from one fp32 network and one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from fcn_edge.onnxfile import QUANTIZATION_KEY, Quantization, with_metadata
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_apart, require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import table_file, table_names
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Precision


@dataclass(frozen=True)
class Calibrated:
    """A lower-precision network and what made it. table: None for fp16 without images. coverage: None without INT8.

    left_fp32: node -> why half precision cannot hold it.
    """

    model: OnnxModel
    quantization: Quantization
    table: CalibrationTable | None
    coverage: Coverage | None = None
    left_fp32: Mapping[str, str] = field(default_factory=dict)

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


def int8_from_onnx(
    model: OnnxModel | Path,
    out: Path,
    *,
    calib: str,
    method: Method | None = None,
    count: int | None = None,
    placement: PlacementName = "any",
    table_out: Path | None = None,
    held_out: Dataset | None = None,
    verify: str | None = None,
    progress: Progress = SILENT,
) -> Calibrated:
    """Calibrate `model` (fp32, with contract) on `calib` (images or a table) and write the int8 file.

    held_out: a set that none of the images may be in. verify: a source that a table must be made of.
    """
    net = OnnxModel.of(model)
    require_outputs([out, table_out], [net.path, calib, verify])
    table = load_or_make_table(
        net, calib, method=method, count=count, held_out=held_out, verify=verify, progress=progress
    )
    made = quantized_model(net, precision="int8", table=table, placement=placement)
    quantized_near(made.model, net, probe_pictures(*table.preprocess.size)[:1])
    made = made.save(out)
    if table_out is not None:
        try:
            table.save(table_out)
        except BadInput:  # both or none
            out.unlink()
            raise
    return made


def is_table_name(calib: str) -> bool:
    """Whether `calib` names a calibration table rather than images."""
    return calib in table_names() or calib.endswith(".json")


def load_or_make_table(
    model: OnnxModel,
    calib: str,
    *,
    method: Method | None = None,
    count: int | None = None,
    held_out: Dataset | None = None,
    verify: str | None = None,
    progress: Progress = SILENT,
) -> CalibrationTable:
    """The table behind `calib`: a .json or a table's name is read, anything else is a source of images.

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
            progress.note(
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
    table = table_from_images(model, images, method=method or "percentile", progress=progress)
    for line in images.notes.lines:
        progress.note(f"calibration images: {line}")
    return table
