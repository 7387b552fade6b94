"""OpenVINO on CPUs. Execution is asked for and read back: left alone it runs bf16 where the CPU has it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.engines.base import Engine, EngineOptions, Execution, Layer, Place, Take, filled
from fcn_edge.errors import BackendMissing, BadInput, NotTaken
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.onnxpairs import model_with_shifted_pairs
from fcn_edge.targets import Target

REASON_LENGTH = 400
SAYS_NOTHING = (
    "Exception from ",
    "FrontEnd API failed",
    "Model wasn't fully converted",
    "Summary:",
    "Conversion is failed",
    "To facilitate the conversion",
    "While validating node ",
)


class OpenVinoEngine(Engine):
    """An ONNX file compiled for this CPU: all threads on one frame, or streams for several.

    From three frames in flight on there is one more than streams, so that none stands still while a frame is drawn.
    """

    target = "openvino"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        contract = contract_from_onnx(path)
        super().__init__(
            contract.spec,
            precision=contract.quantization.precision,
            execution=options.execution or "f32",
            path=path,
            threads=options.threads,
        )
        self.in_flight, self.runtime = options.in_flight, _runtime()
        is_int8 = self.precision.startswith("int8")
        self._compiled = _compiled(model_with_shifted_pairs(path) if is_int8 else path, str(path), options)
        self._requests = deque(self._compiled.create_infer_request() for _ in range(self.in_flight))  # the next first

    def layers(self) -> tuple[Layer, ...]:
        """Every node of the compiled graph with the precision it runs in, as OpenVINO tells it."""
        self._require_open()
        found = []
        for node in self._compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            kind, precision = (str(info[key].astype(str)) for key in ("layerType", "runtimePrecision"))
            if kind not in ("Input", "Output", "Const"):
                found.append(Layer(node.get_friendly_name(), kind, precision))
        return tuple(found)

    def _begin_input(self, x: np.ndarray, place: Place) -> Callable[[], np.ndarray]:
        request = self._requests[0]
        with _run_errors(self.path.name):
            request.start_async([x], share_inputs=True)
        self._requests.rotate(-1)
        return partial(self._output_of, request, x)

    def _output_of(self, request: Any, x: np.ndarray) -> np.ndarray:
        """x: what the request reads, kept until it is done."""
        with _run_errors(self.path.name):
            request.wait()
        found = request.get_output_tensor(0).data
        result = self.workspace.take(found.shape, found.dtype)
        result[...] = found
        return result

    def _release(self) -> None:
        for request in self._requests:
            with suppress(RuntimeError):  # of a frame whose result nobody wants
                request.wait()
        del self._requests, self._compiled


class OpenVinoGraph:
    """A serialized graph of any inputs and outputs, all threads on one run."""

    target: Target = "openvino"

    def __init__(self, model: bytes, name: str, options: EngineOptions) -> None:
        self.execution: Execution = options.execution or "f32"
        self.runtime, self._name = _runtime(), name
        compiled = _compiled(model_with_shifted_pairs(model), name, replace(options, in_flight=1))
        is_static = all(output.partial_shape.is_static for output in compiled.outputs)
        shapes = [(tuple(out.shape), out.element_type.to_dtype()) for out in compiled.outputs] if is_static else None
        self._shapes: list[tuple[tuple[int, ...], Any]] | None = shapes
        self._request = compiled.create_infer_request()

    def run(self, arrays: Sequence[np.ndarray], take: Take) -> list[np.ndarray]:
        """Outputs for inputs, both in the graph's order, in arrays that `take` gives."""
        import openvino

        if self._shapes is None:  # known only once it has run
            with _run_errors(self._name):
                self._request.infer(list(arrays), share_inputs=True)
            return [filled(take, tensor.data) for tensor in self._request.output_tensors]
        found = [take(shape, kind) for shape, kind in self._shapes]
        for index, array in enumerate(found):
            self._request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        with _run_errors(self._name):
            self._request.infer(list(arrays), share_inputs=True)
        return found


def _runtime() -> str:
    import openvino

    return f"openvino {openvino.__version__.partition('-')[0]}"


def _compiled(model: Path | bytes, name: str, options: EngineOptions) -> Any:
    """A file, or a serialized graph of that name, compiled for this CPU."""
    import openvino

    execution: Execution = options.execution or "f32"
    core = openvino.Core()
    _require_execution(core, execution)
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": execution, "PERFORMANCE_HINT": "LATENCY"}
    if options.in_flight > 1:
        settings |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": max(2, options.in_flight - 1)}
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
    """A node that fails while it runs is an error of the file, in OpenVINO's words."""
    try:
        yield
    except RuntimeError as error:
        raise BadInput(f"{name}: OpenVINO cannot run this file ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """What OpenVINO says of the file; the first and last lines of its message name its own sources and pages."""
    lines = [line.removeprefix("-- ").strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(SAYS_NOTHING) and "failed at src/" not in line]
    return " ".join(told)[:REASON_LENGTH] or type(error).__name__


def _require_execution(core: Any, execution: Execution) -> None:
    if execution == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BackendMissing("this CPU has no bf16 instructions; run with --execution f32")
    if execution not in ("f32", "bf16"):
        raise BadInput(f"OpenVINO on a CPU executes f32 or bf16, not {execution}")


def _check_taken(compiled: Any, execution: Execution) -> None:
    import openvino

    wanted = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}[execution]
    taken = compiled.get_property("INFERENCE_PRECISION_HINT")
    if taken != wanted:
        raise BackendMissing(f"OpenVINO was asked for {execution} and took {taken.get_type_name()}")
