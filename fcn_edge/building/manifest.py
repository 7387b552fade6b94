"""The manifest of a build, from what its steps gave."""

from __future__ import annotations

from datetime import datetime, timezone

from fcn_edge.accuracy import Accuracy
from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.building.request import BuildRequest
from fcn_edge.calibration import Calibrated
from fcn_edge.calibration.images import shared_images
from fcn_edge.compilation import Compiled, execution_of
from fcn_edge.data import Dataset
from fcn_edge.engines.agreement import ReferenceCheck
from fcn_edge.engines.manifest import Manifest
from fcn_edge.onnxmodel import OnnxModel


def built_manifest(
    request: BuildRequest,
    fp32: OnnxModel,
    network: Calibrated,
    engine: Compiled,
    check: ReferenceCheck | None,
    accuracy: Accuracy,
    data: Dataset | None,
) -> Manifest:
    """What was built, of what, and what was measured on `data`."""
    spec, quantization = network.model.spec, network.quantization
    return Manifest(
        name=spec.name,
        model_sha256=fp32.sha256,
        table_sha256=quantization.table_sha256 or None,
        spec_sha256=spec.sha256,
        target=request.target,
        precision="fp32" if request.precision == "bf16" else request.precision,
        execution=execution_of(request.precision),
        runtime=engine.runtime,
        device=engine.device,
        shapes={"input": (1, *spec.preprocess.size, 3)},
        flags=engine.flags,
        layer_report=engine.layer_report,
        layers=engine.layers,
        kept_fp32=dict(network.left_fp32),
        range_images=quantization.range_images,
        calibration=network.coverage.verdict if network.coverage else (),
        kept_float=(*quantization.kept_float, *engine.kept_float),
        placement=quantization.placement or None,
        refined=quantization.refined,
        warnings=(*engine.warnings, *accuracy.warnings, *fp32.notes, *_warnings(network, data)),
        miou=accuracy.miou,
        miou_reference=accuracy.reference,
        drop=accuracy.drop,
        interval=accuracy.interval,
        miou_note=_miou_note(request, accuracy),
        reference=check,
        plan_sha256=sha256_of_file(engine.file),
        plan_bytes=engine.file.stat().st_size,
        onnx_sha256=network.model.sha256,
        trtexec=engine.trtexec,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _warnings(network: Calibrated, data: Dataset | None) -> list[str]:
    warnings = []
    if network.quantization.precision.endswith("fp16") and not network.quantization.range_images:
        warnings.append("half precision's range was not checked: pass real images as `calib`")
    if network.table is not None and data is not None and (shared := shared_images(network.table.hashes, data)):
        warnings.append(f"{len(shared)} calibration images are also in {data.name}: its mIoU is optimistic")
    return warnings


def _miou_note(request: BuildRequest, accuracy: Accuracy) -> str | None:
    if accuracy.miou is None:
        return "not measured: `data` was not given"
    reference = "of the reference run of the same file: this engine was compiled ahead of time and was not run"
    return reference if request.is_nvidia else None
