"""Open engines by target name. A vendor's package is imported only when its target is used."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fcn_edge.engines.base import Engine, EngineOptions
from fcn_edge.engines.manifest import Manifest, is_engine_directory
from fcn_edge.engines.packaged import fastest_packaged
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError, NotTaken
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.registry import PACKAGED_INT8, PACKAGED_NETWORK, packaged_file
from fcn_edge.schedule import EVERY
from fcn_edge.schema import nearest
from fcn_edge.targets import PACKAGES, TARGETS, Target

__all__ = ["PACKAGES", "Engine", "EngineOptions", "Target", "available_targets", "open_engine"]

WRITTEN_HERE = ("manifest.json", "spec.json", "table.json", "model.*")  # everything in an engine directory
CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def open_engine(
    model: str | Path | OnnxModel | None = None,
    *,
    target: Target | Literal["auto"] = "auto",
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
) -> Engine:
    """Open a checkpoint, an ONNX file with a contract, an engine directory or the packaged network.

    model: a path or a packaged name; None selects the packaged file and execution that run fastest on this CPU.
    target "auto": the target of the engine directory, PyTorch for a checkpoint, otherwise the first of OpenVINO and
    ONNX Runtime that is installed; ONNX Runtime if a provider is set.

    An ONNX file not written by fcn-edge is compared with ONNX Runtime's result with optimisation off.

    Raises:
        BadInput: the file is none of these. BackendMissing: the target cannot run here. CheckFailed: the engine's
            result differs from the reference run of a file not written by fcn-edge.
    """
    if model is None:
        model, options = fastest_packaged(None, target, options)
    path = model.path if isinstance(model, OnnxModel) else model_path(model)
    if not isinstance(model, OnnxModel):
        if path.is_dir():
            return _open_directory(path, target, options)
        if path.suffix.lower() in CHECKPOINT_SUFFIXES:
            if target not in ("auto", "pytorch"):
                raise BadInput(f"{path}: a checkpoint runs in PyTorch; export it first to run on {target}")
            return engine_on_target(path, "pytorch", options)
    if target == "pytorch":
        raise BadInput(f"{path}: PyTorch runs checkpoints; an ONNX file runs on openvino or onnxruntime")
    chosen = _first_runnable(options) if target == "auto" else target
    _require_fit(path, chosen, options)
    net = OnnxModel.of(model if isinstance(model, OnnxModel) else path)
    engine = engine_on_target(net, chosen, options)
    is_whole = target in ("auto", "openvino", "onnxruntime") and options.schedule == EVERY
    if is_whole and net.contract.original_sha256:
        _require_computed_right(engine, net, options)
    return engine


def _require_computed_right(engine: Engine, model: OnnxModel, options: EngineOptions) -> None:
    """Compare the engine of a file not written by fcn-edge with the reference run; close it if they differ."""
    from fcn_edge.engines.reference_check import require_as_reference

    try:
        require_as_reference(engine, model, options)
    except FcnEdgeError:
        engine.close()
        raise


def model_path(model: str | Path | None) -> Path:
    """The file or folder of MODEL: None and the packaged names give the packaged ONNX files."""
    if model is None or str(model) == PACKAGED_NETWORK:
        return packaged_file(".onnx")
    if str(model) == PACKAGED_INT8:
        return packaged_file(".int8.onnx")
    path = Path(model)
    if not path.exists():
        raise BadInput(
            f"{model}: no such file; MODEL is a checkpoint, an ONNX file, an engine directory or a packaged name"
        )
    return path


def engine_on_target(model: OnnxModel | Path, target: Target, options: EngineOptions) -> Engine:
    """Compile and open an ONNX file, or a checkpoint for "pytorch"."""
    _require_fit(model if isinstance(model, Path) else model.path, target, options)
    if target == "pytorch":
        from fcn_edge.engines.pyt import TorchEngine

        return TorchEngine(model if isinstance(model, Path) else model.path, options)
    net = OnnxModel.of(model)
    if options.schedule != EVERY:
        return _clockwork(net, target, options)
    if target in ("tensorrt", "tensorrt-rtx"):
        from fcn_edge.engines.trt import engine_from_onnx

        return engine_from_onnx(net, target, options)
    if target == "openvino":
        return _openvino(net, options)
    from fcn_edge.engines.ort import OrtEngine, ReferenceEngine

    return ReferenceEngine(net, options) if target == "reference" else OrtEngine(net, options)


def _require_fit(path: Path, target: Target, options: EngineOptions) -> None:
    """Raises BadInput if options, target and file type do not fit together, BackendMissing without the package."""
    if options.provider != "cpu" and target != "onnxruntime":
        raise BadInput(f'{path}: provider {options.provider} needs ONNX Runtime; pass `target="onnxruntime"`')
    if options.schedule != EVERY and target not in ("openvino", "onnxruntime"):
        raise BadInput(f"schedule {options.schedule}: schedules run on openvino and onnxruntime, not on {target}")
    if target not in ("tensorrt", "tensorrt-rtx"):  # they report everything that is missing in one error
        require_package(target)
    elif path.suffix == ".plan":
        raise BadInput(f"{path}: a plan file has no class names or sizes; open its engine directory instead")


def _openvino(model: OnnxModel, options: EngineOptions) -> Engine:
    """Raises NotTaken with OpenVINO's reason; suggests ONNX Runtime if it can load the file."""
    from fcn_edge.engines.ov import OpenVinoEngine

    try:
        return OpenVinoEngine(model, options)
    except NotTaken as error:
        if not _is_taken_by_onnxruntime(model):
            raise
        raise NotTaken(f'{error}; ONNX Runtime can run it: pass `target="onnxruntime"`') from error


