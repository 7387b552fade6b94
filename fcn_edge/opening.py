"""Open any model, by path or packaged name, as an engine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from fcn_edge import engines
from fcn_edge.choices import TargetOrAuto
from fcn_edge.engines.base import Engine, EngineOptions
from fcn_edge.exporting.runnable import runnable_file
from fcn_edge.onnxmodel import OnnxModel


def open_engine(
    model: str | Path | OnnxModel | None = None,
    *,
    target: TargetOrAuto = "auto",
    spec: str | Path | None = None,
    recipe: str | None = None,
    options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
) -> Engine:
    """Open a network for segmenting frames.

    Args:
        model: a checkpoint, an ONNX file, an engine directory, a packaged name or an `OnnxModel`. None selects the
            packaged file and execution that run fastest on this CPU.
        target: the runtime. "auto" is the target of an engine directory, PyTorch for a checkpoint, otherwise the first
            of OpenVINO and ONNX Runtime that is installed.
        spec: TOML file that describes an ONNX file not written by fcn-edge (docs/reference/spec.md).
        recipe: name or file of the recipe that a plain state dict was trained with.
        options: threads, execution, frames in flight, schedule, …

    Returns:
        The engine; close it, or use it in a `with` block. Use it from one thread at a time.

    Raises:
        BadInput: `model` is none of these, `spec` or `recipe` is set for a file that does not need it, or options do
            not fit. BackendMissing: the target cannot run here. CheckFailed: the engine's result differs from the
            reference run of a file not written by fcn-edge.

    Example:
        with open_engine("engine") as net:
            result = net.segment(image)
    """
    is_ready = model is None or isinstance(model, OnnxModel)
    if is_ready and spec is None and recipe is None:
        return engines.open_engine(model, target=target, options=options)
    with ExitStack() as ends:
        named = model.path if isinstance(model, OnnxModel) else model
        path = ends.enter_context(runnable_file(named, spec=None if spec is None else Path(spec), recipe=recipe))
        engine = engines.open_engine(path, target=target, options=options)
        engine.close_with(ends.pop_all())
    return engine
