"""One command from a checkpoint or ONNX file to an engine directory with its manifest.

An engine directory holds `manifest.json`, `spec.json`, and what runs: `model.onnx`, or the raw
`model.plan` beside the ONNX file that it was compiled from; with --calib also the calibration `table.json`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from fcn_edge.accuracy import Accuracy, measured_accuracy, readable_images
from fcn_edge.atomic_io import sha256_of_file, whole_folder, write_json
from fcn_edge.calibration.budget import Budget, int8_within_budget
from fcn_edge.calibration.images import images_from_source, shared_images
from fcn_edge.calibration.methods import Method
from fcn_edge.calibration.placement import PlacementName, placement_for
from fcn_edge.calibration.quantized import Calibrated, is_table_name, load_or_make_table, quantized_file
from fcn_edge.choices import BuildPrecision as BuildPrecision
from fcn_edge.compilation import PLAN, Compiled, compiled, execution_of, onnx_name
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.device import this_device
from fcn_edge.engines import (
    PACKAGES,
    EngineOptions,
    Target,
    model_path,
    require_engine_directory,
    require_package,
)
from fcn_edge.engines.manifest import sealed
from fcn_edge.engines.reference_check import held_to_reference, require_quantized
from fcn_edge.engines.trt.plan_options import PlanOptions
from fcn_edge.errors import BadInput, shown_as
from fcn_edge.evaluation import require_fit_labels
from fcn_edge.exporting import contract_file
from fcn_edge.onnxfile import Quantization
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import NOT_FOR_NVIDIA, require_signed_pairs
from fcn_edge.outputs import require_apart, require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Precision

ON_TARGET: dict[Target, tuple[BuildPrecision, ...]] = {
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8", "int8-fp16"),
    "tensorrt": ("fp32", "fp16", "int8", "int8-fp16"),
}
REAL_PICTURES = 2  # of the user's own, that a rewritten network is compared on
SCENES, HELD_IMAGES = "synthetic:street,seed=1,images=4", 8  # what an engine is held against its reference with


@dataclass(frozen=True)
class BuildOptions:
    """How to build. max_miou_drop: in points, needs `data`. plan: for the TensorRT targets.

    calib and calib_images are for INT8, and for FP16 to look up ranges; method and placement for INT8: None
    takes defaults, of placements the target's fastest. allow_overlap: calibration images may be in `data` too.
    """

    target: Target
    precision: BuildPrecision
    calib: str | None = None
    calib_images: int | None = None
    method: Method | None = None
    placement: PlacementName | None = None
    max_miou_drop: float | None = None
    plan: PlanOptions = PlanOptions()  # noqa: RUF009 - frozen
    threads: int | None = None
    allow_overlap: bool = False


@dataclass(frozen=True)
class Built:
    """An engine directory and its manifest."""

    path: Path
    manifest: dict[str, Any]
    seconds: float


def build_engine(
    model: str | Path | None,
    out: Path,
    *,
    options: BuildOptions,
    data: Dataset | None = None,
    spec: Path | None = None,
    recipe: Recipe | None = None,
    progress: Progress = SILENT,
) -> Built:
    """Export and calibrate where needed, compile, evaluate on `data`, write the engine directory.

    Raises:
        BadInput: INT8 without images, a file or an option that does not fit, a folder that is not ours to replace.
        BackendMissing: the target cannot be built here.
        CheckFailed: mIoU fell by more than `max_miou_drop`; nothing is written.
    """
    started = time.monotonic()
    _check(options, data, out)
    _check_outputs(options, out, [model_path(model), options.calib, spec])
    if data is not None:
        require_fit_labels(data)
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch, _engine_folder(out) as part:
        progress.note("reading the network")
        given, notes = model_path(model), list[str]()
        given_file = contract_file(
            given,
            Path(scratch) / given.with_suffix(".onnx").name,
            spec=spec,
            recipe=recipe,
            images=_some_pictures(options, data) if spec else (),
            warn=notes.append,
        )
        fp32 = OnnxModel.from_file(given_file)
        for note in notes:
            progress.note(f"warning: {note}")
        budget = _budget(options, data, out)
        file = _in_precision(fp32, part, options, data, budget, progress)
        saved = file.model
        progress.note(f"compiling for {options.target}")
        with shown_as({file.path: given}):
            made = compiled(
                saved,
                part,
                target=options.target,
                options=_engine_options(options),
                plan=options.plan,
                fp32=fp32,
                on_progress=lambda what, share: progress.update("compiling", round(100 * share), 100),
            )
        held = _held_to_reference(fp32, saved, options, data, progress)
        accuracy = Accuracy(None, None)
        if data is not None:
            accuracy = measured_accuracy(
                fp32,
                saved,
                data,
                target=_runs_on(options),
                options=_engine_options(options),
                precision=options.precision,
                budget=options.max_miou_drop,
                progress=progress,
            )
        manifest = _manifest(fp32, file, part, options, made, accuracy, held)
        manifest["warnings"] += notes + _warnings(file, data)
        write_json(part / "spec.json", to_mapping(saved.spec))
        if file.table is not None:
            file.table.save(part / "table.json")
        manifest = sealed(manifest)
        write_json(part / "manifest.json", manifest)
    return Built(out, manifest, time.monotonic() - started)


def _some_pictures(options: BuildOptions, data: Dataset | None) -> list[np.ndarray]:
    """Two pictures of the user's own, which a network made elsewhere is compared on; none where none decodes."""
    if data is not None:
        return readable_images(data, REAL_PICTURES)
    if options.calib is None or is_table_name(options.calib):
        return []
    found = []
    for image in images_from_source(options.calib, REAL_PICTURES).images:
        with suppress(BadInput):  # named later, where calibrating skips it
            found.append(image.read())
    return found