def _is_taken_by_onnxruntime(model: OnnxModel) -> bool:
    if find_spec(PACKAGES["onnxruntime"][0]) is None:
        return False
    from fcn_edge.engines.ort import OrtEngine

    try:
        OrtEngine(model, EngineOptions()).close()
    except BadInput:
        return False
    return True


def _clockwork(model: OnnxModel, target: Target, options: EngineOptions) -> Engine:
    from fcn_edge.engines.clockwork import ClockworkEngine

    if target == "openvino":
        from fcn_edge.engines.ov import OpenVinoGraph

        return ClockworkEngine(model, options, lambda graph, name, _: OpenVinoGraph(graph, name, options))
    from fcn_edge.engines.ort import OrtGraph

    return ClockworkEngine(model, options, lambda graph, name, kind: OrtGraph(graph, name, options, kind))


def available_targets() -> tuple[Target, ...]:
    """Targets whose package is installed. Does not check for a GPU."""
    return tuple(target for target in TARGETS if find_spec(PACKAGES[target][0]) is not None)


def require_package(target: Target) -> None:
    """Raises BadInput for an unknown target, BackendMissing if its package is not installed."""
    if target not in PACKAGES:
        raise BadInput(f"unknown target {target!r}{nearest(target, TARGETS)}")
    module, extra = PACKAGES[target]
    if find_spec(module) is None:
        raise BackendMissing(f"{target}: the package {module} is not installed; pip install 'fcn-edge[{extra}]'")


def _first_runnable(options: EngineOptions) -> Target:
    if options.provider != "cpu":
        return "onnxruntime"
    for target in ("openvino", "onnxruntime"):
        if find_spec(PACKAGES[target][0]) is not None:
            return target
    raise BackendMissing("no engine is installed; pip install 'fcn-edge[cpu]' or 'fcn-edge[gpu]'")


def _open_directory(path: Path, target: Target | Literal["auto"], options: EngineOptions) -> Engine:
    manifest = Manifest.from_file(path)
    built_for = manifest.target
    if target not in ("auto", built_for):
        raise BadInput(f'{path}: built for {built_for}, not {target}; build it again with `target="{target}"`')
    options = replace(options, execution=options.execution or manifest.execution)
    is_plain = options.provider == "cpu" and options.schedule == EVERY
    if built_for in ("tensorrt", "tensorrt-rtx") and is_plain:
        from fcn_edge.engines.trt import engine_from_directory

        return engine_from_directory(manifest, options)
    return engine_on_target(path / "model.onnx", built_for, options)


def require_engine_directory(out: Path) -> None:
    """Raises BadInput unless `out` holds an engine directory and nothing else, so that it may be replaced."""
    if not is_engine_directory(out):
        raise BadInput(f"{out}: exists and is not an engine directory; choose another name")
    others = [path.name for path in sorted(out.iterdir()) if not any(path.match(name) for name in WRITTEN_HERE)]
    if others:
        raise BadInput(
            f"{out}: this engine directory also contains {others[0]}; move that file, or choose another name"
        )
