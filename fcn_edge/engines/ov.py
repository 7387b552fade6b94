"""OpenVINO on CPUs. Execution is set and read back: the default is bf16 on CPUs that support it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fcn_edge.engines.base import Engine, EngineOptions, Execution, Layer, Place, Take, filled
from fcn_edge.errors import BackendMissing, BadInput, NotTaken
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.onnxpairs import model_with_shifted_pairs
from fcn_edge.targets import Target

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)
REASON_LENGTH = 400
BOILERPLATE = (
    "Exception from ",
    "FrontEnd API failed",
    "Model wasn't fully converted",
    "Summary:",
    "Conversion is failed",
    "To facilitate the conversion",
    "While validating node ",
)


class _Graph(NamedTuple):
    """The network compiled for a number of frames in flight. requests: one per frame, the next one first."""

    compiled: Any
    requests: deque[Any]


class OpenVinoEngine(Engine):
    """An ONNX file compiled for this CPU: all threads on one frame, or streams for several.

    With three or more frames in flight there is one stream less, so that no stream is idle while a frame is drawn.
    """

    target = "openvino"

    def __init__(self, model: OnnxModel, options: EngineOptions) -> None:
        super().__init__(
            model.spec,
            precision=model.precision,
            execution=options.execution or "f32",
            path=model.path,
            threads=options.threads,
            model_sha256=model.sha256_later(),
        )
        self.in_flight, self.runtime = options.in_flight or 1, _runtime()
        self._options, self._file = options, None if model.file is None else (model.file, _state_of(model.file))
        self._graph = self._graph_for(model, self.in_flight)
        self._graphs = {self.in_flight: self._graph}

    def prepare(self, in_flight: int) -> int:
        """As `Engine.prepare`. The file is read again; if it has changed, the engine stays as it is."""
        self._require_idle()
        if self._options.in_flight is not None or self._file is None:
            return self.in_flight
        if in_flight not in self._graphs:
            file, state = self._file
            if _state_of(file) != state:
                log.warning("%s: file changed after it was opened; frames are segmented one at a time", self.path)
                return self.in_flight
            self._graphs[in_flight] = self._graph_for(OnnxModel.from_file(file), in_flight)
        self.in_flight, self._graph = in_flight, self._graphs[in_flight]
        return in_flight

    def _graph_for(self, model: OnnxModel, in_flight: int) -> _Graph:
        compiled = _compiled(_source_of(model), str(model.path), self._options, in_flight)
        return _Graph(compiled, deque(compiled.create_infer_request() for _ in range(in_flight)))

    def layers(self) -> tuple[Layer, ...]:
        """Every node of the compiled graph with its precision, as OpenVINO reports it."""
        self._require_open()
        layers = []
        for node in self._graph.compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            kind, precision = (str(info[key].astype(str)) for key in ("layerType", "runtimePrecision"))
            if kind not in ("Input", "Output", "Const"):
                layers.append(Layer(node.get_friendly_name(), kind, precision))
        return tuple(layers)

    def _begin_input(self, x: np.ndarray, place: Place) -> Callable[[], np.ndarray]:
        request = self._graph.requests[0]
        with _run_errors(self.path.name):
            request.start_async([x], share_inputs=True)
        self._graph.requests.rotate(-1)
        return partial(self._output_of, request, x)

    def _output_of(self, request: Any, x: np.ndarray) -> np.ndarray:
        """x: input of the request, kept alive until it is done."""
        with _run_errors(self.path.name):
            request.wait()
        output = request.get_output_tensor(0).data
        result = self.workspace.take(output.shape, output.dtype)
        result[...] = output
        return result

    def _release(self) -> None:
        for request in self._graph.requests:
            with suppress(RuntimeError):  # of a frame whose result is dropped
                request.wait()
        del self._graph, self._graphs


class OpenVinoGraph:
    """A graph with any inputs and outputs, all threads on one run."""

    target: Target = "openvino"

    def __init__(self, model: ModelProto, name: str, options: EngineOptions) -> None:
        self.execution: Execution = options.execution or "f32"
        self.runtime, self._name = _runtime(), name
        source = bytes(model_with_shifted_pairs(model).SerializeToString())
        compiled = _compiled(source, name, options)
        is_static = all(output.partial_shape.is_static for output in compiled.outputs)
        shapes = [(tuple(out.shape), out.element_type.to_dtype()) for out in compiled.outputs] if is_static else None
        self._shapes: list[tuple[tuple[int, ...], Any]] | None = shapes
        self._request = compiled.create_infer_request()

    def run(self, arrays: Sequence[np.ndarray], take: Take) -> list[np.ndarray]:
        """Outputs for inputs, both in the graph's order, in arrays allocated by `take`."""
        import openvino

        if self._shapes is None:  # known only after a run
            with _run_errors(self._name):
                self._request.infer(list(arrays), share_inputs=True)
            return [filled(take, tensor.data) for tensor in self._request.output_tensors]
        outputs = [take(shape, kind) for shape, kind in self._shapes]
        for index, array in enumerate(outputs):
            self._request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        with _run_errors(self._name):
            self._request.infer(list(arrays), share_inputs=True)
        return outputs