def _check(options: BuildOptions, data: Dataset | None, out: Path) -> None:
    if options.target not in ON_TARGET:
        raise BadInput(f"{options.target} is a reference, not a target to build for; use open_engine on the checkpoint")
    if options.precision not in ON_TARGET[options.target]:
        raise BadInput(f"{options.target} has no {options.precision}; it has {', '.join(ON_TARGET[options.target])}")
    _check_idle_options(options)
    if options.target.startswith("tensorrt"):
        from fcn_edge.engines.trt import require_target

        require_target(options.target)  # type: ignore[arg-type]
    require_package(options.target)
    if options.max_miou_drop is not None and data is None:
        raise BadInput("--max-miou-drop is measured on labelled images: give --data KIND:PATH#SPLIT")


def _check_outputs(options: BuildOptions, out: Path, inputs: Sequence[Path | str | None]) -> None:
    """Raises BadInput where `out` or what stands beside it is not ours to replace, or is read."""
    if out.exists():
        require_engine_directory(out)
    require_apart([out], inputs, whole=True)
    require_outputs([_budget_file(out)] if options.max_miou_drop is not None else [], inputs)
    require_apart([options.plan.timing_cache] if options.plan.timing_cache else [], inputs)


def _check_idle_options(options: BuildOptions) -> None:
    """Raises BadInput for what was asked for and would be passed over in silence."""
    looking = {"--calib": options.calib, "--images": options.calib_images}
    quantizing = {"--method": options.method, "--placement": options.placement}
    if options.precision.startswith("int8"):
        idle = []
    else:
        unused = quantizing if options.precision == "fp16" else looking | quantizing
        idle = [name for name, value in unused.items() if value is not None]
    if idle:
        raise BadInput(f"{' and '.join(idle)}: only for INT8; add --precision int8, or leave it out")
    if options.calib_images is not None and options.calib is None:
        raise BadInput("--images: counts those of --calib; give --calib, or leave it out")
    if options.placement == "x86" and options.target.startswith("tensorrt"):
        raise BadInput(f"placement x86 {NOT_FOR_NVIDIA}; take any or nvidia for {options.target}")
    if options.target in ("tensorrt", "tensorrt-rtx"):
        options.plan.require_target(options.target)
    elif options.plan.sm:
        raise BadInput(f"--sm is for tensorrt-rtx; {options.target} compiles for the machine that it runs on")
    elif options.plan != PlanOptions():
        raise BadInput(f"builder options are for the TensorRT targets; {options.target} has none, leave them out")


@contextmanager
def _engine_folder(out: Path) -> Iterator[Path]:
    """The folder under its working name; what cannot be written there is told under its later one."""
    with whole_folder(out, require_ours=require_engine_directory) as part:
        try:
            yield part
        except BadInput as error:
            raise BadInput(str(error).replace(str(part), str(out))) from error


def _runs_on(options: BuildOptions) -> Target:
    """Where accuracy is measured: the target, or where that is not run here the reference run of the same file."""
    return "reference" if options.target.startswith("tensorrt") else options.target


def _budget(options: BuildOptions, data: Dataset | None, out: Path) -> Budget | None:
    if options.max_miou_drop is None or data is None or not options.precision.startswith("int8"):
        return None
    return Budget(options.max_miou_drop, data, _runs_on(options), _engine_options(options), _budget_file(out))


def _budget_file(out: Path) -> Path:
    """Where what a search within a budget has measured is kept."""
    return out.with_name(f"{out.name}.budget.json")


def _in_precision(
    fp32: OnnxModel,
    part: Path,
    options: BuildOptions,
    data: Dataset | None,
    budget: Budget | None,
    progress: Progress,
) -> Calibrated:
    file, contract = part / onnx_name(options.target, options.precision), fp32.contract
    held = contract.quantization.precision
    if held != "fp32":
        _require_as_it_is(fp32, contract.quantization, options)
    if held != "fp32" or options.precision in ("fp32", "bf16"):
        return Calibrated(fp32.save(file), contract.quantization, None)
    table = None
    if options.calib is not None:
        progress.note("calibrating")
        table = load_or_make_table(
            fp32,
            options.calib,
            method=options.method,
            count=options.calib_images,
            held_out=None if options.allow_overlap else data,
            progress=progress,
        )
    wanted = cast(Precision, options.precision)
    placement = options.placement or placement_for(options.target, this_device())
    if budget is None or table is None:
        return quantized_file(fp32, file, precision=wanted, table=table, placement=placement)
    progress.note(f"looking for INT8 within {budget.points:g} points of mIoU on {budget.data.name}")
    made, found = int8_within_budget(
        fp32, budget, precision=wanted, table=table, placement=placement, progress=progress
    )
    made = made.save(file)
    for name in found.kept:
        progress.note(f"kept in float: {name}, which gives back {found.gains[name]:+.2f} points")
    return made


