"""ONNX Runtime engines, and taps: intermediate tensors of a graph run without optimisation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcn_edge.engines.base import Engine, EngineOptions, Execution, Place, Take
from fcn_edge.engines.ort_providers import CPU, gpu_session
from fcn_edge.errors import BackendMissing, BadInput, NotTaken
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import require_signed_pairs
from fcn_edge.spec import Precision
from fcn_edge.targets import Provider, Target

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

REASON_LENGTH = 400


class OrtEngine(Engine):
    """An ONNX file in a session of the requested provider; raises if the session uses another one."""

    target: Target = "onnxruntime"
    optimises = True

    def __init__(self, model: OnnxModel, options: EngineOptions) -> None:
        _require_f32(options)
        _require_pairs_of_provider(model.graph, model.path.name, options)
        super().__init__(
            model.spec,
            precision=model.precision,
            execution="f32",
            path=model.path,
            threads=options.threads,
            model_sha256=model.sha256_later(),
        )
        self.runtime = _runtime(options)
        self._session = _session(
            model.runtime_source(),
            model.path.name,
            threads=options.threads,
            optimise=self.optimises,
            fuse_pairs=self.precision != "int8-fp16",
            provider=options.provider,
        )
        self._input = self._session.get_inputs()[0].name

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        result: np.ndarray = _run(self._session, {self._input: x}, self.path.name)[0]
        return result

    def _release(self) -> None:
        del self._session


class OrtGraph:
    """A graph with any inputs and outputs. precision: of the file that it is part of."""

    target: Target = "onnxruntime"
    execution: Execution = "f32"

    def __init__(self, model: ModelProto, name: str, options: EngineOptions, precision: Precision) -> None:
        _require_f32(options)
        _require_pairs_of_provider(model.graph, name, options)
        self.runtime, self._name = _runtime(options), name
        self._session = _session(
            bytes(model.SerializeToString()),
            name,
            threads=options.threads,
            fuse_pairs=precision != "int8-fp16",
            provider=options.provider,
        )
        self._inputs = [value.name for value in self._session.get_inputs()]

    def run(self, arrays: Sequence[np.ndarray], take: Take) -> list[np.ndarray]:
        """Outputs for inputs, both in the graph's order, in arrays allocated by ONNX Runtime."""
        return list(_run(self._session, dict(zip(self._inputs, arrays, strict=True)), self._name))


class ReferenceEngine(OrtEngine):
    """The reference semantics of a file: node by node, nothing fused, Q/DQ pairs in float arithmetic.

    Slow. All other engines of the same file are validated against it.
    """

    target = "reference"
    optimises = False


class Taps:
    """All outputs of a serialized graph, run with optimisation disabled."""

    def __init__(self, model: bytes, name: str) -> None:
        self._session, self._name = _session(model, name, optimise=False), name
        self._input = self._session.get_inputs()[0].name
        self.names: Sequence[str] = [output.name for output in self._session.get_outputs()]

    def run(self, x: np.ndarray) -> Mapping[str, np.ndarray]:
        """Output name -> array for one input."""
        return self.run_with({self._input: x})

    def run_with(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Output name -> array. arrays: all inputs by name; other names are ignored."""
        feeds = {value.name: arrays[value.name] for value in self._session.get_inputs()}
        return dict(zip(self.names, _run(self._session, feeds, self._name), strict=True))


def _run(session: Any, feeds: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """All outputs. Raises BadInput with ONNX Runtime's reason if a node fails."""
    try:
        return list(session.run(None, dict(feeds)))
    except Exception as error:  # its pybind exceptions share no base class but Exception
        raise BadInput(f"{name}: ONNX Runtime cannot run this file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """ONNX Runtime's error message without its code prefix."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)[:REASON_LENGTH]


def _runtime(options: EngineOptions) -> str:
    import onnxruntime

    suffix = "" if options.provider == "cpu" else f" with {options.provider}"
    return f"onnxruntime {onnxruntime.__version__}{suffix}"


def _require_f32(options: EngineOptions) -> None:
    if options.execution not in (None, "f32"):
        raise BadInput(f"ONNX Runtime executes f32, not {options.execution}; OpenVINO may support it")


def _require_pairs_of_provider(graph: GraphProto, name: str, options: EngineOptions) -> None:
    if options.provider in ("tensorrt", "nv-tensorrt-rtx"):
        require_signed_pairs(graph, name)


def _session(
    model: Path | bytes,
    name: str,
    *,
    threads: int | None = None,
    optimise: bool = True,
    fuse_pairs: bool = True,
    provider: Provider = "cpu",
) -> Any:
    """fuse_pairs: fuse Q/DQ pairs into integer nodes. If scales are half precision, ONNX Runtime (1.31) then also
    quantizes biases in half precision, where they overflow: a wrong class map without a warning."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # no log: errors are raised, and its warnings do not name the file
    if threads is not None:
        options.intra_op_num_threads = threads
    if not fuse_pairs:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    if provider != "cpu":
        return gpu_session(source, name, options, provider)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=[CPU])
    except Exception as error:  # its pybind exceptions share no base class but Exception
        raise NotTaken(f"{name}: ONNX Runtime cannot load this file ({_reason(error)})") from error
    if session.get_providers() != [CPU]:
        raise BackendMissing(f"ONNX Runtime selected {session.get_providers()} instead of {CPU}")
    return session
