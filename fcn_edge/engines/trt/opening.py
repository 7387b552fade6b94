"""Open an engine directory or ONNX file: check the manifest, then this machine, then load the plan."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import require_file, sha256_of_file
from fcn_edge.engines.base import FRAMES_IN_FLIGHT, EngineOptions
from fcn_edge.engines.manifest import Manifest
from fcn_edge.engines.trt.cache import cached_plan
from fcn_edge.engines.trt.cuda import Cuda, open_cuda
from fcn_edge.engines.trt.execution import PlanEngine
from fcn_edge.engines.trt.network import RunnablePlan
from fcn_edge.engines.trt.plan import plan_from_onnx
from fcn_edge.engines.trt.plan_options import NvidiaTarget, PlanOptions, ShapeRange, options_from_flags
from fcn_edge.engines.trt.provenance import Here, StoredPlan
from fcn_edge.engines.trt.vendor import missing_gpu, vendor_module
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.spec import FREE_SIZE_STEP, ModelSpec, Precision, spec_from_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PlanMachine:
    """The vendor's module and one GPU, which the engine then owns."""

    target: NvidiaTarget
    trt: Any
    cuda: Cuda

    @property
    def here(self) -> Here:
        return Here(f"{self.target} {self.trt.__version__}", self.cuda.gpu)


def engine_from_directory(manifest: Manifest, options: EngineOptions) -> PlanEngine:
    """Open an engine directory. A plan for another GPU or TensorRT is rebuilt from the directory's ONNX file.

    Raises:
        BadInput: plan, spec and manifest do not match; the plan contains host code and `allow_host_code` is not
            set; or the plan is not for this machine and the ONNX file is missing.
        BackendMissing: a package, the driver or the GPU is missing.
    """
    stored = StoredPlan(manifest)
    stored.require_whole()
    spec = _spec_of(stored)
    stored.require_allowed(options.allow_host_code)
    machine = _machine(stored.target, manifest.path, onnx=stored.onnx)
    try:
        plan = _fitting_plan(stored, machine)
    except BaseException:
        machine.cuda.close()
        raise
    return _engine(machine, options, _runnable(plan, machine, spec, stored.precision, stored))


def engine_from_onnx(model: OnnxModel, target: NvidiaTarget, options: EngineOptions) -> PlanEngine:
    """Compile an ONNX file for this GPU, or get its plan from the cache, and open it.

    Raises:
        BadInput: not a file of fcn-edge, or it does not compile. BackendMissing: as `engine_from_directory`.
    """
    shapes, precision = _free_range(model), model.precision
    machine = _machine(target, model.path, onnx=model.path)
    try:
        plan = _plan_for(model, PlanOptions(shapes=shapes), machine)
    except BaseException:
        machine.cuda.close()
        raise
    return _engine(machine, options, _runnable(plan, machine, model.spec, precision, model.path))


def _free_range(model: OnnxModel) -> ShapeRange | None:
    """For a network of free size: up to four frames of up to twice its default height and width."""
    if not model.spec.dynamic:
        return None
    height, width = model.spec.preprocess.size
    smallest, largest = (1, FREE_SIZE_STEP, FREE_SIZE_STEP, 3), (4, 2 * height, 2 * width, 3)
    return ShapeRange(model.inputs[0].name, smallest, (1, height, width, 3), largest)


def _runnable(
    plan: bytes, machine: _PlanMachine, spec: ModelSpec, precision: Precision, home: Path | StoredPlan
) -> RunnablePlan:
    """home: the engine directory of the plan, or the ONNX file that it was compiled from."""
    return RunnablePlan(
        plan,
        machine.target,
        spec,
        precision,
        execution="f16" if precision.endswith("fp16") else "f32",
        path=home.file if isinstance(home, StoredPlan) else home,
        allow_host_code=isinstance(home, StoredPlan) and home.has_host_code,
    )


def _engine(machine: _PlanMachine, options: EngineOptions, plan: RunnablePlan) -> PlanEngine:
    if options.execution not in (None, plan.execution):
        machine.cuda.close()
        raise BadInput(
            f"{plan.path}: this {plan.precision} file executes {plan.execution} on {plan.target},"
            f" not {options.execution}"
        )
    in_flight = options.in_flight or FRAMES_IN_FLIGHT
    return PlanEngine(plan, machine.trt, machine.cuda, in_flight=in_flight, cuda_graph=options.cuda_graph)


def _machine(target: NvidiaTarget, path: Path, *, onnx: Path) -> _PlanMachine:
    """The vendor's module and the GPU. Raises BackendMissing with everything that is missing and an alternative."""
    lacks = []
    try:
        trt = vendor_module(target)
    except BackendMissing as error:
        lacks.append(str(error))
    if missing := missing_gpu():
        lacks.append(missing)
    if not lacks:
        try:
            return _PlanMachine(target, trt, open_cuda())
        except BackendMissing as error:
            lacks.append(str(error))
    without_gpu = f". Without a GPU run the same network with `open_engine({str(onnx)!r}, target='openvino')`"
    instead = without_gpu if onnx.is_file() else ""
    raise BackendMissing(f"{path}: cannot run on this machine: {'; '.join(lacks)}{instead}")


def _spec_of(stored: StoredPlan) -> ModelSpec:
    file = require_file(stored.path / "spec.json", "the spec of the network")
    spec = spec_from_json(file.read_text(encoding="utf-8"), str(file))
    if spec.sha256 != stored.manifest.spec_sha256:
        raise BadInput(f"{file}: not the spec of the network in manifest.json; rebuild: {stored.rebuild_line}")
    return spec


def _fitting_plan(stored: StoredPlan, machine: _PlanMachine) -> bytes:
    misfit = stored.misfit(machine.here)
    if not misfit:
        return stored.file.read_bytes()
    if not stored.onnx.is_file():
        raise BadInput(f"{misfit}, and its ONNX file is missing. Rebuild it here: {stored.rebuild_line}")
    if sha256_of_file(stored.onnx) != stored.manifest.onnx_sha256:
        raise BadInput(f"{misfit}, and {stored.onnx.name} is not the file that it was built from: restore that file")
    log.warning("%s; rebuilding it once for this machine; the plan is kept in the cache", misfit)
    known = getattr(machine.trt, "ComputeCapability", None)
    sm = (machine.cuda.gpu.sm,) if hasattr(known, f"SM{machine.cuda.gpu.sm}") else ()
    options = replace(options_from_flags(stored.manifest.flags, sm=sm), version_compatible=False)
    return _plan_for(OnnxModel.from_file(stored.onnx), options, machine)


def _plan_for(model: OnnxModel, options: PlanOptions, machine: _PlanMachine) -> bytes:
    """The plan of that network for this machine, from the cache or built."""
    gpu = machine.cuda.gpu
    key = {
        "onnx_sha256": model.sha256,
        "runtime": machine.here.runtime,
        "gpu": gpu.name,
        "sm": gpu.sm,
        "flags": options.flags(),
    }

    def build() -> bytes:
        log.warning("%s: compiling for %s with %s, which may take minutes", model.path, gpu.name, machine.here.runtime)
        return plan_from_onnx(model, target=machine.target, options=options).data

    return cached_plan(key, build)
