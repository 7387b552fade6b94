"""A TensorRT that has what a real version has (tensorrt_record.json) and nothing else, and computes.

Every attribute, call and argument is held against the record of that version. Plans are the ONNX
file behind a header; a context runs it in ONNX Runtime on the memory of a `NumpyDriver`, when the
stream gets there. `fail("IExecutionContext.execute_async_v3")` lets a call fail once as the vendor lets it fail: None
for an object, False for success, an exception otherwise; and a line in the log.
"""

from __future__ import annotations

import enum
import functools
import json
import struct
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.engines.numpy_cuda import NumpyDriver, Work
from tests.engines.record_tensorrt import RECORD

FAMILIES = ("8.6", "10.3", "10.13", "10.16", "11.4", "rtx")
VERSIONS = {
    "8.6": "8.6.1",
    "10.3": "10.3.0",
    "10.13": "10.13.3.9",
    "10.16": "10.16.1.11",
    "11.4": "11.4.0.106",
    "rtx": "1.7.1.116",
}
MAGIC = {True: b"vtrt", False: b"ftrt"}
FAILURE = "the fake was told to fail"
REASON = f"IThing::doIt: Error Code 2: Internal Error ({FAILURE} In doIt at /_src/x.cpp:9)"
LINE = (
    "Name: {name}, LayerType: CaskConvolution, Inputs: [ {{ Name: t, Dimensions: [1,16,64,64], Format/Datatype: {kind}"
    " }}], Outputs: [ {{ Name: t, Dimensions: [1,16,64,64], Format/Datatype: {kind} }}], TacticName: t, StreamId: 0"
)


@functools.cache
def record(family: str) -> dict[str, Any]:
    return json.loads(RECORD.read_text(encoding="utf-8"))[family]


class FakeTensorRT:
    """Stands for the module. calls: "Class.member" in order. dump: what the builder tells of layers, if not the file's.

    drivers: of which the one that is entered is the GPU in use.
    """

    def __init__(self, family: str, drivers: Sequence[NumpyDriver] = (), *, dump: str | None = None) -> None:
        self.__version__, self.__spec__ = VERSIONS[family], ModuleSpec("tensorrt", None)
        self._family, self._drivers, self._dump = family, drivers, dump
        self._record, self.calls, self.alive = record(family), [], []
        self._failing, self.errors = "", ()
        for name, members in self._record.items():
            values = (
                {key: value for key, value in members.items() if isinstance(value, int)} if name != "module" else {}
            )
            if values:
                setattr(self, name, enum.IntEnum(name, values))
        for name in ("ILogger", "IProgressMonitor"):
            if name in self._record["module"]:
                setattr(self, name, type(name, (), {}))
        self.Builder = functools.partial(self._made, "Builder", _Builder)
        self.Runtime = functools.partial(self._made, "Runtime", _Runtime)
        self.OnnxParser = functools.partial(self._made, "OnnxParser", _OnnxParser)
        self.nptype = lambda kind: kind.type

    def fail(self, call: str) -> None:
        self._failing = call

    def happens(self, call: str, logger: Any) -> bool:
        """Note a call; whether it is to fail."""
        self.calls.append(call)
        if self._failing != call:
            return False
        self._failing = ""
        logger.log(1, REASON)
        return True

    def _made(self, name: str, kind: type, *args: Any) -> Any:
        logger = args[-1]
        if self.happens(name, logger):
            raise TypeError(f"pybind11::init(): factory function returned nullptr ({name})")
        return Guarded(self, name, kind(self, *args), logger)

    @property
    def driver(self) -> NumpyDriver:
        """The GPU that is current."""
        current = [driver for driver in self._drivers if driver.entered]
        assert len(current) == 1, "TensorRT is called outside of active()"
        return current[0]

    @property
    def is_rtx(self) -> bool:
        return self._family == "rtx"


