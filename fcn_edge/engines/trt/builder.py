"""Run the vendor's builder: TensorRT 8.6, 10, 11 and TensorRT-RTX, by the attributes of each module."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn_edge.atomic_io import whole_file
from fcn_edge.engines.trt.plan_options import HARDWARE_LEVELS, PlanOptions
from fcn_edge.engines.trt.vendor import Log, Progress, Stop, monitor_of_build, plain, require_created, vendor_calls
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.onnxgraph import operator
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.spec import Precision

if TYPE_CHECKING:
    from onnx import GraphProto

MAX_NAMES = 3  # of a list in a message
_WEAK_FLAGS: dict[Precision, tuple[str, ...]] = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8",), "int8-fp16": ()}


def is_strongly_typed(trt: Any) -> bool:
    """Whether networks are strongly typed: TensorRT 10 and newer, and TensorRT-RTX."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def precision_flags(trt: Any, precision: Precision) -> tuple[str, ...]:
    """Names of the builder flags for a file of that precision."""
    return () if is_strongly_typed(trt) else _WEAK_FLAGS[precision]


@dataclass
class Build:
    """The builder for the network in `file`.

    runtime: name and version. notes: messages for the user, filled by `run`.
    """

    trt: Any
    model: OnnxModel
    file: Path
    runtime: str
    log: Log
    stop: Stop
    notes: list[str] = field(default_factory=list)
    takes_timings: bool = True

    @property
    def path(self) -> Path:
        return self.model.path

    def run(self, logger: Any, precision: Precision, options: PlanOptions, on_progress: Progress | None) -> bytes:
        """The plan. Raises BackendMissing if the vendor's library fails, BadInput if the file does not compile."""
        with vendor_calls(self.path, self.runtime, self.log):
            return self._run(logger, precision, options, on_progress)

    def _run(self, logger: Any, precision: Precision, options: PlanOptions, on_progress: Progress | None) -> bytes:
        try:
            builder = self.trt.Builder(logger)
        except TypeError as error:  # pybind's error for a null pointer: CUDA could not start
            raise BackendMissing(
                f"{self.runtime} cannot start ({self._reason()}); check the driver version with nvidia-smi"
            ) from error
        network = self._created(builder.create_network(self._network_flags()), "a network")
        parser = self.trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(self.file)):
            raise BadInput(f"{self.path}: {self.runtime} cannot read {self._parse_errors(parser)}")
        config = self._config(builder, precision, options)
        if hasattr(config, "progress_monitor"):  # TensorRT 10 and newer
            config.progress_monitor = monitor_of_build(self.trt, self.stop, on_progress)
        memory = builder.build_serialized_network(network, config)
        if memory is None:
            raise BadInput(f"{self.path}: {self.runtime} cannot compile this file: {self._reason()}")
        if options.timing_cache is not None and self.takes_timings:
            self._save_timings(config, options.timing_cache)
        return bytes(memory)

    def _network_flags(self) -> int:
        flags = self.trt.NetworkDefinitionCreationFlag
        return 1 << int(flags.STRONGLY_TYPED if is_strongly_typed(self.trt) else flags.EXPLICIT_BATCH)

    def _config(self, builder: Any, precision: Precision, options: PlanOptions) -> Any:
        trt, config = self.trt, self._created(builder.create_builder_config(), "a builder configuration")
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        for name in precision_flags(trt, precision):
            config.set_flag(getattr(trt.BuilderFlag, name))
        if not options.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if options.sparsity:
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible is not None:
            config.hardware_compatibility_level = self._hardware_level(options)
        if options.workspace_mb is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
        if options.optimisation_level is not None:
            config.builder_optimization_level = options.optimisation_level
        if options.sm:
            self._set_targets(config, options.sm)
        if options.shapes is not None:
            shapes, profile = options.shapes, self._created(builder.create_optimization_profile(), "a range of shapes")
            profile.set_shape(shapes.input, shapes.min, shapes.opt, shapes.max)
            self._check(config.add_optimization_profile(profile) >= 0, "the range of shapes")
        if options.timing_cache is not None:
            self._load_timings(config, options.timing_cache)
        return config

    def _hardware_level(self, options: PlanOptions) -> Any:
        assert options.hardware_compatible is not None
        levels, name = self.trt.HardwareCompatibilityLevel, HARDWARE_LEVELS[options.hardware_compatible]
        if not hasattr(levels, name):
            raise BadInput(f"{self.runtime} does not support hardware compatibility {options.hardware_compatible}")
        return getattr(levels, name)

    def _set_targets(self, config: Any, capabilities: tuple[int, ...]) -> None:
        config.num_compute_capabilities = len(capabilities)
        for index, sm in enumerate(capabilities):
            accepted = config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{sm}"), index)
            self._check(accepted, f"compute capability {sm}")

    def _load_timings(self, config: Any, file: Path) -> None:
        """Use the timings in `file`; a file for another GPU or version is left unchanged, with a note."""
        known = file.read_bytes() if file.is_file() else b""
        if config.set_timing_cache(self._created(config.create_timing_cache(known), "a timing cache"), False):
            return
        self.takes_timings = False
        self.notes.append(
            f"{file}: contains no timings for this GPU and TensorRT; left unchanged, all kernels are timed again"
        )
        empty = self._created(config.create_timing_cache(b""), "a timing cache")
        self._check(config.set_timing_cache(empty, False), "an empty timing cache")

    def _save_timings(self, config: Any, file: Path) -> None:
        timings = self._created(
            self._created(config.get_timing_cache(), "its timings").serialize(), "a copy of its timings"
        )
        with whole_file(file, replaces=True) as part:  # TensorRT has accepted its timings
            part.write_bytes(bytes(timings))

    def _created(self, thing: Any, what: str) -> Any:
        return require_created(thing, what, self.runtime, self.log)

    def _check(self, accepted: bool, what: str) -> None:
        if not accepted:
            raise BadInput(f"{self.path}: {self.runtime} does not accept {what}: {self._reason()}")

    def _parse_errors(self, parser: Any) -> str:
        """The nodes that failed and the reason: "node odd (Bernoulli): this operator is not supported"."""
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        if not errors:
            return f"it: {self._reason()}"
        more = f"; and {len(errors) - MAX_NAMES} more" if len(errors) > MAX_NAMES else ""
        return "; ".join(_parse_error(error, self.model.graph) for error in errors[:MAX_NAMES]) + more

    def _reason(self) -> str:
        return self.log.reason("the builder gives no reason")


def _parse_error(error: Any, graph: GraphProto) -> str:
    where, reason = "it", plain(error.desc())
    if 0 <= error.node() < len(graph.node):
        node = graph.node[error.node()]
        where = f"node {node.name or node.output[0]} ({operator(node)})"
    if "UNSUPPORTED" in str(error.code()) or "Plugin not found" in reason:
        reason = "this operator is not supported"
    return f"{where}: {reason}"
