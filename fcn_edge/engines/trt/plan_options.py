"""Build options of a plan, and the trtexec commands that build the same plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fcn_edge.errors import BadInput
from fcn_edge.schema import nearest
from fcn_edge.spec import Precision

NvidiaTarget = Literal["tensorrt", "tensorrt-rtx"]
TOOLS: dict[NvidiaTarget, str] = {"tensorrt": "trtexec", "tensorrt-rtx": "tensorrt_rtx"}
HardwareLevel = Literal["ampere+", "sameComputeCapability"]  # trtexec's names
HARDWARE_LEVELS: dict[HardwareLevel, str] = {
    "ampere+": "AMPERE_PLUS",
    "sameComputeCapability": "SAME_COMPUTE_CAPABILITY",
}
MAX_OPTIMISATION_LEVEL = 5


@dataclass(frozen=True)
class ShapeRange:
    """Minimum, optimum and maximum shape of a dynamic graph's input."""

    input: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = all(low <= usual <= high for low, usual, high in zip(self.min, self.opt, self.max, strict=False))
        if not ordered or not len(self.min) == len(self.opt) == len(self.max) or min(self.min, default=0) < 1:
            shapes = ", ".join(_by_x(shape) for shape in (self.min, self.opt, self.max))
            raise BadInput(f"{self.input}: shapes {shapes} are not a minimum, an optimum and a maximum")


@dataclass(frozen=True)
class PlanOptions:
    """Build options that are not in the file; the command line and trtexec use the same names.

    sm: compute capabilities of a TensorRT-RTX plan (86 is 8.6); empty for its portable
    plan, Ampere and later. TensorRT always compiles for the GPU it runs on.
    workspace_mb, optimisation_level (0..5): None keeps the builder's default; they do not change the plan of
    TensorRT-RTX 1.7.
    tf32: multiply fp32 with 10-bit mantissas, the default of both builders.
    timing_cache: a file of kernel timings, read if it exists and written afterwards.
    version_compatible: newer TensorRT of the same major version can run the plan; it then contains
    host code. hardware_compatible: other GPUs too. sparsity: use 2:4 sparse weights if there are any.
    """

    sm: tuple[int, ...] = ()
    workspace_mb: int | None = None
    optimisation_level: int | None = None
    shapes: ShapeRange | None = None
    tf32: bool = False
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: HardwareLevel | None = None
    sparsity: bool = False

    def __post_init__(self) -> None:
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise BadInput(f"`workspace_mb` is {self.workspace_mb}; expected at least 1")
        if self.optimisation_level is not None and not 0 <= self.optimisation_level <= MAX_OPTIMISATION_LEVEL:
            raise BadInput(f"`optimisation_level` is {self.optimisation_level}; expected 0 to {MAX_OPTIMISATION_LEVEL}")
        if self.hardware_compatible not in (None, *get_args(HardwareLevel)):
            hint = nearest(str(self.hardware_compatible), get_args(HardwareLevel))
            raise BadInput(f"unknown hardware compatibility level {self.hardware_compatible!r}{hint}")

    def require_target(self, target: NvidiaTarget) -> None:
        """Raises BadInput for options that the target's compiler does not support or ignores."""
        if target == "tensorrt":
            if self.sm:
                raise BadInput(f"compute capabilities ({_by_comma(self.sm)}) are for target tensorrt-rtx")
            return
        unheard = {
            "timing cache": self.timing_cache,  # ignored since TensorRT-RTX 1.2 (its warning: "no-ops")
            "version compatible": self.version_compatible,  # needs a library that is not in any package
            "hardware compatible": self.hardware_compatible,
        }
        if names := [name for name, value in unheard.items() if value]:
            raise BadInput(f"{' and '.join(names)}: for target tensorrt; a tensorrt-rtx plan is for all GPUs of `sm`")

    def flags(self) -> dict[str, Any]:
        """For the manifest, read by `options_from_flags`. Without the timing cache, which does not change the plan."""
        shapes = self.shapes
        return {
            "tf32": self.tf32,
            "sm": list(self.sm),
            "workspace_mb": self.workspace_mb,
            "optimisation_level": self.optimisation_level,
            "shapes": None
            if shapes is None
            else {shapes.input: [list(shapes.min), list(shapes.opt), list(shapes.max)]},
            "version_compatible": self.version_compatible,
            "hardware_compatible": self.hardware_compatible,
            "sparsity": self.sparsity,
        }