def _source_of(model: OnnxModel) -> Path | bytes:
    """OpenVINO's input: the file, or bytes if the graph had to be changed."""
    if not model.precision.startswith("int8"):
        return model.runtime_source()
    shifted = model_with_shifted_pairs(model.proto)
    return model.runtime_source() if shifted is model.proto else bytes(shifted.SerializeToString())


def _runtime() -> str:
    import openvino

    return f"openvino {openvino.__version__.partition('-')[0]}"


def _state_of(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, to detect changes."""
    try:
        status = path.stat()
    except OSError:  # it was removed
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _compiled(model: Path | bytes, name: str, options: EngineOptions, in_flight: int = 1) -> Any:
    """A file, or a serialized graph of that name, compiled for this CPU."""
    import openvino

    execution: Execution = options.execution or "f32"
    core = openvino.Core()
    _require_execution(core, execution)
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": execution, "PERFORMANCE_HINT": "LATENCY"}
    if in_flight > 1:
        settings |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": max(2, in_flight - 1)}
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    try:
        read = core.read_model(model if isinstance(model, bytes) else str(model))
        compiled = core.compile_model(read, "CPU", settings)
    except RuntimeError as error:
        raise NotTaken(f"{name}: OpenVINO cannot compile this file ({_reason(error)})") from error
    _check_taken(compiled, execution)
    return compiled


@contextmanager
def _run_errors(name: str) -> Iterator[None]:
    """Turn a failure of a node at run time into BadInput with OpenVINO's reason."""
    try:
        yield
    except RuntimeError as error:
        raise BadInput(f"{name}: OpenVINO cannot run this file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """OpenVINO's message without the lines that name its own source files and help pages."""
    lines = [line.removeprefix("-- ").strip() for line in str(error).splitlines()]
    reasons = [line for line in lines if line and not line.startswith(BOILERPLATE) and "failed at src/" not in line]
    return " ".join(reasons)[:REASON_LENGTH] or type(error).__name__


def _require_execution(core: Any, execution: Execution) -> None:
    if execution == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BackendMissing('this CPU has no bf16 instructions; run with `execution="f32"`')
    if execution not in ("f32", "bf16"):
        raise BadInput(f"OpenVINO on a CPU executes f32 or bf16, not {execution}")


def _check_taken(compiled: Any, execution: Execution) -> None:
    import openvino

    expected = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}[execution]
    taken = compiled.get_property("INFERENCE_PRECISION_HINT")
    if taken != expected:
        raise BackendMissing(f"OpenVINO selected {taken.get_type_name()} instead of the requested {execution}")
