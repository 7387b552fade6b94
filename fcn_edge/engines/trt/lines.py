"""How a plan is to be built, and the command lines that build the same plan without this package."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from fcn_edge.errors import BadInput
from fcn_edge.spec import Precision

NvidiaTarget = Literal["tensorrt", "tensorrt-rtx"]
TOOLS: dict[NvidiaTarget, str] = {"tensorrt": "trtexec", "tensorrt-rtx": "tensorrt_rtx"}
MAX_OPTIMISATION_LEVEL = 5


@dataclass(frozen=True)
class ShapeRange:
    """Smallest, usual and largest shape of a dynamic graph's input."""

    input: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = all(low <= usual <= high for low, usual, high in zip(self.min, self.opt, self.max, strict=False))
        if not ordered or not len(self.min) == len(self.opt) == len(self.max) or min(self.min, default=0) < 1:
            shapes = ", ".join(_by_x(shape) for shape in (self.min, self.opt, self.max))
            raise BadInput(f"{self.input}: shapes {shapes} are not a smallest, a usual and a largest one")


@dataclass(frozen=True)
class BuildOptions:
    """What the file does not say.

    sm: compute capabilities that a TensorRT-RTX plan is for (86 is 8.6); none is its portable
    plan, Ampere and later. TensorRT always compiles for the GPU it runs on.
    workspace_mb, optimisation_level (0..5): None keeps the builder's own; TensorRT-RTX 1.7
    writes the same plan whatever they are.
    tf32: let fp32 multiply with 10-bit mantissas. Both builders do so unless told otherwise.
    """

    sm: tuple[int, ...] = ()
    workspace_mb: int | None = None
    optimisation_level: int | None = None
    shapes: ShapeRange | None = None
    tf32: bool = False

    def __post_init__(self) -> None:
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise BadInput(f"a workspace of {self.workspace_mb} MB is not possible")
        if self.optimisation_level is not None and not 0 <= self.optimisation_level <= MAX_OPTIMISATION_LEVEL:
            raise BadInput(f"optimisation level {self.optimisation_level}; 0 to {MAX_OPTIMISATION_LEVEL} are possible")


def trtexec_line(
    onnx_name: str, plan_name: str, *, target: NvidiaTarget, precision: Precision, options: BuildOptions
) -> str:
    """The command that builds the same plan on a target machine, for the newest versions of the tool."""
    return next(iter(trtexec_lines(onnx_name, plan_name, target=target, precision=precision, options=options).values()))


def trtexec_lines(
    onnx_name: str, plan_name: str, *, target: NvidiaTarget, precision: Precision, options: BuildOptions
) -> dict[str, str]:
    """Command lines by version, the newest first.

    TensorRT 8 (JetPack 5) has no strong typing: its flags allow a precision, they do not
    demand it, and half-precision scales (int8-fp16) cannot be read there at all.

    Source: NVIDIA/TensorRT samples/common/sampleOptions.cpp of 8.4, 10 and 11 (`--skipInference`
    is `--buildOnly` up to 8.5, which also lacks `--builderOptimizationLevel`; `--stronglyTyped`
    does nothing in 11), and the TensorRT-RTX pages on CPU engines and benchmarking.
    """
    files = [f"--onnx={shlex.quote(onnx_name)}", f"--saveEngine={shlex.quote(plan_name)}"]
    common = [*([] if options.tf32 else ["--noTF32"]), *_shapes(options.shapes), "--profilingVerbosity=detailed"]
    if target == "tensorrt-rtx":
        capabilities = [f"--computeCapabilities={','.join(map(str, options.sm))}"] if options.sm else []
        return {target: " ".join([TOOLS[target], *files, *capabilities, *common, "--skipInference"])}
    if options.workspace_mb is not None:
        common.append(f"--memPoolSize=workspace:{options.workspace_mb}")
    level = options.optimisation_level
    levels = [] if level is None else [f"--builderOptimizationLevel={level}"]
    lines = {"tensorrt>=10": [*files, "--stronglyTyped", *levels, *common, "--skipInference"]}
    flags = {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8"], "int8-fp16": None}[precision]
    if flags is not None:
        lines["tensorrt 8"] = [*files, *flags, *common, "--buildOnly"]
    if precision == "int8":
        lines["tensorrt 8, float layers in fp16"] = [*files, "--int8", "--fp16", *common, "--buildOnly"]
    return {version: " ".join([TOOLS[target], *words]) for version, words in lines.items()}


def _shapes(shapes: ShapeRange | None) -> list[str]:
    if shapes is None:
        return []
    named = {"--minShapes": shapes.min, "--optShapes": shapes.opt, "--maxShapes": shapes.max}
    return [f"{flag}={shlex.quote(shapes.input)}:{_by_x(shape)}" for flag, shape in named.items()]


def _by_x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