class Guarded:
    """An object of the vendor's class `name`: only recorded members, called as recorded."""

    def __init__(self, trt: FakeTensorRT, name: str, inner: Any, logger: Any) -> None:
        object.__setattr__(self, "_own", (trt, name, inner, logger, trt._record[name]))
        trt.alive.append(name)

    def __del__(self) -> None:
        trt, name, *_ = self._own
        trt.alive.remove(name)

    def __getattr__(self, member: str) -> Any:
        trt, name, inner, logger, members = self._own
        if member not in members:
            raise AttributeError(f"{name} of TensorRT {trt._family} has no {member}")
        if members[member] in ("read", "write"):
            if trt.happens(f"{name}.{member}", logger):
                raise RuntimeError(FAILURE)
            return getattr(inner, member)

        def call(*args: Any) -> Any:
            signature = members[member]
            if signature is not None:
                needed = sum(is_required for _, is_required in signature)
                assert needed <= len(args) <= len(signature), f"{name}.{member}{args}: expected {signature}"
            if trt.happens(f"{name}.{member}", logger):
                return _failure(member)
            result = getattr(inner, member)(*args)
            kind = _KINDS.get(type(result))
            return result if kind is None else Guarded(trt, kind, result, logger)

        return call

    def __setattr__(self, member: str, value: Any) -> None:
        trt, name, inner, logger, members = self._own
        assert members.get(member) == "write", f"{name}.{member} of TensorRT {trt._family} cannot be set"
        if trt.happens(f"{name}.{member}", logger):
            raise RuntimeError(FAILURE)
        setattr(inner, member, value)


def _failure(member: str) -> Any:
    """How a call of that name fails."""
    if member.startswith(("create_", "deserialize", "build_serialized", "get_timing", "serialize")):
        return None
    if member == "add_optimization_profile":
        return -1
    if member.startswith(("parse_from", "set_timing", "set_compute", "set_input", "set_tensor", "execute")):
        return False
    raise RuntimeError(FAILURE)


def _inner(thing: Any) -> Any:
    return thing._own[2] if isinstance(thing, Guarded) else thing


class _Builder:
    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int = 0) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: Any, config: Any) -> memoryview | None:
        network, config = _inner(network), _inner(config)
        for text in self.trt.errors:
            self.logger.log(1, text)
        if self.trt.errors or not _steps(config.progress_monitor):
            return None
        model = onnx.load_from_string(network.file)
        self.logger.log(4, self.trt._dump if self.trt._dump is not None else _dump(model))
        header = {
            "family": self.trt._family,
            "profile": config.profile,
            "flags": sorted(int(flag) for flag in config.set),
        }
        text = json.dumps(header).encode()
        config.cache.timings = b"timings of " + self.trt._family.encode()
        plan = MAGIC[self.trt.is_rtx] + struct.pack("<I", len(text)) + text + network.file
        self.trt.network_flags, self.trt.config = network.flags, config
        return memoryview(plan)


def _steps(monitor: Any) -> bool:
    """Two phases of a build; False where the monitor cancels."""
    if monitor is None:
        return True
    monitor.phase_start("build", None, 2)
    goes_on = monitor.step_complete("build", 0) and monitor.step_complete("build", 1)
    monitor.phase_finish("build")
    return goes_on


