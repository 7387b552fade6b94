"""The manifest of an engine directory: parsed once, written once; a checksum detects later edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, with_checksum, write_json
from fcn_edge.engines.agreement import ReferenceCheck
from fcn_edge.engines.base import Execution, Layer
from fcn_edge.errors import BadInput
from fcn_edge.schema import StoredValue, from_mapping, to_mapping
from fcn_edge.spec import Precision
from fcn_edge.targets import TARGETS, Target

SCHEMA = 1
FILE, PLAN = "manifest.json", "model.plan"
CHECKSUM = "seal"  # its key: the SHA-256 of all other keys
OMIT_DEFAULT = {"omit_default": True}


@dataclass(frozen=True)
class BuildDevice(StoredValue):
    """The device that an engine was built for.

    cpu, instruction_sets: of a CPU. sm: compute capabilities of an NVIDIA plan in its compiler's format: a number
    (86 is 8.6), a list, text for a portable plan, None if unknown. memory_bytes, cuda_driver: of the GPU.
    """

    name: str = ""
    cpu: str | None = field(default=None, metadata=OMIT_DEFAULT)
    instruction_sets: tuple[str, ...] = field(default=(), metadata=OMIT_DEFAULT)
    sm: Any = field(default=None, metadata=OMIT_DEFAULT)
    memory_bytes: int | None = field(default=None, metadata=OMIT_DEFAULT)
    cuda_driver: str | None = field(default=None, metadata=OMIT_DEFAULT)


@dataclass(frozen=True)
class LayerReport(StoredValue):
    """What the TensorRT compiler reports about a plan; counts are None if it does not report layers.

    kinds: kernels by kind. requantizing: kernels that only scale, add, clip and quantize. depthwise_padded:
    convolutions compiled with padded channels. fp32_plan_bytes: of the fp32 network, for comparison.
    """

    kinds: Mapping[str, int] = field(default_factory=dict)
    kernels: int | None = field(default=None, metadata=OMIT_DEFAULT)
    convolutions_int8: int | None = field(default=None, metadata=OMIT_DEFAULT)
    convolutions_float: int | None = field(default=None, metadata=OMIT_DEFAULT)
    deconvolutions: int | None = field(default=None, metadata=OMIT_DEFAULT)
    pointwise: int | None = field(default=None, metadata=OMIT_DEFAULT)
    requantizing: int | None = field(default=None, metadata=OMIT_DEFAULT)
    weights_dequantized: int | None = field(default=None, metadata=OMIT_DEFAULT)
    depthwise_padded: int | None = field(default=None, metadata=OMIT_DEFAULT)
    plan_bytes: int = 0
    fp32_plan_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest(StoredValue):
    """An engine's target and files, its source network, and the measurements of its build.

    Args:
        model_sha256: of the network before quantization. onnx_sha256: of the file that was compiled.
        plan_sha256, plan_bytes: of the file that runs: the plan, or the ONNX file.
        precision: of the file. execution: arithmetic of its float parts. runtime: name and version.
        flags: build options of the runtime. layer_report, layers: what the compiler reports about the result.
        kept_fp32: node -> why half precision cannot represent it; range_images: number of images measured for it.
        kept_float: layers of an INT8 engine that compute in float. calibration: what its images cover, in sentences.
        refined: in files of earlier versions, how their weights were adjusted.
        miou, miou_reference: of the engine and of fp32, 0..1; None if not measured; miou_note has the reason.
        drop, interval: points of mIoU lost, and their 95 % interval.
        reference: agreement with the reference run of its file; None if the engine does not run on this machine.
        trtexec: tool or version -> the command that builds the same plan.
        path: the engine directory. seconds: build time; not in the file.
    """

    schema: int = SCHEMA
    name: str = ""
    model_sha256: str | None = None
    table_sha256: str | None = None
    spec_sha256: str | None = None
    target: Target
    precision: Precision | None = None
    execution: Execution | None = None
    runtime: str = ""
    device: BuildDevice = BuildDevice()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    layer_report: LayerReport | None = field(default=None, metadata={"key": "story"})
    layers: tuple[Layer, ...] = ()
    kept_fp32: Mapping[str, str] = field(default_factory=dict)
    range_images: int = 0
    calibration: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()
    placement: str | None = None
    refined: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    miou: float | None = None
    miou_reference: float | None = None
    drop: float | None = None
    interval: tuple[float, float] | None = None
    miou_note: str | None = None
    reference: ReferenceCheck | None = None
    plan_sha256: str | None = None
    plan_bytes: int | None = None
    onnx_sha256: str | None = None
    trtexec: Mapping[str, str] | None = None
    created: str = ""
    path: Path = field(default=Path(), compare=False)
    seconds: float | None = field(default=None, compare=False)

    @classmethod
    def from_file(cls, directory: Path | str) -> Manifest:
        """The manifest of an engine directory.

        Raises:
            BadInput: the folder is not an engine directory, or its manifest was edited.
        """
        file = Path(directory) / FILE
        if not file.is_file():
            raise BadInput(f"{directory}: not an engine directory (no {FILE}); build one with `build_engine`")
        return replace(cls.from_mapping(read_json(file), str(file)), path=Path(directory))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str) -> Manifest:
        """A manifest from its JSON object, of this or another version. where: its origin, for errors.

        Raises BadInput if the target is unknown, a value has the wrong type, or the checksum does not match.
        """
        if mapping.get("target") not in TARGETS:
            raise BadInput(f"{where}: unknown target {mapping.get('target')!r}; expected one of {', '.join(TARGETS)}")
        if CHECKSUM in mapping and dict(mapping) != with_checksum(mapping, CHECKSUM):
            raise BadInput(
                f"{where}: edited after it was written (checksum mismatch); restore it, or build the engine again"
            )
        return from_mapping(cls, {key: value for key, value in mapping.items() if key not in NOT_STORED}, where)

    def to_mapping(self) -> dict[str, Any]:
        """Its JSON object, with the checksum."""
        values = {key: value for key, value in to_mapping(self).items() if key not in NOT_STORED}
        return with_checksum(values, CHECKSUM)

    def save(self, directory: Path) -> Manifest:
        """Write it atomically into an engine directory; returns the manifest with that path."""
        write_json(directory / FILE, self.to_mapping())
        return replace(self, path=directory)

    @property
    def is_nvidia(self) -> bool:
        return self.target in ("tensorrt", "tensorrt-rtx")

    @property
    def plan(self) -> Path:
        """The TensorRT plan, if the target is TensorRT or TensorRT-RTX."""
        return self.path / PLAN

    @property
    def onnx(self) -> Path:
        """The ONNX file in the directory: the file that runs, or that the plan was compiled from."""
        return self.path / (f"model.{self.precision}.onnx" if self.is_nvidia else "model.onnx")


NOT_STORED = ("path", "seconds")  # fields of a Manifest


def is_engine_directory(folder: Path) -> bool:
    """Whether fcn-edge built this folder, even if the rest of its manifest cannot be parsed."""
    file = folder / FILE
    return file.is_file() and "plan_sha256" in read_json(file)