def options_from_flags(flags: Mapping[str, Any], *, sm: tuple[int, ...] = ()) -> PlanOptions:
    """The options from a manifest's flags, for another GPU. Raises BadInput if they do not fit together."""
    try:
        ranges = [ShapeRange(name, *map(tuple, shapes)) for name, shapes in (flags.get("shapes") or {}).items()]
        return PlanOptions(
            sm=sm,
            workspace_mb=flags.get("workspace_mb"),
            optimisation_level=flags.get("optimisation_level"),
            shapes=ranges[0] if ranges else None,
            tf32=bool(flags.get("tf32")),
            version_compatible=bool(flags.get("version_compatible")),
            hardware_compatible=flags.get("hardware_compatible"),
            sparsity=bool(flags.get("sparsity")),
        )
    except (AttributeError, TypeError) as error:
        raise BadInput(f"cannot read the manifest's flags ({error}); build the engine again") from error


def trtexec_lines(
    onnx_name: str, plan_name: str, *, target: NvidiaTarget, precision: Precision, options: PlanOptions
) -> dict[str, str]:
    """The commands that build the same plan on a target machine, by version, newest first.

    TensorRT 8 has no strong typing: its flags allow a precision but do not require it, and
    half-precision scales (int8-fp16) are not supported. 8.5 (JetPack 5) has neither
    builder levels nor compatible plans.

    Source: NVIDIA/TensorRT samples/common/sampleOptions.cpp of 8.4, 8.6, 10 and 11 (`--skipInference`
    is `--buildOnly` up to 8.5; 11 is always strongly typed), and the TensorRT-RTX pages on CPU
    engines and benchmarking.
    """
    files = [f"--onnx={shlex.quote(onnx_name)}", f"--saveEngine={shlex.quote(plan_name)}"]
    common = [
        *([] if options.tf32 else ["--noTF32"]),
        *_shapes(options.shapes),
        *(["--sparsity=enable"] if options.sparsity else []),
        "--profilingVerbosity=detailed",
    ]
    if target == "tensorrt-rtx":
        capabilities = [f"--computeCapabilities={_by_comma(options.sm)}"] if options.sm else []
        return {target: " ".join([TOOLS[target], *files, *capabilities, *common, "--skipInference"])}
    if options.workspace_mb is not None:
        common.append(f"--memPoolSize=workspace:{options.workspace_mb}")
    if options.timing_cache is not None:
        common.append(f"--timingCacheFile={shlex.quote(str(options.timing_cache))}")
    since_8_6 = [*_since_8_6(options), "--skipInference"]
    lines = {
        "tensorrt 11": [*files, *common, *since_8_6],
        "tensorrt 10": [*files, "--stronglyTyped", *common, *since_8_6],
    }
    for name, flags in _weak_flags(precision).items():
        lines[f"tensorrt 8.6{name}"] = [*files, *flags, *common, *since_8_6]
        if not (options.version_compatible or options.hardware_compatible):
            lines[f"tensorrt 8.5{name}"] = [*files, *flags, *common, "--buildOnly"]
    return {version: " ".join([TOOLS[target], *words]) for version, words in lines.items()}


def _weak_flags(precision: Precision) -> dict[str, list[str]]:
    """Suffix of a line's name -> TensorRT 8's flags for a file of that precision."""
    lines: dict[Precision, dict[str, list[str]]] = {
        "fp32": {"": []},
        "fp16": {"": ["--fp16"]},
        "int8": {"": ["--int8"], ", float layers in fp16": ["--int8", "--fp16"]},
        "int8-fp16": {},
    }
    return lines[precision]


def _since_8_6(options: PlanOptions) -> list[str]:
    level, hardware = options.optimisation_level, options.hardware_compatible
    return [
        *([] if level is None else [f"--builderOptimizationLevel={level}"]),
        *(["--versionCompatible"] if options.version_compatible else []),
        *([] if hardware is None else [f"--hardwareCompatibilityLevel={hardware}"]),
    ]


def _shapes(shapes: ShapeRange | None) -> list[str]:
    if shapes is None:
        return []
    named = {"--minShapes": shapes.min, "--optShapes": shapes.opt, "--maxShapes": shapes.max}
    return [f"{flag}={shlex.quote(shapes.input)}:{_by_x(shape)}" for flag, shape in named.items()]


def _by_x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _by_comma(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
