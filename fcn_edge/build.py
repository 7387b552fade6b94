"""One command from a checkpoint or ONNX file to an engine directory with its manifest.

An engine directory holds `manifest.json`, `spec.json`, and what runs: `model.onnx`, or the raw
`model.plan` beside the ONNX file that it was compiled from; for INT8 also the calibration `table.json`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, cast

from fcn_edge.calib.files import Calibrated, load_or_make_table, quantized_file
from fcn_edge.calib.placement import PlacementName, placement_for
from fcn_edge.calib.table import Method
from fcn_edge.data import Dataset
from fcn_edge.device import this_device
from fcn_edge.engines import EngineOptions, Target, engine_on_target, model_path, require_package
from fcn_edge.engines.base import Execution, Layer
from fcn_edge.errors import BackendMissing, BadInput, CheckFailed
from fcn_edge.evaluate import evaluate_engine
from fcn_edge.export import contract_file
from fcn_edge.files import read_json, sha256_of_file, whole_folder, write_json
from fcn_edge.onnxfile import Quantization, contract_from_onnx
from fcn_edge.schema import to_mapping
from fcn_edge.shelf import Recipe
from fcn_edge.spec import Precision

BuildPrecision = Literal["fp32", "bf16", "fp16", "int8", "int8-fp16"]
ON_TARGET: dict[Target, tuple[BuildPrecision, ...]] = {
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8", "int8-fp16"),
    "tensorrt": ("fp32", "fp16", "int8", "int8-fp16"),
}
# Its importer warns and goes on in int8, with scales made for 0..255: all that is large would be cut off.
NOT_FOR_NVIDIA = "has uint8 activations, which TensorRT reads as int8"
WRITTEN_HERE = ("manifest.json", "spec.json", "table.json", "model.*")  # all that stands in an engine directory


@dataclass(frozen=True)
class BuildOptions:
    """How to build. max_miou_drop: in points, needs `data`. sm: compute capabilities for TensorRT-RTX.

    calib, calib_images, method and placement are for INT8; None takes their defaults, and of
    placements the one that is fastest on the target.
    """

    target: Target
    precision: BuildPrecision
    calib: str | None = None
    calib_images: int | None = None
    method: Method | None = None
    placement: PlacementName | None = None
    max_miou_drop: float | None = None
    sm: tuple[int, ...] = ()
    threads: int | None = None


@dataclass(frozen=True)
class Built:
    """An engine directory and its manifest."""

    path: Path
    manifest: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class _Compiled:
    """What a compiler made: the file to keep, its own account, and how to build the same by hand."""

    runtime: str
    layers: tuple[Layer, ...]
    flags: dict[str, Any]
    trtexec: Any = None
    warnings: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()


Report = Callable[[str], None]


def build_engine(
    model: str | Path | None,
    out: Path,
    *,
    options: BuildOptions,
    data: Dataset | None = None,
    spec: Path | None = None,
    recipe: Recipe | None = None,
    on_stage: Report = lambda text: None,
    on_image: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Built:
    """Export and calibrate where needed, compile, evaluate on `data`, write the engine directory.

    Raises:
        BadInput: INT8 without images, a file or an option that does not fit, a folder that is not ours to replace.
        BackendMissing: the target cannot be built here.
        CheckFailed: mIoU fell by more than `max_miou_drop`; nothing is written.
    """
    started = time.monotonic()
    _check(options, data, out)
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch, _engine_folder(out) as part:
        on_stage("reading the network")
        fp32 = contract_file(model_path(model), Path(scratch) / "model.fp32.onnx", spec=spec, recipe=recipe)
        file = _in_precision(fp32, part, options, on_stage, on_image)
        on_stage(f"compiling for {options.target}")
        compiled = _compiled(file.path, part, options)
        accuracy = _accuracy(fp32, file.path, options, data, on_stage, on_image)
        manifest = _manifest(fp32, file, part, options, compiled, accuracy)
        write_json(part / "spec.json", to_mapping(contract_from_onnx(file.path).spec))
        if file.table is not None:
            write_json(part / "table.json", to_mapping(file.table))
        write_json(part / "manifest.json", manifest)
    return Built(out, manifest, time.monotonic() - started)


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
    if options.max_miou_drop is not None and options.target.startswith("tensorrt"):
        raise BackendMissing(f"{options.target} engines do not run here, so their mIoU drop cannot be held to a budget")
    if out.exists():
        _require_engine_directory(out)


def _check_idle_options(options: BuildOptions) -> None:
    """Raises BadInput for what was asked for and would be passed over in silence."""
    quantizing = {"--calib": options.calib, "--images": options.calib_images, "--method": options.method,
                  "--placement": options.placement}  # fmt: skip
    idle = [name for name, value in quantizing.items() if value is not None]
    if idle and not options.precision.startswith("int8"):
        raise BadInput(f"{' and '.join(idle)}: only for INT8; add --precision int8, or leave it out")
    if options.placement == "x86" and options.target.startswith("tensorrt"):
        raise BadInput(f"placement x86 {NOT_FOR_NVIDIA}; take any or nvidia for {options.target}")
    if options.sm and options.target != "tensorrt-rtx":
        raise BadInput(f"--sm is for tensorrt-rtx; {options.target} compiles for the machine that it runs on")


def _require_engine_directory(out: Path) -> None:
    """Raises BadInput unless `out` holds an engine directory and nothing else, so that it may be replaced."""
    manifest = out / "manifest.json"
    if not manifest.is_file() or "plan_sha256" not in read_json(manifest):
        raise BadInput(f"{out}: exists and is no engine directory; choose another name")
    others = [path.name for path in sorted(out.iterdir()) if not any(path.match(name) for name in WRITTEN_HERE)]
    if others:
        raise BadInput(f"{out}: an engine directory that also holds {others[0]}; move it away, or choose another name")


@contextmanager
def _engine_folder(out: Path) -> Iterator[Path]:
    """The folder under its working name; what cannot be written there is told under its later one."""
    with whole_folder(out) as part:
        try:
            yield part
        except BadInput as error:
            raise BadInput(str(error).replace(str(part), str(out))) from error


def _in_precision(
    fp32: Path, part: Path, options: BuildOptions, on_stage: Report, on_image: Callable[[str, int, int], None]
) -> Calibrated:
    file, contract = part / _onnx_name(options), contract_from_onnx(fp32)
    held = contract.quantization.precision
    if held != "fp32":
        _require_as_it_is(fp32, contract.quantization, options)
    if held != "fp32" or options.precision in ("fp32", "bf16"):
        file.write_bytes(fp32.read_bytes())
        return Calibrated(file, contract.quantization, None)
    table = None
    if options.calib is not None:
        on_stage("calibrating")
        table = load_or_make_table(
            fp32, options.calib, method=options.method, count=options.calib_images,
            on_image=lambda done, total: on_image("calibrating", done, total),
        )  # fmt: skip
        for name in table.skipped:
            on_stage(f"skipped, does not decode: {name}")
    wanted = cast(Precision, options.precision)
    placement = options.placement or placement_for(options.target, this_device().instruction_sets)
    return quantized_file(fp32, file, precision=wanted, table=table, placement=placement)


def _require_as_it_is(file: Path, quantization: Quantization, options: BuildOptions) -> None:
    """Raises BadInput where a file that is quantized or halved already would have to be made anew."""
    held = quantization.precision
    if held != options.precision:
        raise BadInput(f"{file}: is {held} already; {options.precision} is made from the fp32 file")
    if quantization.placement == "x86" and options.target.startswith("tensorrt"):
        raise BadInput(f"{file}: placement x86 {NOT_FOR_NVIDIA}; build from the fp32 file")
    if options.calib is not None:
        raise BadInput(f"{file}: is {held} already, with scales of its own; leave --calib out, or give the fp32 file")
    if options.max_miou_drop is not None:
        raise BadInput(f"{file}: is {held} already, and a drop is measured against fp32; give the fp32 file")


def _onnx_name(options: BuildOptions) -> str:
    """CPU engines run the ONNX file itself; beside a plan it lies for the trtexec line, named by its precision."""
    return f"model.{options.precision}.onnx" if options.target.startswith("tensorrt") else "model.onnx"


def _compiled(file: Path, part: Path, options: BuildOptions) -> _Compiled:
    if options.target.startswith("tensorrt"):
        return _compiled_plan(file, part, options)
    with engine_on_target(file, options.target, _engine_options(options)) as engine:
        return _Compiled(engine.runtime, engine.layers(), {"execution": engine.execution})


def _compiled_plan(file: Path, part: Path, options: BuildOptions) -> _Compiled:
    from fcn_edge.engines import trt

    nvidia, target = trt.BuildOptions(sm=options.sm), cast(trt.NvidiaTarget, options.target)
    plan = trt.plan_from_onnx(file, target=target, options=nvidia)
    (part / "model.plan").write_bytes(plan.data)
    precision = cast(Precision, options.precision)
    lines = trt.trtexec_lines(file.name, "model.plan", target=target, precision=precision, options=nvidia)
    return _Compiled(
        plan.runtime, plan.layers, {**plan.flags, "story": plan.story}, lines, plan.warnings, plan.kept_float
    )


def _engine_options(options: BuildOptions) -> EngineOptions:
    return EngineOptions("bf16" if options.precision == "bf16" else "f32", options.threads)


@dataclass(frozen=True)
class _Accuracy:
    miou: float | None
    reference: float | None

    @property
    def drop(self) -> float | None:
        """Points of mIoU lost against fp32 on the same target; None where not measured."""
        return None if self.miou is None or self.reference is None else 100 * (self.reference - self.miou)


def _accuracy(
    fp32: Path,
    file: Path,
    options: BuildOptions,
    data: Dataset | None,
    on_stage: Report,
    on_image: Callable[[str, int, int], None],
) -> _Accuracy:
    if data is None or options.target.startswith("tensorrt"):
        return _Accuracy(None, None)

    def miou(path: Path, label: str, chosen: EngineOptions) -> float | None:
        on_stage(f"evaluating {label} on {data.name}")
        with engine_on_target(path, options.target, chosen) as engine:
            found = evaluate_engine(engine, data, on_image=lambda done, total: on_image(label, done, total))
        for text in found.skipped:
            on_stage(f"skipped: {text}")
        return found.scores.miou

    reached = miou(file, options.precision, _engine_options(options))
    if contract_from_onnx(fp32).quantization.precision != "fp32":
        return _Accuracy(reached, None)
    if options.precision == "fp32":
        return _Accuracy(reached, reached)
    accuracy = _Accuracy(reached, miou(fp32, "fp32", EngineOptions("f32", options.threads)))
    budget = options.max_miou_drop
    if budget is not None and (accuracy.drop is None or accuracy.drop > budget):
        lost = "an unknown amount" if accuracy.drop is None else f"{accuracy.drop:.2f} points"
        raise CheckFailed(
            f"{options.precision} loses {lost} of mIoU on {data.name}; the budget is {budget:g}. No engine was written"
        )
    return accuracy


def _manifest(
    fp32: Path, file: Calibrated, part: Path, options: BuildOptions, compiled: _Compiled, accuracy: _Accuracy
) -> dict[str, Any]:
    spec = contract_from_onnx(file.path).spec
    plan = part / ("model.plan" if options.target.startswith("tensorrt") else "model.onnx")
    return {
        "schema": 1,
        "name": spec.name,
        "model_sha256": sha256_of_file(fp32),
        "table_sha256": file.quantization.table_sha256 or None,
        "spec_sha256": spec.sha256,
        "target": options.target,
        "precision": "fp32" if options.precision == "bf16" else options.precision,
        "execution": _execution(options),
        "runtime": compiled.runtime,
        "device": _device(options),
        "shapes": {"input": [1, *spec.preprocess.size, 3]},
        "flags": compiled.flags,
        "layers": to_mapping(compiled.layers),
        "kept_float": [*file.quantization.kept_float, *compiled.kept_float],
        "placement": file.quantization.placement or None,
        "warnings": list(compiled.warnings),
        "miou": accuracy.miou,
        "miou_reference": accuracy.reference,
        "drop": accuracy.drop,
        "interval": None,
        "miou_note": _miou_note(options, accuracy),
        "plan_sha256": sha256_of_file(plan),
        "trtexec": compiled.trtexec,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _device(options: BuildOptions) -> dict[str, Any]:
    """What the engine was compiled for: compute capabilities, or this CPU's instruction sets."""
    if options.target == "tensorrt-rtx":
        return {"name": "NVIDIA RTX", "sm": list(options.sm) or "portable: Ampere and newer"}
    device = this_device()
    return {"name": device.name, "cpu": device.cpu, "instruction_sets": list(device.instruction_sets)}


def _execution(options: BuildOptions) -> Execution:
    if options.precision == "bf16":
        return "bf16"
    return "f16" if options.precision.endswith("fp16") else "f32"


def _miou_note(options: BuildOptions, accuracy: _Accuracy) -> str | None:
    if options.target.startswith("tensorrt"):
        return "not measured: this engine was compiled ahead of time and does not run on this machine"
    return None if accuracy.miou is not None else "not measured: no --data was given"
