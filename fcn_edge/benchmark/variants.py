"""What is measured: one file on one target in one execution, by one schedule."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fcn_edge.device import this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES, Target, available_targets, open_engine
from fcn_edge.engines.base import Execution
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.records import precision_label
from fcn_edge.schedule import EVERY

Label = Literal["fp32", "bf16", "fp16", "int8", "int8-fp16"]  # of a variant, as people say its precision
LABELS: tuple[Label, ...] = get_args(Label)


@dataclass(frozen=True)
class Variant:
    """One file on one target in one execution, its stages run by a schedule.

    Args:
        path: an ONNX file with a contract, a checkpoint or an engine directory.
        schedule: as in `EngineOptions`.
    """

    path: Path
    target: Target
    execution: Execution
    schedule: str = EVERY


def variants_from_files(
    files: Sequence[Path], targets: Sequence[Target] = (), precisions: Collection[Label] = ()
) -> list[Variant]:
    """Every file on every CPU target that is installed; fp32 files on OpenVINO in bf16 as well.

    A checkpoint runs in PyTorch, an engine directory as it was built. precisions: only these.

    Raises BadInput where nothing is left to measure.
    """
    found = [variant for path in files for variant in _variants_of(path, targets, precisions)]
    if not found:
        raise BadInput(f"none of the files runs in {', '.join(precisions)} here; `calib` makes int8")
    return found


def with_schedules(variants: Sequence[Variant], schedules: Sequence[str]) -> list[Variant]:
    """The variants, and behind each one on OpenVINO or ONNX Runtime itself by each schedule."""
    clocked = ("openvino", "onnxruntime")
    return [
        replace(variant, schedule=schedule)
        for variant in variants
        for schedule in (EVERY, *(schedules if variant.target in clocked else ()))
    ]


def _variants_of(path: Path, targets: Sequence[Target], precisions: Collection[Label]) -> list[Variant]:
    if path.is_dir():
        with open_engine(path) as engine:
            found, precision = [Variant(path, engine.target, engine.execution)], str(engine.precision)
    elif path.suffix.lower() in CHECKPOINT_SUFFIXES:
        found, precision = [Variant(path, "pytorch", "f32")], "fp32"
    else:
        found, precision = _of_onnx(path, targets), contract_from_onnx(path).quantization.precision
    return [v for v in found if not precisions or precision_label(precision, v.execution) in precisions]


def _of_onnx(path: Path, targets: Sequence[Target]) -> list[Variant]:
    chosen = targets or [target for target in available_targets() if target in ("openvino", "onnxruntime")]
    if not chosen:
        raise BackendMissing("no engine is installed to measure: pip install 'fcn-edge[cpu]'")
    variants = [Variant(path, target, "f32") for target in chosen]
    if "openvino" in chosen and has_bf16() and contract_from_onnx(path).quantization.precision == "fp32":
        variants.insert(list(chosen).index("openvino") + 1, Variant(path, "openvino", "bf16"))
    return variants


def has_bf16() -> bool:
    """Whether this CPU computes in bf16."""
    return this_device().has_bf16
