"""ONNX in, plan out: the adapter over TensorRT 8.6, 10, 11 and TensorRT-RTX, by what each module has."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcn_edge.engines.base import Engine, Layer
from fcn_edge.engines.trt.dump import (
    Convolution,
    Verdict,
    convolutions_from_onnx,
    int8_verdict,
    kernels_from_dump,
    story_from_kernels,
)
from fcn_edge.engines.trt.lines import TOOLS, BuildOptions, NvidiaTarget
from fcn_edge.engines.trt.vendor import (
    Log,
    Progress,
    Stop,
    missing_gpu,
    monitor_of_build,
    recorded,
    require_target,
    stoppable,
    vendor_module,
)
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.files import require_file
from fcn_edge.onnxfile import graph_inputs, onnx_from_file, precision_of_graph
from fcn_edge.spec import Precision

MAX_NAMES = 3  # of a list in a message; the whole list is in Plan.kept_float
MAX_VENDOR_WARNINGS = 5
TURING = 75
_SOURCE_PLACE = re.compile(r"\s*\(?In \w+ at /\S+")
_PREAMBLE = re.compile(r"^(?:\S+: )?Error Code \d+: [\w ]+\(|^Assertion failed: .*?\)?: (?=[A-Z])")


@dataclass(frozen=True)
class Plan:
    """A compiled network, and what the compiler made of it.

    runtime: name and version, such as "tensorrt-rtx 1.7.1.116". kept_float: the file's quantized
    convolutions that the plan runs in float. story: counts, see `story_from_kernels`; empty, as
    `layers`, where the compiler gave no account, which `warnings` then says.
    """

    data: bytes = field(repr=False)
    target: NvidiaTarget
    runtime: str
    layers: tuple[Layer, ...] = field(repr=False)
    flags: dict[str, Any]
    warnings: tuple[str, ...]
    seconds: float
    kept_float: tuple[str, ...] = ()
    story: dict[str, int] = field(default_factory=dict)


def plan_from_onnx(
    path: Path,
    *,
    target: NvidiaTarget,
    options: BuildOptions = BuildOptions(),  # noqa: B008 - frozen
    on_progress: Progress | None = None,
) -> Plan:
    """Compile an ONNX file. Ctrl-C, or any exception of `on_progress`, stops the builder and comes out here.

    Raises:
        BackendMissing: `require_target` says why.
        BadInput: not ONNX, a node that the target cannot compile, or options that do not fit.
    """
    require_target(target)
    model = onnx_from_file(path)  # first: the vendor's parser accepts arbitrary bytes as an empty network
    trt = vendor_module(target)
    runtime = f"{target} {trt.__version__}"
    _check_shapes(path, model, options)
    flags = _flags(trt, path, precision_of_graph(model), options)
    started = time.perf_counter()
    with recorded(trt) as (logger, log), stoppable() as stop:
        data = _Build(trt, path, runtime, log, stop).run(logger, model, flags, options, on_progress)
    seconds = time.perf_counter() - started
    convolutions = convolutions_from_onnx(model)
    kernels = kernels_from_dump(log.dump)
    verdict = int8_verdict(convolutions, kernels)
    story = story_from_kernels(kernels, convolutions) if kernels else {}
    return Plan(
        data=data,
        target=target,
        runtime=runtime,
        layers=tuple(kernel.layer for kernel in kernels),
        flags=flags,
        warnings=tuple(_warnings(target, options, verdict, story, convolutions, log)),
        seconds=seconds,
        kept_float=verdict.kept_float,
        story=story,
    )


def engine_from_plan(path: Path, target: NvidiaTarget) -> Engine:
    """Not in this version. Raises BackendMissing saying so, what this machine lacks, and what to do instead."""
    require_file(path, "a TensorRT plan")
    lacks = [missing_gpu()]
    try:
        vendor_module(target)
    except BackendMissing as error:
        lacks.append(str(error))
    also = "".join(f"; {lack}" for lack in lacks if lack)
    raise BackendMissing(
        f"{path}: this version of fcn-edge compiles {target} plans and does not run them{also}. On the target machine:"
        f" {TOOLS[target]} --loadEngine={path}. Here: run the ONNX file with --target openvino or onnxruntime"
    )


def _flags(trt: Any, path: Path, precision: Precision, options: BuildOptions) -> dict[str, Any]:
    """What the builder is told, as the manifest records it."""
    is_strong = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if not is_strong and precision == "int8-fp16":
        raise BadInput(f"{path}: half-precision scales need TensorRT 10 or newer; build the int8 file instead")
    shapes = options.shapes
    weak: dict[Precision, list[str]] = {"fp32": [], "fp16": ["FP16"], "int8": ["INT8"], "int8-fp16": []}
    return {
        "strongly_typed": is_strong,
        "builder_flags": [] if is_strong else weak[precision],
        "tf32": options.tf32,
        "sm": list(_known_sm(trt, options)),
        "workspace_mb": options.workspace_mb,
        "optimisation_level": options.optimisation_level,
        "shapes": None if shapes is None else {shapes.input: [list(shapes.min), list(shapes.opt), list(shapes.max)]},
    }


def _known_sm(trt: Any, options: BuildOptions) -> tuple[int, ...]:
    wanted = tuple(dict.fromkeys(options.sm))
    if wanted and not hasattr(trt, "ComputeCapability"):
        raise BadInput("compute capabilities are for target tensorrt-rtx; tensorrt compiles for the GPU it runs on")
    if not wanted:
        return ()
    known = sorted(int(name[2:]) for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
    if unknown := [sm for sm in wanted if sm not in known]:
        raise BadInput(
            f"compute capability {', '.join(map(str, unknown))} is unknown to tensorrt-rtx {trt.__version__}; known:"
            f" {', '.join(map(str, known))}. Jetson and data centre GPUs take --target tensorrt, on the machine itself"
        )
    return wanted


def _check_shapes(path: Path, model: Any, options: BuildOptions) -> None:
    inputs = {value.name: value.type.tensor_type.shape.dim for value in graph_inputs(model)}
    is_dynamic = any(dim.dim_value < 1 for dims in inputs.values() for dim in dims)
    if options.shapes is None:
        if is_dynamic:
            raise BadInput(f"{path}: sizes are left open; give a range of shapes, or export without --dynamic")
        return
    name = options.shapes.input
    if name not in inputs:
        raise BadInput(f"{path}: no input {name!r}; it has {', '.join(inputs)}")
    fixed = [dim.dim_value for dim in inputs[name]]
    for shape in (options.shapes.min, options.shapes.max):
        if len(shape) != len(fixed) or any(size > 0 and size != wish for size, wish in zip(fixed, shape, strict=True)):
            has = "x".join(str(size) if size > 0 else "?" for size in fixed)
            raise BadInput(f"{path}: {name} is {has}; the shape {'x'.join(map(str, shape))} does not fit")


@dataclass(frozen=True)
class _Build:
    """One run of the builder over one file."""

    trt: Any
    path: Path
    runtime: str
    log: Log
    stop: Stop

    def run(
        self, logger: Any, model: Any, flags: dict[str, Any], options: BuildOptions, on_progress: Progress | None
    ) -> bytes:
        try:
            builder = self.trt.Builder(logger)
        except TypeError as error:  # pybind's word for a null pointer: CUDA could not start
            raise BackendMissing(
                f"{self.runtime} cannot start ({self._said()}); see with nvidia-smi whether the driver fits"
            ) from error
        network = builder.create_network(_network_flags(self.trt))
        parser = self.trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(self.path)):
            raise BadInput(f"{self.path}: {self.runtime} cannot read {self._parse_errors(parser, model)}")
        config = self._config(builder, flags, options)
        if hasattr(config, "progress_monitor"):  # TensorRT 10 and newer
            config.progress_monitor = monitor_of_build(self.trt, self.stop, on_progress)
        memory = builder.build_serialized_network(network, config)
        if memory is None:
            raise BadInput(f"{self.path}: {self.runtime} cannot compile this file: {self._said()}")
        return bytes(memory)

    def _config(self, builder: Any, flags: dict[str, Any], options: BuildOptions) -> Any:
        trt, config = self.trt, builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        for name in flags["builder_flags"]:
            config.set_flag(getattr(trt.BuilderFlag, name))
        if not options.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if options.workspace_mb is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
        if options.optimisation_level is not None:
            config.builder_optimization_level = options.optimisation_level
        if flags["sm"]:
            self._set_targets(config, flags["sm"])
        if options.shapes is not None:
            shapes, profile = options.shapes, builder.create_optimization_profile()
            profile.set_shape(shapes.input, shapes.min, shapes.opt, shapes.max)
            self._check(config.add_optimization_profile(profile) >= 0, "the range of shapes")
        return config

    def _set_targets(self, config: Any, capabilities: list[int]) -> None:
        config.num_compute_capabilities = len(capabilities)
        for index, sm in enumerate(capabilities):
            accepted = config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{sm}"), index)
            self._check(accepted, f"compute capability {sm}")

    def _check(self, accepted: bool, what: str) -> None:
        if not accepted:
            raise BadInput(f"{self.path}: {self.runtime} does not accept {what}: {self._said()}")

    def _parse_errors(self, parser: Any, model: Any) -> str:
        """Which nodes, and why: "node odd (Bernoulli): this operator is not supported"."""
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        if not errors:
            return f"it: {self._said()}"
        more = f"; and {len(errors) - MAX_NAMES} more" if len(errors) > MAX_NAMES else ""
        return "; ".join(_parse_error(error, model) for error in errors[:MAX_NAMES]) + more

    def _said(self) -> str:
        """The builder's last error, in plain words; the lack of a GPU is no reason unless it is the only one."""
        errors = [text for text in self.log.errors if "Cuda Runtime" not in text] or self.log.errors
        return _plain(errors[-1]) if errors else "the builder gives no reason"


