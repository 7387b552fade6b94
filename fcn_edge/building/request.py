"""What `build_engine` is asked for, with its defaults filled in, and refused before anything is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcn_edge.calibration.budget import Budget
from fcn_edge.calibration.images import ImagesLike
from fcn_edge.calibration.methods import Method
from fcn_edge.calibration.placement import PlacementName
from fcn_edge.choices import BuildPrecision, BuildTarget
from fcn_edge.data import Dataset
from fcn_edge.engines import EngineOptions, Target, available_targets, require_engine_directory, require_package
from fcn_edge.engines.trt.plan_options import PlanOptions
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import NOT_FOR_NVIDIA, require_signed_pairs
from fcn_edge.outputs import require_apart, require_outputs

ON_TARGET: dict[Target, tuple[BuildPrecision, ...]] = {
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8", "int8-fp16"),
    "tensorrt": ("fp32", "fp16", "int8", "int8-fp16"),
}


def chosen_target(target: BuildTarget) -> Target:
    """The target of that name; "auto" is the first that can build *and* run here.

    TensorRT-RTX compiles on any machine but runs only on an RTX GPU, so "auto" passes it by where there is none.

    Raises:
        BadInput: no target to build for. BackendMissing: no engine is installed.
    """
    if target != "auto":
        if target not in ON_TARGET:
            raise BadInput(
                f"`target` {target}: engines are built for {', '.join(ON_TARGET)}; others open the file itself"
            )
        return target
    for name in available_targets():
        if name in ("openvino", "onnxruntime") or (name == "tensorrt" and _builds_tensorrt()):
            return name
    raise BackendMissing("no engine is installed; pip install 'fcn-edge[cpu]' or 'fcn-edge[gpu]'")


def default_precision(target: Target) -> BuildPrecision:
    """fp16 on a GPU, fp32 on a CPU."""
    return "fp16" if target in ("tensorrt", "tensorrt-rtx") else "fp32"


def _builds_tensorrt() -> bool:
    from fcn_edge.engines.trt import require_target

    try:
        require_target("tensorrt")
    except FcnEdgeError:
        return False
    return True


@dataclass(frozen=True)
class BuildRequest:
    """The arguments of `build_engine`, target and precision chosen; see there."""

    out: Path
    target: Target
    precision: BuildPrecision
    calib: ImagesLike | None = None
    calib_images: int | None = None
    method: Method | None = None
    placement: PlacementName | None = None
    max_miou_drop: float | None = None
    plan: PlanOptions = PlanOptions()  # noqa: RUF009 - frozen
    threads: int | None = None
    allow_overlap: bool = False

    @property
    def engine_options(self) -> EngineOptions:
        """Of the engine that runs here."""
        return EngineOptions("bf16" if self.precision == "bf16" else "f32", self.threads)

    @property
    def is_nvidia(self) -> bool:
        return self.target in ("tensorrt", "tensorrt-rtx")

    @property
    def measured_on(self) -> Target:
        """Where accuracy is measured: the target, or where that is not run here the reference run of the same file."""
        return "reference" if self.is_nvidia else self.target

    @property
    def budget_file(self) -> Path:
        """Where what a search within a budget has measured is kept."""
        return self.out.with_name(f"{self.out.name}.budget.json")

    def budget(self, data: Dataset | None) -> Budget | None:
        """What INT8 may lose; None where nothing is searched for."""
        if self.max_miou_drop is None or data is None or not self.precision.startswith("int8"):
            return None
        return Budget(self.max_miou_drop, data, self.measured_on, self.engine_options, self.budget_file)

    def require_possible(self, *, has_data: bool) -> None:
        """Raises BadInput for arguments that do not fit together, BackendMissing where the target cannot be built."""
        if self.precision not in ON_TARGET[self.target]:
            raise BadInput(f"{self.target} has no {self.precision}; it has {', '.join(ON_TARGET[self.target])}")
        self._require_all_used()
        if self.target in ("tensorrt", "tensorrt-rtx"):
            from fcn_edge.engines.trt import require_target

            require_target(self.target)
        require_package(self.target)
        if self.max_miou_drop is not None and not has_data:
            raise BadInput("`max_miou_drop` is measured on labelled images: pass `data`")

    def _require_all_used(self) -> None:
        """Raises BadInput for what was asked for and would be ignored."""
        unused: dict[str, object] = {}
        if not self.precision.startswith("int8"):
            unused = {"method": self.method, "placement": self.placement}
        if self.precision in ("fp32", "bf16"):
            unused = {"calib": self.calib, "calib_images": self.calib_images, **unused}
        if idle := [f"`{name}`" for name, value in unused.items() if value is not None]:
            raise BadInput(f'{" and ".join(idle)}: only for INT8; set `precision="int8"`, or leave it out')
        if self.calib_images is not None and self.calib is None:
            raise BadInput("`calib_images` counts those of `calib`; pass `calib`, or leave it out")
        if self.placement == "x86" and self.is_nvidia:
            raise BadInput(f"`placement` x86 {NOT_FOR_NVIDIA}; take any or nvidia for {self.target}")
        if self.target in ("tensorrt", "tensorrt-rtx"):
            self.plan.require_target(self.target)
        elif self.plan.sm:
            raise BadInput(f"`sm` is for tensorrt-rtx; {self.target} compiles for the machine that it runs on")
        elif self.plan != PlanOptions():
            raise BadInput(f"builder options are for the TensorRT targets; {self.target} has none, leave them out")

    def require_outputs(self, inputs: Sequence[Path | str]) -> None:
        """Raises BadInput where `out` or what lies beside it may not be replaced, or is read."""
        if self.out.exists():
            require_engine_directory(self.out)
        require_apart([self.out], inputs, whole=True)
        require_outputs([self.budget_file] if self.max_miou_drop is not None else [], inputs)
        require_apart([self.plan.timing_cache] if self.plan.timing_cache else [], inputs)

    def require_as_it_is(self, model: OnnxModel) -> None:
        """Raises BadInput where a file that is quantized or halved already would have to be made again."""
        path, precision = model.path, model.precision
        if precision != self.precision:
            raise BadInput(f"{path}: is {precision} already; {self.precision} is made from the fp32 file")
        if self.is_nvidia:
            require_signed_pairs(model.graph, str(path))
        if self.calib is not None:
            raise BadInput(
                f"{path}: is {precision} already, with scales of its own; leave `calib` out, or give the fp32 file"
            )
        if self.max_miou_drop is not None:
            raise BadInput(f"{path}: is {precision} already, and a drop is measured against fp32; give the fp32 file")
