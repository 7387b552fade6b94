"""From an fp32 network and real images to lower-precision files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from fcn_edge.calibration.collect import table_from_images
from fcn_edge.calibration.coverage import Coverage, coverage_from_table
from fcn_edge.calibration.images import CalibrationImages, ImagesLike, images_from_source
from fcn_edge.calibration.methods import METHODS, Method
from fcn_edge.calibration.placement import PlacementName
from fcn_edge.calibration.quantized import Calibrated, quantized_file, quantized_model
from fcn_edge.calibration.request import TableRequest, is_table_name
from fcn_edge.calibration.table import CalibrationTable, table_from_file
from fcn_edge.data import DataLike, labelled_for
from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines import model_path
from fcn_edge.engines.reference_check import require_near_fp32
from fcn_edge.errors import BadInput
from fcn_edge.exporting import onnx_model
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe

__all__ = [
    "METHODS",
    "Calibrated",
    "CalibrationImages",
    "CalibrationTable",
    "Coverage",
    "ImagesLike",
    "TableRequest",
    "calibrate",
    "coverage_from_table",
    "images_from_source",
    "quantized_file",
    "quantized_model",
    "table_from_file",
    "table_from_images",
]


def calibrate(
    model: str | Path | OnnxModel | None,
    images: ImagesLike,
    out: str | Path,
    *,
    method: Method | None = None,
    count: int | None = None,
    placement: PlacementName = "any",
    data: DataLike | None = None,
    allow_overlap: bool = False,
    verify: ImagesLike | None = None,
    table: str | Path | None = None,
    spec: str | Path | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> Calibrated:
    """Write a network in INT8 (an ONNX file with Q/DQ pairs), and the calibration table beside it.

    The file appears only after a reference run of it was near that of the fp32 network.

    Args:
        model: an fp32 ONNX file, a checkpoint (exported first), a packaged name, or None for the packaged network.
        images: folder, glob, video, data set or TOML by name or path; (H, W, 3) uint8 BGR arrays; or a table.
        out: ONNX file to write.
        method: how a range becomes a scale: "percentile" (the default), "minmax", "mse", "entropy".
        count: how many of the images, evenly spread; by default 100, or all arrays.
        placement: where Q/DQ pairs go: "any" for every runtime, "x86" for CPUs with VNNI, "nvidia" for TensorRT.
        data: labelled images that none of the images may be in, unless `allow_overlap`.
        allow_overlap: images may be in `data`; mIoU on it is then optimistic.
        verify: images that a table must have been made of.
        table: where the table is written, by default `out` with the suffix .table.json; one that lies there and is
            given as `images` stays as it is.
        spec: TOML file that describes an ONNX file of another tool.
        recipe: network of a plain state dict.
        progress: takes images calibrated, notes and warnings.

    Returns:
        The network that lies under `out`, its table, and what the images cover.

    Raises:
        BadInput: a network that is not fp32, no images, images that are in `data`, a table of another network.
        CheckFailed: the INT8 network is no longer the fp32 one.
        BackendMissing: ONNX Runtime, or PyTorch for a checkpoint, is not installed.

    Example:
        made = calibrate("net.onnx", "drive.mp4", "net.int8.onnx")
        print(made.coverage.verdict)
    """
    out = Path(out)
    table_path = Path(table) if table is not None else out.with_suffix(".table.json")
    path = model.path if isinstance(model, OnnxModel) else model_path(model)
    is_there = is_table_name(images) and os.path.realpath(str(images)) == os.path.realpath(table_path)
    read = [source for source in (path, images, verify, spec, data) if isinstance(source, (str, Path))]
    require_outputs([out, None if is_there else table_path], read)
    net = onnx_model(model, spec=spec, recipe=recipe, progress=progress)
    if net.precision != "fp32":
        raise BadInput(f"{net.path}: is {net.precision} already; calibrate the fp32 file")
    held_out = None if data is None or allow_overlap else labelled_for(net.spec, data)
    found = TableRequest(images, method, count, held_out, verify).table_for(net, progress)
    made = quantized_model(net, precision="int8", table=found, placement=placement)
    require_near_fp32(made.model.named(out), net, probe_pictures(*found.preprocess.size)[:1])
    made = replace(made.save(out), table_path=table_path)
    try:
        if not is_there:
            found.save(table_path)
    except BadInput:  # both or none
        out.unlink()
        raise
    return made
