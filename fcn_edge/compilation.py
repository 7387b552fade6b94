"""A file compiled into an engine directory, and the compiler's own account of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.device import this_device
from fcn_edge.engines import EngineOptions, Target, engine_on_target
from fcn_edge.engines.base import Execution, Layer
from fcn_edge.engines.trt import NvidiaTarget, PlanOptions, plan_from_onnx, trtexec_lines
from fcn_edge.engines.trt.cuda import Gpu
from fcn_edge.onnxmodel import OnnxModel

PLAN = "model.plan"
SMALL_PLAN = 1 << 20  # below a megabyte a plan is mostly kernels, not weights


@dataclass(frozen=True)
class Compiled:
    """What a compiler made: its own account, and how to build the same by hand. device: that it is for."""

    runtime: str
    layers: tuple[Layer, ...]
    flags: dict[str, Any]
    device: dict[str, Any]
    story: dict[str, Any] | None = None
    trtexec: Any = None
    warnings: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()


def onnx_name(target: str, precision: str) -> str:
    """CPU engines run the ONNX file itself; beside a plan it lies for the trtexec line, named by its precision."""
    return f"model.{precision}.onnx" if target.startswith("tensorrt") else "model.onnx"


def compiled(
    file: OnnxModel,
    part: Path,
    *,
    target: Target,
    options: EngineOptions,
    plan: PlanOptions,
    fp32: OnnxModel,
    on_progress: Callable[[str, float], None],
) -> Compiled:
    """Compile `file` into the folder `part`. Engines of CPUs are opened once, with `options`, and asked.

    fp32: what the file was made of. TensorRT-RTX, which compiles in seconds, makes a plan of that too, to compare.
    """
    if target in ("tensorrt", "tensorrt-rtx"):
        return _compiled_plan(file, part, target, plan, fp32, on_progress)
    device = this_device()
    where = {"name": device.name, "cpu": device.cpu, "instruction_sets": list(device.instruction_sets)}
    with engine_on_target(file, target, options) as engine:
        return Compiled(engine.runtime, engine.layers(), {"execution": engine.execution}, where)


def _compiled_plan(
    file: OnnxModel,
    part: Path,
    target: NvidiaTarget,
    options: PlanOptions,
    fp32: OnnxModel,
    on_progress: Callable[[str, float], None],
) -> Compiled:
    plan = plan_from_onnx(file, target=target, options=options, on_progress=on_progress)
    (part / PLAN).write_bytes(plan.data)
    precision = file.precision
    story: dict[str, Any] = {"kinds": plan.kinds, **plan.story, "plan_bytes": len(plan.data), "fp32_plan_bytes": None}
    if target == "tensorrt-rtx" and precision != "fp32" and fp32.precision == "fp32":
        story["fp32_plan_bytes"] = len(plan_from_onnx(fp32, target=target, options=options).data)
    return Compiled(
        plan.runtime,
        plan.layers,
        plan.flags,
        _device(target, options, plan.gpu),
        story=story,
        trtexec=trtexec_lines(file.path.name, PLAN, target=target, precision=precision, options=options),
        warnings=(*plan.warnings, *_grown(story)),
        kept_float=plan.kept_float,
    )


def _grown(story: dict[str, Any]) -> Iterable[str]:
    """INT8 weights are a quarter of FP32's; a plan that is not even half as large has expanded them again."""
    found, fp32 = story["plan_bytes"], story["fp32_plan_bytes"]
    if fp32 and story.get("convolutions_int8") and 2 * found > fp32 and found > SMALL_PLAN:
        yield (
            f"the INT8 plan has {found / 1e6:.1f} MB and the FP32 plan {fp32 / 1e6:.1f}: FP16's will have about half"
            " of that, so INT8 will hardly beat it"
        )


def _device(target: str, options: PlanOptions, gpu: Gpu | None) -> dict[str, Any]:
    """What the plan was compiled for."""
    if target == "tensorrt-rtx":
        return {"name": "NVIDIA RTX", "sm": list(options.sm) or "portable: Ampere and newer"}
    if gpu is None:
        return {"name": "an NVIDIA GPU: neither cuda-python nor pycuda is there to name it", "sm": None}
    return {"name": gpu.name, "sm": gpu.sm, "memory_bytes": gpu.memory_bytes, "cuda_driver": gpu.driver}


def execution_of(precision: str) -> Execution:
    """What the float parts of an engine of that precision compute in."""
    if precision == "bf16":
        return "bf16"
    return "f16" if precision.endswith("fp16") else "f32"
