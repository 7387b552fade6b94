"""Compile ONNX files to plans, and report how."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcn_edge.engines.base import Layer
from fcn_edge.engines.trt.builder import MAX_NAMES, Build, is_strongly_typed, precision_flags
from fcn_edge.engines.trt.cuda import Gpu, open_cuda
from fcn_edge.engines.trt.layer_info import (
    Convolution,
    Int8Coverage,
    convolutions_from_onnx,
    counts_from_kernels,
    int8_verdict,
    kernels_from_dump,
    kinds_of_kernels,
)
from fcn_edge.engines.trt.plan_options import NvidiaTarget, PlanOptions
from fcn_edge.engines.trt.vendor import Log, Progress, plain, recorded, require_target, stoppable, vendor_module
from fcn_edge.errors import BackendMissing, BadInput, CheckFailed
from fcn_edge.onnxfile import precision_of_graph
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import require_signed_pairs
from fcn_edge.spec import Precision

MAX_VENDOR_WARNINGS = 5
TURING = 75


@dataclass(frozen=True)
class Plan:
    """A compiled network and the compiler's report.

    runtime: name and version, such as "tensorrt-rtx 1.7.1.116". gpu: that TensorRT compiled on,
    None if CUDA could not be queried, and for TensorRT-RTX, which compiles without one.
    kept_float: the file's quantized convolutions that the plan runs in float. counts: of kernels, see
    `counts_from_kernels`; kinds: kernels by kind; these and `layers` are empty, with a warning in `warnings`, if
    the compiler reports no layers.
    """

    data: bytes = field(repr=False)
    target: NvidiaTarget
    runtime: str
    layers: tuple[Layer, ...] = field(repr=False)
    flags: dict[str, Any]
    warnings: tuple[str, ...]
    seconds: float
    gpu: Gpu | None = None
    kept_float: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)


def plan_from_onnx(
    model: OnnxModel | Path,
    *,
    target: NvidiaTarget,
    options: PlanOptions = PlanOptions(),  # noqa: B008 - frozen
    on_progress: Progress | None = None,
) -> Plan:
    """Compile an ONNX file. Ctrl-C, or any exception of `on_progress`, stops the builder and is raised here.

    Raises:
        BackendMissing: as `require_target`.
        BadInput: not ONNX, activations in uint8, a node that the target cannot compile, or options that do not fit.
        CheckFailed: TensorRT-RTX compiled quantized convolutions in float.
    """
    require_target(target)
    model = OnnxModel.of(model)  # first: the vendor's parser accepts arbitrary bytes as an empty network
    path = model.path
    require_signed_pairs(model.graph, str(path))
    trt = vendor_module(target)
    options.require_target(target)
    _check_sm(trt, options)
    _check_shapes(model, options)
    precision = precision_of_graph(model.proto)
    flags = _flags(trt, path, precision, options)
    gpu = _gpu_here() if target == "tensorrt" else None
    started = time.perf_counter()
    with model.on_disk() as file, recorded(trt) as (logger, log), stoppable() as stop:
        build = Build(trt, model, file, f"{target} {trt.__version__}", log, stop)
        data = build.run(logger, precision, options, on_progress)
    seconds = time.perf_counter() - started
    convolutions = convolutions_from_onnx(model.proto)
    kernels = kernels_from_dump(log.dump)
    verdict = int8_verdict(convolutions, kernels)
    counts = counts_from_kernels(kernels, convolutions) if kernels else {}
    if target == "tensorrt-rtx" and verdict.kept_float:
        raise CheckFailed(f"{path}: {_lost_int8(verdict, options)}. No engine was written")
    return Plan(
        data=data,
        target=target,
        runtime=build.runtime,
        layers=tuple(kernel.layer for kernel in kernels),
        flags=flags,
        warnings=(*build.notes, *_warnings(target, options, verdict, counts, convolutions, log)),
        seconds=seconds,
        gpu=gpu,
        kept_float=verdict.kept_float,
        counts=counts,
        kinds=kinds_of_kernels(kernels),
    )


def _gpu_here() -> Gpu | None:
    """The GPU, for the manifest; TensorRT does not report it."""
    try:
        cuda = open_cuda()
    except BackendMissing:
        return None
    cuda.close()
    return cuda.gpu


def _flags(trt: Any, path: Path, precision: Precision, options: PlanOptions) -> dict[str, Any]:
    """The builder's options, for the manifest."""
    is_strong = is_strongly_typed(trt)
    if not is_strong and precision == "int8-fp16":
        raise BadInput(f"{path}: half-precision scales need TensorRT 10 or newer; build the int8 file instead")
    builder_flags = list(precision_flags(trt, precision))
    return {"strongly_typed": is_strong, "builder_flags": builder_flags, **options.flags()}


