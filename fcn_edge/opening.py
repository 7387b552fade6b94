"""Any model that a user names, opened as an engine."""

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
    """Open a network, ready to segment frames.

    Args:
        model: a checkpoint, an ONNX file, an engine directory, a packaged name or an `OnnxModel`. None takes the
            packaged file and execution that run fastest on this CPU.
        target: what runs it. "auto" takes an engine directory's own, PyTorch for a checkpoint, otherwise the first of
            OpenVINO and ONNX Runtime that is installed.
        spec: TOML file that describes an ONNX file made elsewhere (docs/reference/spec.md).
        recipe: name or file of the network of a plain state dict.
        options: threads, execution, frames in flight, schedule, …

    Returns:
        The engine; close it, or use it in a `with` block. It serves one thread at a time.

    Raises:
        BadInput: `model` is none of these, `spec` or `recipe` are given for a file that needs none, or options do
            not fit. BackendMissing: the target cannot run here. CheckFailed: the engine computes something else than
            a file that was made elsewhere.

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
