"""Engine directories with a plan in them, as build-engine writes them on a machine that has the GPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import sha256_of_file, write_json
from fcn_edge.engines.manifest import BuildDevice, Manifest
from fcn_edge.engines.trt import PlanOptions
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.schema import to_mapping


def plan_directory(
    out: Path,
    onnx: Path,
    plan: bytes,
    *,
    target: str = "tensorrt",
    runtime: str = "tensorrt 10.3.0",
    sm: Any = 86,
    with_onnx: bool = True,
    flags: dict[str, Any] | None = None,
) -> Path:
    """`out`, with the plan, its manifest and its spec; with_onnx: and the file that it was compiled from."""
    out.mkdir(parents=True)
    contract = contract_from_onnx(onnx)
    precision = contract.quantization.precision
    (out / "model.plan").write_bytes(plan)
    if with_onnx:
        shutil.copy(onnx, out / f"model.{precision}.onnx")
    write_json(out / "spec.json", to_mapping(contract.spec))
    Manifest(
        name=contract.spec.name,
        target=target,
        precision=precision,
        execution="f16" if precision.endswith("fp16") else "f32",
        runtime=runtime,
        device=BuildDevice("a GPU", sm=sm),
        spec_sha256=contract.spec.sha256,
        flags={**PlanOptions().flags(), **(flags or {})},
        plan_bytes=len(plan),
        plan_sha256=sha256_of_file(out / "model.plan"),
        onnx_sha256=sha256_of_file(onnx),
    ).save(out)
    return out