def _check_sm(trt: Any, options: PlanOptions) -> None:
    if not options.sm:
        return
    known = sorted(int(name[2:]) for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    if unknown := [sm for sm in options.sm if sm not in known]:
        raise BadInput(
            f"tensorrt-rtx {trt.__version__} does not support compute capability {', '.join(map(str, unknown))}; known:"
            f' {", ".join(map(str, known))}. Jetson and data centre GPUs: `target="tensorrt"` on the machine itself'
        )


def _check_shapes(model: OnnxModel, options: PlanOptions) -> None:
    path, inputs = model.path, {value.name: value.type.tensor_type.shape.dim for value in model.inputs}
    is_dynamic = any(dim.dim_value < 1 for dims in inputs.values() for dim in dims)
    if options.shapes is None:
        if is_dynamic:
            raise BadInput(f"{path}: the file has dynamic sizes; pass a range of shapes, or export without `dynamic`")
        return
    name = options.shapes.input
    if name not in inputs:
        raise BadInput(f"{path}: no input {name!r}; it has {', '.join(inputs)}")
    fixed = [dim.dim_value for dim in inputs[name]]
    for shape in (options.shapes.min, options.shapes.max):
        if len(shape) != len(fixed) or any(size > 0 and size != wish for size, wish in zip(fixed, shape, strict=True)):
            has = "x".join(str(size) if size > 0 else "?" for size in fixed)
            raise BadInput(f"{path}: {name} is {has}; shape {'x'.join(map(str, shape))} does not fit")


def _warnings(
    target: NvidiaTarget,
    options: PlanOptions,
    verdict: Int8Coverage,
    counts: dict[str, int],
    convolutions: tuple[Convolution, ...],
    log: Log,
) -> Iterable[str]:
    if not counts:
        yield "the compiler reported no layers: the precision of each one is unverified"
    elif verdict.unseen:
        yield f"the compiler's report does not contain {_some(verdict.unseen, len(verdict.quantized))}"
    if verdict.kept_float:
        yield _lost_int8(verdict, options)
    yield from _prospects(target, counts, convolutions)
    kinds = Counter(plain(message) for message in log.warnings)
    for message, times in kinds.most_common(MAX_VENDOR_WARNINGS):
        yield f"{target}: {message}" + (f" ({times} times)" if times > 1 else "")
    if len(kinds) > MAX_VENDOR_WARNINGS:
        yield f"{target}: {len(kinds) - MAX_VENDOR_WARNINGS} more kinds of warning"


def _lost_int8(verdict: Int8Coverage, options: PlanOptions) -> str:
    why = "; SM 75 disables INT8 for the complete plan: build a separate plan from the fp16 file for it"
    lost = f"in float, though the file quantizes them: {_some(verdict.kept_float, len(verdict.quantized))}"
    return lost + (why if TURING in options.sm else "")


def _prospects(target: NvidiaTarget, counts: dict[str, int], convolutions: tuple[Convolution, ...]) -> Iterable[str]:
    """Why INT8 may not be faster than FP16, and how to avoid it."""
    int8 = counts.get("convolutions_int8", 0)
    if padded := counts.get("depthwise_padded"):
        grouped = sum(convolution.group > 1 for convolution in convolutions)
        yield (
            f"{padded} of {grouped} depthwise convolutions are compiled with padded channels: their inputs are written"
            ' several times as large, and the plan grows; keep them in float (`placement="nvidia"`), or use fp16'
        )
    if int8 and 2 * counts["requantizing"] >= int8:
        yield (
            f"{counts['requantizing']} kernels, with {int8} INT8 convolutions, only scale, add, clip and quantize again"
            " because they were not fused: this plan may not be faster than fp16; build both and measure"
        )
    if target == "tensorrt-rtx" and int8:
        yield (
            "NVIDIA lists INT8 on TensorRT-RTX for weight-only GEMM: these INT8 convolutions compile, but may"
            " not be faster; compare with the fp16 file"
        )


def _some(names: tuple[str, ...], total: int) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{len(names)} of {total} quantized convolutions ({', '.join(names[:MAX_NAMES])}{more})"