def _parse_error(error: Any, model: Any) -> str:
    where, reason = "it", _plain(error.desc())
    if 0 <= error.node() < len(model.graph.node):
        node = model.graph.node[error.node()]
        where = f"node {node.name or node.output[0]} ({node.op_type})"
    if "UNSUPPORTED" in str(error.code()) or "Plugin not found" in reason:
        reason = "this operator is not supported"
    return f"{where}: {reason}"


def _network_flags(trt: Any) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    name = "STRONGLY_TYPED" if hasattr(flags, "STRONGLY_TYPED") else "EXPLICIT_BATCH"
    return 1 << int(getattr(flags, name))


def _plain(message: str) -> str:
    """The first line that says something, without the vendor's own functions and source paths."""
    lines = [_PREAMBLE.sub("", _SOURCE_PLACE.sub("", line).strip()) for line in message.splitlines()]
    telling = [line for line in lines if line and not line.startswith("Invalid Node")]
    return (telling or lines or [""])[0][:300]


def _warnings(
    target: NvidiaTarget,
    options: BuildOptions,
    verdict: Verdict,
    story: dict[str, int],
    convolutions: tuple[Convolution, ...],
    log: Log,
) -> Iterable[str]:
    total = len(verdict.quantized)
    if not story:
        yield "the compiler gave no account of its layers: the precision that each one runs in is unproven"
    elif verdict.unseen:
        yield f"the compiler does not say how it runs {_some(verdict.unseen, total)}"
    if verdict.kept_float:
        why = "; SM 75 turns INT8 off for the whole plan: give it a plan of its own" if TURING in options.sm else ""
        yield f"in float, though the file quantizes them: {_some(verdict.kept_float, total)}{why}"
    if padded := story.get("depthwise_padded"):
        grouped = sum(convolution.group > 1 for convolution in convolutions)
        cure = "leave SM 75 out" if TURING in options.sm else "leave them in float (placement nvidia), or take fp16"
        yield (
            f"{padded} of {grouped} depthwise convolutions are compiled with padded channels: their inputs are written"
            f" several times as large, and the plan grows; {cure}"
        )
    if target == "tensorrt-rtx" and story.get("convolutions_int8"):
        yield (
            "NVIDIA lists INT8 on TensorRT-RTX for weight-only GEMM: these INT8 convolutions compile, but their speed"
            " is unproven; measure them against the fp16 file"
        )
    said = Counter(_plain(message) for message in log.warnings)
    for message, times in said.most_common(MAX_VENDOR_WARNINGS):
        yield f"{target}: {message}" + (f" ({times} times)" if times > 1 else "")
    if len(said) > MAX_VENDOR_WARNINGS:
        yield f"{target}: {len(said) - MAX_VENDOR_WARNINGS} more kinds of warning"


def _some(names: tuple[str, ...], total: int) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{len(names)} of {total} quantized convolutions ({', '.join(names[:MAX_NAMES])}{more})"
