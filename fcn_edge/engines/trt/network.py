"""A deserialized plan and its context: input, output, and runs in a stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.engines.base import Execution
from fcn_edge.engines.trt.cuda import Memory, Stream
from fcn_edge.engines.trt.plan_options import NvidiaTarget
from fcn_edge.engines.trt.vendor import log_of, recorded, require_created, vendor_calls
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.spec import ModelSpec, Precision


@dataclass(frozen=True)
class RunnablePlan:
    """A serialized plan and its properties.

    path: its name in messages. allow_host_code: load host code in the plan.
    """

    data: bytes
    target: NvidiaTarget
    spec: ModelSpec
    precision: Precision
    execution: Execution
    path: Path
    allow_host_code: bool = False


class PlanNetwork:
    """The network of a plan on one GPU. runtime: name and version; shape: current input shape.

    Call everything inside `with cuda.active():`. A TensorRT context has memory for one run at a time, so all
    runs are queued in one stream.
    """

    def __init__(self, plan: RunnablePlan, trt: Any) -> None:
        """Raises BadInput if the plan cannot be loaded or does not match its spec."""
        self.runtime = f"{plan.target} {trt.__version__}"
        self.shape: tuple[int, ...] = ()
        self._spec, self._path, self._trt = plan.spec, plan.path, trt
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        try:
            self._load(plan)
        except BaseException:
            self.release()
            raise

    @property
    def activation_bytes(self) -> int:
        """Device memory of its activations; TensorRT does not report that of weights."""
        name = "device_memory_size_v2" if hasattr(self._engine, "device_memory_size_v2") else "device_memory_size"
        return int(getattr(self._engine, name))

    @property
    def usual_shape(self) -> tuple[int, ...]:
        """(N, H, W, 3) of its spec; for a network of free size the shape that its plan was tuned for."""
        if not self._spec.dynamic:
            return (1, *self._spec.preprocess.size, 3)
        return tuple(self._engine.get_tensor_profile_shape(self._input, 0)[1])

    def take(self, shape: tuple[int, ...]) -> None:
        """Set the input shape. Raises BadInput if the plan was not built for it."""
        self.shape = ()
        if not self._context.set_input_shape(self._input, shape):
            reason = self._range() or self._reason()
            raise BadInput(f"{self._path}: the plan does not support frames of {_by_x(shape)}: {reason}")
        if min(self.result_shape, default=0) < 1:
            raise BadInput(f"{self._path}: the plan's output size is unknown ({_by_x(self.result_shape)})")
        self.shape = shape

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the result for the current input shape."""
        return tuple(self._context.get_tensor_shape(self._output))

    @property
    def result_type(self) -> np.dtype[Any]:
        return self._numpy_type(self._output)

    def queue(self, stream: Stream, source: Memory, target: Memory) -> None:
        """Queue one run from `source` to `target`. Raises BackendMissing."""
        for name, memory in ((self._input, source), (self._output, target)):
            if not self._context.set_tensor_address(name, memory.address):
                raise BackendMissing(f"{self.runtime} does not accept the address of {name}: {self._reason()}")
        if not self._context.execute_async_v3(stream.handle):
            raise BackendMissing(f"{self.runtime} cannot run this plan: {self._reason()}")

    def release(self) -> None:
        """Release context, engine and runtime, in that order."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _load(self, plan: RunnablePlan) -> None:
        with recorded(self._trt) as (logger, log), vendor_calls(plan.path, self.runtime, log):
            self._runtime = self._trt.Runtime(logger)
            if plan.allow_host_code:
                self._runtime.engine_host_code_allowed = True
            self._engine = self._runtime.deserialize_cuda_engine(plan.data)
            if self._engine is None:
                reason = log.reason("no reason given")
                raise BadInput(f"{plan.path}: {self.runtime} cannot load this plan ({reason}); build it again")
            self._input, self._output = self._tensors()
            context = self._engine.create_execution_context()
            self._context = require_created(context, f"an execution context of {plan.path}", self.runtime, log)

    def _tensors(self) -> tuple[str, str]:
        """Names of the input and the output, checked against the spec."""
        engine, mode = self._engine, self._trt.TensorIOMode.INPUT
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == mode]
        outputs = [name for name in names if name not in inputs]
        if len(inputs) != 1 or len(outputs) != 1:
            raise BadInput(
                f"{self._path}: the plan has {len(inputs)} inputs and {len(outputs)} outputs; expected one each"
            )
        actual, expected = tuple(engine.get_tensor_shape(inputs[0])), (1, *self._spec.preprocess.size, 3)
        if len(actual) != 4 or any(size not in (-1, want) for size, want in zip(actual, expected, strict=True)):
            raise BadInput(
                f"{self._path}: the plan's input is {_by_x(actual)}, that of spec.json {_by_x(expected)}: they are from"
                " different networks; build the engine again"
            )
        if (kind := self._numpy_type(inputs[0])) != np.uint8:
            raise BadInput(f"{self._path}: the plan's input is {kind}, not uint8 frames: it was not built by fcn-edge")
        channels = tuple(engine.get_tensor_shape(outputs[0]))[1]
        if self._spec.head.kind != "classes" and channels not in (-1, self._spec.num_classes):
            raise BadInput(f"{self._path}: the plan has {channels} classes, spec.json has {self._spec.num_classes}")
        return inputs[0], outputs[0]

    def _numpy_type(self, name: str) -> np.dtype[Any]:
        kind = self._engine.get_tensor_dtype(name)
        try:
            return np.dtype(self._trt.nptype(kind))
        except TypeError as error:
            raise BadInput(
                f"{self._path}: {name} has type {kind}, which numpy does not support; build from another file"
            ) from error

    def _range(self) -> str:
        if not self._spec.dynamic:
            return ""
        low, _, high = self._engine.get_tensor_profile_shape(self._input, 0)
        return f"it was built for {_by_x(tuple(low))} to {_by_x(tuple(high))}"

    def _reason(self) -> str:
        return log_of(self._trt).reason("no reason given")


def _by_x(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)
