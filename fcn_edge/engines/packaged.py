"""Which packaged file runs fastest on this CPU."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from fcn_edge.choices import Execution, TargetOrAuto
from fcn_edge.device import Device, this_device
from fcn_edge.engines.base import EngineOptions
from fcn_edge.registry import PACKAGED_INT8, PACKAGED_NETWORK
from fcn_edge.targets import PACKAGES


def fastest_packaged(
    model: str | None, target: TargetOrAuto, options: EngineOptions
) -> tuple[str | None, EngineOptions]:
    """The packaged file and the execution that run fastest, if `model` and `options` do not set them.

    With OpenVINO: INT8 for None on a CPU with VNNI, otherwise bf16 if the CPU supports it. The mIoU of both is within
    the interval of fp32 (docs/benchmarks/int8.md). Other models and options that are set stay unchanged.
    """
    is_openvino = target in ("auto", "openvino") and find_spec(PACKAGES["openvino"][0]) is not None
    if options.execution is not None or options.provider != "cpu" or not is_openvino:
        return model, options
    file, execution = _fastest_on(this_device(), model)
    return file, replace(options, execution=execution)


def _fastest_on(device: Device, model: str | None) -> tuple[str | None, Execution | None]:
    if model is None and device.has_vnni:
        return PACKAGED_INT8, None
    return model, "bf16" if model in (None, PACKAGED_NETWORK) and device.has_bf16 else None
