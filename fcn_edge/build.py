"""From a checkpoint or ONNX file to an engine directory with its manifest, in one step.

An engine directory holds `manifest.json`, `spec.json`, and what runs: `model.onnx`, or the raw `model.plan` beside the
ONNX file that it was compiled from; of a calibrated network also its `table.json`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from fcn_edge.accuracy import Accuracy, measured_accuracy, readable_images
from fcn_edge.atomic_io import whole_folder, write_json
from fcn_edge.building.manifest import built_manifest
from fcn_edge.building.request import BuildRequest, chosen_target, default_precision
from fcn_edge.calibration import Calibrated, ImagesLike, TableRequest, images_from_source, quantized_model
from fcn_edge.calibration.budget import int8_within_budget
from fcn_edge.calibration.methods import Method
from fcn_edge.calibration.placement import PlacementName, placement_for
from fcn_edge.calibration.request import is_table_name
from fcn_edge.choices import BuildPrecision, BuildTarget
from fcn_edge.compilation import compiled_engine, onnx_name
from fcn_edge.data import DataLike, Dataset, dataset_from_name, labelled_for, open_dataset
from fcn_edge.device import this_device
from fcn_edge.engines import PACKAGES, model_path, require_engine_directory
from fcn_edge.engines.agreement import ReferenceCheck
from fcn_edge.engines.manifest import Manifest
from fcn_edge.engines.reference_check import compare_with_reference, require_quantized
from fcn_edge.engines.trt.plan_options import PlanOptions
from fcn_edge.errors import BadInput
from fcn_edge.evaluation import require_fit_labels
from fcn_edge.exporting import onnx_model
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Precision

__all__ = ["BuildPrecision", "BuildTarget", "Manifest", "PlanOptions", "build_engine"]

REAL_PICTURES = 2  # of the user's own, that a rewritten network is compared on
SCENES, REFERENCE_IMAGES = "synthetic:street,seed=1,images=4", 8  # what engine and reference run are compared on
Labelled: TypeAlias = "Dataset | Sequence[tuple[np.ndarray, np.ndarray]] | None"


def build_engine(
    model: str | Path | OnnxModel | None = None,
    out: str | Path = "engine",
    *,
    target: BuildTarget = "auto",
    precision: BuildPrecision | None = None,
    calib: ImagesLike | None = None,
    calib_images: int | None = None,
    method: Method | None = None,
    placement: PlacementName | None = None,
    data: DataLike | None = None,
    max_miou_drop: float | None = None,
    plan: PlanOptions = PlanOptions(),  # noqa: B008 - frozen
    threads: int | None = None,
    allow_overlap: bool = False,
    spec: str | Path | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> Manifest:
    """Export and calibrate where needed, compile, evaluate on `data`, and write an engine directory.

    The engine is compared with the reference run of its own file before the directory appears.

    Args:
        model: a checkpoint, an ONNX file, a packaged name, or None for the packaged network.
        out: engine directory to write; an older one is replaced.
        target: what it runs on; "auto" is the first that can build and run here.
        precision: by default fp16 on a GPU and fp32 on a CPU.
        calib: calibration images for INT8, and for fp16 to look up ranges: folder, glob, video, data set or TOML by
            name or path; (H, W, 3) uint8 BGR arrays; or a table.
        calib_images: how many of them, evenly spread; by default 100, or all arrays.
        method, placement: of INT8, see `calibrate`; by default the placement that is fastest on the target.
        data: labelled images on which mIoU is measured.
        max_miou_drop: points of mIoU (0..100) that may be lost on `data`: INT8 then keeps as few layers in float as
            that asks for. What was measured is kept in OUT.budget.json.
        plan: builder options of the TensorRT targets.
        threads: of the engine's compute.
        allow_overlap: calibration images may be among those of `data`.
        spec: TOML file that describes an ONNX file of another tool.
        recipe: network of a plain state dict.
        progress: takes steps, counts and warnings.

    Returns:
        The manifest of the directory, with its `path` and the `seconds` that the build took.

    Raises:
        BadInput: INT8 without images, a file or an argument that does not fit, a folder that may not be replaced.
        BackendMissing: the target cannot be built here.
        CheckFailed: mIoU fell by more than `max_miou_drop`, or the engine computes something else than its file;
            nothing is written.

    Example:
        manifest = build_engine("net.safetensors", "engine", precision="int8", calib="drive.mp4")
        print(manifest.execution, manifest.kept_float)
    """
    started, chosen = time.monotonic(), chosen_target(target)
    request = BuildRequest(
        Path(out),
        chosen,
        precision or default_precision(chosen),
        calib if calib is None or isinstance(calib, (str, Path, Dataset)) else list(calib),
        calib_images,
        method,
        placement,
        max_miou_drop,
        plan,
        threads,
        allow_overlap,
    )
    request.require_possible(has_data=data is not None)
    source = model.path if isinstance(model, OnnxModel) else model_path(model)
    request.require_outputs([path for path in (source, calib, spec) if isinstance(path, (str, Path))])
    pairs = _opened(data)
    with _engine_folder(request.out) as part:
        progress.note("reading the network")
        images = [] if spec is None else _some_pictures(request.calib, pairs)
        fp32 = onnx_model(model, spec=spec, recipe=recipe, images=images, progress=progress)
        labelled = None if pairs is None else labelled_for(fp32.spec, pairs)
        network = _in_precision(fp32, request, labelled, progress)
        saved = network.model.save(part / onnx_name(request.target, request.precision))
        network = replace(network, model=saved.named(fp32.path))
        progress.note(f"compiling for {request.target}")
        engine = compiled_engine(
            network.model,
            part,
            target=request.target,
            options=request.engine_options,
            plan=request.plan,
            fp32=fp32,
            progress=progress,
        )
        check = _compared_with_reference(fp32, network.model, request, labelled, progress)
        accuracy = _measured(fp32, network.model, request, labelled, progress)
        manifest = built_manifest(request, fp32, network, engine, check, accuracy, labelled)
        write_json(part / "spec.json", to_mapping(network.model.spec))
        if network.table is not None:
            network.table.save(part / "table.json")
        manifest = manifest.save(part)
    return replace(manifest, path=request.out, seconds=time.monotonic() - started)


def _opened(data: DataLike | None) -> Labelled:
    """A data set, its labels read once so that none ends hours of measuring; pairs in memory as a list."""
    if data is None:
        return None
    if not isinstance(data, (str, Path, Dataset)):
        return list(data)
    labelled = open_dataset(data)
    require_fit_labels(labelled)
    return labelled


def _some_pictures(calib: ImagesLike | None, data: Labelled) -> list[np.ndarray]:
    """Two pictures of the user's own, which a network made elsewhere is compared on; none where none decodes."""
    if isinstance(data, Dataset):
        return readable_images(data, REAL_PICTURES)
    if data is not None:
        return [image for image, _ in data[:REAL_PICTURES]]
    if calib is None or is_table_name(calib):
        return []
    pictures = []
    for image in images_from_source(calib, REAL_PICTURES).images:
        with suppress(BadInput):  # named later, where calibrating skips it
            pictures.append(image.read())
    return pictures


