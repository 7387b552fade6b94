"""A network compiled into an engine directory, and the compiler's own account of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcn_edge.device import this_device
from fcn_edge.engines import EngineOptions, Target, engine_on_target
from fcn_edge.engines.base import Execution, Layer
from fcn_edge.engines.manifest import PLAN, BuildDevice, LayerReport
from fcn_edge.engines.trt import NvidiaTarget, PlanOptions, plan_from_onnx, trtexec_lines
from fcn_edge.engines.trt.cuda import Gpu
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import Progress

SMALL_PLAN = 1 << 20  # below a megabyte a plan is mostly kernels, not weights
PORTABLE = "portable: Ampere and newer"


@dataclass(frozen=True)
class Compiled:
    """What a compiler made: its own account, and how to build the same by hand. file: what runs."""

    file: Path
    runtime: str
    layers: tuple[Layer, ...]
    flags: Mapping[str, Any]
    device: BuildDevice
    layer_report: LayerReport | None = None
    trtexec: Mapping[str, str] | None = None
    warnings: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()


def onnx_name(target: str, precision: str) -> str:
    """CPU engines run the ONNX file itself; beside a plan it lies for the trtexec line, named by its precision."""
    return f"model.{precision}.onnx" if target.startswith("tensorrt") else "model.onnx"


def compiled_engine(
    model: OnnxModel,
    folder: Path,
    *,
    target: Target,
    options: EngineOptions,
    plan: PlanOptions,
    fp32: OnnxModel,
    progress: Progress,
) -> Compiled:
    """Compile `model`, which lies in `folder`, there. Engines of CPUs are opened once, with `options`, and asked.

    fp32: what the model was made of. TensorRT-RTX, which compiles in seconds, makes a plan of that too, to compare.
    """
    file = model.file
    assert file is not None, "the model lies in the folder"
    if target in ("tensorrt", "tensorrt-rtx"):
        return _compiled_plan(model, file, folder / PLAN, target, plan, fp32, progress)
    device = this_device()
    built_on = BuildDevice(device.name, device.cpu, tuple(device.instruction_sets))
    with engine_on_target(model, target, options) as engine:
        return Compiled(file, engine.runtime, engine.layers(), {"execution": engine.execution}, built_on)


def _compiled_plan(
    model: OnnxModel,
    file: Path,
    out: Path,
    target: NvidiaTarget,
    options: PlanOptions,
    fp32: OnnxModel,
    progress: Progress,
) -> Compiled:
    plan = plan_from_onnx(
        model,
        target=target,
        options=options,
        on_progress=lambda what, share: progress.update("compiling", round(100 * share), 100),
    )
    out.write_bytes(plan.data)
    counts: dict[str, Any] = dict(plan.counts)  # by the names of the report
    report = LayerReport(kinds=plan.kinds, **counts, plan_bytes=len(plan.data))
    if target == "tensorrt-rtx" and model.precision != "fp32" and fp32.precision == "fp32":
        report = replace(report, fp32_plan_bytes=len(plan_from_onnx(fp32, target=target, options=options).data))
    return Compiled(
        out,
        plan.runtime,
        plan.layers,
        plan.flags,
        _device(target, options, plan.gpu),
        layer_report=report,
        trtexec=trtexec_lines(file.name, PLAN, target=target, precision=model.precision, options=options),
        warnings=(*plan.warnings, *_expanded_weights(report)),
        kept_float=plan.kept_float,
    )


def _expanded_weights(report: LayerReport) -> Iterable[str]:
    """INT8 weights are a quarter of FP32's; a plan that is not even half as large has expanded them again."""
    size, fp32 = report.plan_bytes, report.fp32_plan_bytes
    if fp32 and report.convolutions_int8 and 2 * size > fp32 and size > SMALL_PLAN:
        yield (
            f"the INT8 plan has {size / 1e6:.1f} MB and the FP32 plan {fp32 / 1e6:.1f}: FP16's will have about half"
            " of that, so INT8 will hardly beat it"
        )


def _device(target: str, options: PlanOptions, gpu: Gpu | None) -> BuildDevice:
    """What the plan was compiled for."""
    if target == "tensorrt-rtx":
        return BuildDevice("NVIDIA RTX", sm=list(options.sm) or PORTABLE)
    if gpu is None:
        return BuildDevice("an NVIDIA GPU: neither cuda-python nor pycuda is there to name it")
    return BuildDevice(gpu.name, sm=gpu.sm, memory_bytes=gpu.memory_bytes, cuda_driver=gpu.driver)


def execution_of(precision: str) -> Execution:
    """What the float parts of an engine of that precision compute in."""
    if precision == "bf16":
        return "bf16"
    return "f16" if precision.endswith("fp16") else "f32"