def _require_as_it_is(model: OnnxModel, quantization: Quantization, options: BuildOptions) -> None:
    """Raises BadInput where a file that is quantized or halved already would have to be made anew."""
    held, file = quantization.precision, model.path
    if held != options.precision:
        raise BadInput(f"{file}: is {held} already; {options.precision} is made from the fp32 file")
    if options.target.startswith("tensorrt"):
        require_signed_pairs(model.graph, str(file))
    if options.calib is not None:
        raise BadInput(f"{file}: is {held} already, with scales of its own; leave --calib out, or give the fp32 file")
    if options.max_miou_drop is not None:
        raise BadInput(f"{file}: is {held} already, and a drop is measured against fp32; give the fp32 file")


def _held_to_reference(
    fp32: OnnxModel, file: OnnxModel, options: BuildOptions, data: Dataset | None, progress: Progress
) -> dict[str, Any]:
    """The manifest's account of engine against reference; empty where the engine does not run here."""
    if options.target.startswith("tensorrt") or find_spec(PACKAGES["reference"][0]) is None:
        return {}
    progress.note("holding the engine against the reference run")
    height, width = file.spec.preprocess.size
    scenes = data or dataset_from_name(f"{SCENES},size={height}x{width}")
    images = readable_images(scenes, HELD_IMAGES)
    held = fp32.precision
    exact = fp32 if held == "fp32" and options.precision not in ("fp32", "bf16") else None
    found = held_to_reference(file, exact, images, target=options.target, options=_engine_options(options))
    if exact is not None and found.from_fp32 is not None and options.max_miou_drop is None:  # else the budget judges
        require_quantized(found.from_fp32, file, exact, images[0])
    return {**to_mapping(found), "data": scenes.name}


def _engine_options(options: BuildOptions) -> EngineOptions:
    """Of the engine that runs here."""
    return EngineOptions("bf16" if options.precision == "bf16" else "f32", options.threads)


def _manifest(
    fp32: OnnxModel,
    file: Calibrated,
    part: Path,
    options: BuildOptions,
    compiled: Compiled,
    accuracy: Accuracy,
    held: dict[str, Any],
) -> dict[str, Any]:
    spec = file.model.spec
    plan = part / (PLAN if options.target.startswith("tensorrt") else "model.onnx")
    return {
        "schema": 1,
        "name": spec.name,
        "model_sha256": fp32.sha256,
        "table_sha256": file.quantization.table_sha256 or None,
        "spec_sha256": spec.sha256,
        "target": options.target,
        "precision": "fp32" if options.precision == "bf16" else options.precision,
        "execution": execution_of(options.precision),
        "runtime": compiled.runtime,
        "device": compiled.device,
        "shapes": {"input": [1, *spec.preprocess.size, 3]},
        "flags": compiled.flags,
        "story": compiled.story,
        "layers": to_mapping(compiled.layers),
        "kept_fp32": dict(file.left_fp32),
        "range_images": file.quantization.range_images,
        "calibration": list(file.coverage.verdict) if file.coverage else [],
        "kept_float": [*file.quantization.kept_float, *compiled.kept_float],
        "placement": file.quantization.placement or None,
        "refined": list(file.quantization.refined),
        "warnings": [*compiled.warnings, *accuracy.warnings],
        "miou": accuracy.miou,
        "miou_reference": accuracy.reference,
        "drop": accuracy.drop,
        "interval": accuracy.interval,
        "miou_note": _miou_note(options, accuracy),
        "reference": held or None,
        "plan_sha256": sha256_of_file(plan),
        "plan_bytes": plan.stat().st_size,
        "onnx_sha256": file.model.sha256,
        "trtexec": compiled.trtexec,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _warnings(file: Calibrated, data: Dataset | None) -> list[str]:
    said = []
    if file.quantization.precision.endswith("fp16") and not file.quantization.range_images:
        said.append("half precision's range was not checked: give --calib real images")
    shared = shared_images(file.table.hashes, data) if file.table and data else []
    if shared:
        said.append(f"{len(shared)} calibration images are also in {data.name}: its mIoU flatters")  # type: ignore[union-attr]
    return said


def _miou_note(options: BuildOptions, accuracy: Accuracy) -> str | None:
    if accuracy.miou is None:
        return "not measured: no --data was given"
    reference = "of the reference run of the same file: this engine was compiled ahead of time and was not run"
    return reference if options.target.startswith("tensorrt") else None