def _dump(model: onnx.ModelProto) -> str:
    """One line a convolution, in the precision that the file says."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    lines = [
        LINE.format(name=node.name, kind="Int8" if makers.get(node.input[0]) == "DequantizeLinear" else "Float")
        for node in model.graph.node
        if node.op_type == "Conv"
    ]
    return "\n".join(["Layers:", *lines])


class _Network:
    def __init__(self, flags: int) -> None:
        self.flags, self.file = flags, b""


class _Profile:
    shapes: tuple[Any, ...] = ()

    def set_shape(self, *shapes: Any) -> None:
        self.shapes = shapes


class _Cache:
    def __init__(self, timings: bytes) -> None:
        self.timings = timings

    def serialize(self) -> memoryview:
        return memoryview(self.timings)


class _Config:
    def __init__(self) -> None:
        self.set: list[Any] = []
        self.cleared: list[Any] = []
        self.limits: dict[Any, int] = {}
        self.targets: dict[int, Any] = {}
        self.profile: Any = None
        self.progress_monitor: Any = None
        self.cache = _Cache(b"")

    def set_flag(self, flag: Any) -> None:
        self.set.append(flag)

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.limits[pool] = size

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        self.targets[index] = capability
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        self.profile = _inner(profile).shapes
        return 0

    def create_timing_cache(self, timings: bytes) -> _Cache:
        return _Cache(timings)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.cache = _inner(cache)
        return b"another GPU" not in self.cache.timings

    def get_timing_cache(self) -> _Cache:
        return self.cache


class _OnnxParser:
    def __init__(self, trt: FakeTensorRT, network: Any, logger: Any) -> None:
        self.network, self.errors = _inner(network), []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def parse_from_file(self, path: str) -> bool:
        with open(path, "rb") as file:
            self.network.file = file.read()
        return True


class _Runtime:
    engine_host_code_allowed = False

    def __init__(self, trt: FakeTensorRT, logger: Any) -> None:
        self.trt, self.logger = trt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        assert self.trt.driver
        if plan[:4] != MAGIC[self.trt.is_rtx]:
            self.logger.log(
                1, "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)"
            )
            return None
        length = struct.unpack("<I", plan[4:8])[0]
        header = json.loads(plan[8 : 8 + length])
        if header["family"] != self.trt._family:
            self.logger.log(1, "The engine plan file is not compatible with this version of TensorRT")
            return None
        return _Engine(self.trt, header, plan[8 + length :])


class _DataType:
    def __init__(self, type_: Any) -> None:
        self.type = np.dtype(type_)


class _Engine:
    device_memory_size = device_memory_size_v2 = 1 << 20

    def __init__(self, trt: FakeTensorRT, header: dict[str, Any], file: bytes) -> None:
        self.trt, self.header = trt, header
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.tensors)

    def _tensor(self, name: str) -> Any:
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def get_tensor_name(self, index: int) -> str:
        return self.tensors[index].name

    def get_tensor_mode(self, name: str) -> Any:
        inputs = [tensor.name for tensor in self.session.get_inputs()]
        modes = self.trt.TensorIOMode
        return modes.INPUT if name in inputs else modes.INPUT + 1

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self._tensor(name).shape)

    def get_tensor_dtype(self, name: str) -> _DataType:
        types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
        return _DataType(types[self._tensor(name).type])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Any]:
        return self.header["profile"][1:]

    def create_execution_context(self, strategy: Any = None) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine, self.addresses, self.shape = engine, {}, None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        wanted = self.engine.get_tensor_shape(name)
        if len(wanted) != len(shape) or any(size not in (-1, given) for size, given in zip(wanted, shape, strict=True)):
            return False
        if profile := self.engine.header["profile"]:
            low, _, high = profile[1:]
            if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
                return False
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        fixed = self.engine.get_tensor_shape(name)
        if -1 not in fixed:
            return fixed
        return self._computed(np.zeros(self.shape, np.uint8)).shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def _computed(self, x: np.ndarray) -> np.ndarray:
        return self.engine.session.run(None, {self.engine.tensors[0].name: x})[0]

    def execute_async_v3(self, stream: int) -> bool:
        driver, addresses = self.engine.trt.driver, dict(self.addresses)
        source, target = (addresses[tensor.name] for tensor in self.engine.tensors)
        shape = self.shape

        def act() -> None:
            x = driver.at(source, int(np.prod(shape))).reshape(shape)
            result = np.ascontiguousarray(self._computed(x))
            driver.at(target, result.nbytes)[...] = result.reshape(-1).view(np.uint8)

        driver.queue(stream, Work(act, (driver.base(source), driver.base(target))))
        return True


_KINDS: dict[type, str] = {
    _Network: "INetworkDefinition",
    _Config: "IBuilderConfig",
    _Profile: "IOptimizationProfile",
    _Cache: "ITimingCache",
    _Engine: "ICudaEngine",
    _Context: "IExecutionContext",
}