@contextmanager
def _engine_folder(out: Path) -> Iterator[Path]:
    """The folder under its working name; what cannot be written there is named by its later one."""
    with whole_folder(out, require_ours=require_engine_directory) as part:
        try:
            yield part
        except BadInput as error:
            raise BadInput(str(error).replace(str(part), str(out))) from error


def _in_precision(fp32: OnnxModel, request: BuildRequest, data: Dataset | None, progress: Progress) -> Calibrated:
    """The network in the precision that was asked for, in memory."""
    if fp32.precision != "fp32":
        request.require_as_it_is(fp32)
    if fp32.precision != "fp32" or request.precision in ("fp32", "bf16"):
        return Calibrated(fp32, fp32.contract.quantization, None)
    table = None
    if request.calib is not None:
        progress.note("calibrating")
        held_out = None if request.allow_overlap else data
        asked = TableRequest(request.calib, request.method, request.calib_images, held_out)
        table = asked.table_for(fp32, progress)
    wanted = cast(Precision, request.precision)
    placement = request.placement or placement_for(request.target, this_device())
    budget = request.budget(data)
    if budget is None or table is None:
        return quantized_model(fp32, precision=wanted, table=table, placement=placement)
    progress.note(f"looking for INT8 within {budget.points:g} points of mIoU on {budget.data.name}")
    network, found = int8_within_budget(
        fp32, budget, precision=wanted, table=table, placement=placement, progress=progress
    )
    for name in found.kept:
        progress.note(f"kept in float: {name}, which gives back {found.gains[name]:+.2f} points")
    return network


def _compared_with_reference(
    fp32: OnnxModel, model: OnnxModel, request: BuildRequest, data: Dataset | None, progress: Progress
) -> ReferenceCheck | None:
    """How near the engine is to the reference run of its file; None where it does not run here."""
    if request.is_nvidia or find_spec(PACKAGES["reference"][0]) is None:
        return None
    progress.note("comparing the engine with the reference run")
    height, width = model.spec.preprocess.size
    scenes = data or dataset_from_name(f"{SCENES},size={height}x{width}")
    images = readable_images(scenes, REFERENCE_IMAGES)
    exact = fp32 if fp32.precision == "fp32" and request.precision not in ("fp32", "bf16") else None
    check = compare_with_reference(model, exact, images, target=request.target, options=request.engine_options)
    if exact is not None and check.from_fp32 is not None and request.max_miou_drop is None:  # else the budget judges
        require_quantized(check.from_fp32, model, exact, images[0])
    return replace(check, data=scenes.name)


def _measured(
    fp32: OnnxModel, model: OnnxModel, request: BuildRequest, data: Dataset | None, progress: Progress
) -> Accuracy:
    """mIoU of the engine and of fp32 on `data`. Raises CheckFailed where more is lost than may be."""
    if data is None:
        return Accuracy(None, None)
    return measured_accuracy(
        fp32,
        model,
        data,
        target=request.measured_on,
        options=request.engine_options,
        precision=request.precision,
        budget=request.max_miou_drop,
        progress=progress,
    )
