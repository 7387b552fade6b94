"""The vendor's module: import it, record its log, stop its builder.

`trt` is always the imported `tensorrt` or `tensorrt_rtx`; both have the same names.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fcn_edge.engines.trt.layer_info import MARK
from fcn_edge.engines.trt.plan_options import NvidiaTarget
from fcn_edge.errors import BackendMissing, first_line

Progress = Callable[[str, float], None]  # (current step of the builder, share done 0..1)

_MODULES: dict[NvidiaTarget, tuple[str, str]] = {  # target: (module, how to install it)
    "tensorrt": (
        "tensorrt",
        "pip install 'fcn-edge[gpu]' (on Jetson it is part of JetPack: create the environment with"
        " --system-site-packages)",
    ),
    "tensorrt-rtx": ("tensorrt_rtx", "pip install 'fcn-edge[rtx]'"),
}
MAX_HEARD = 1000
_SOURCE_PLACE = re.compile(r"\s*\(?In \w+ at /\S+")
_PREAMBLE = re.compile(r"^(?:\S+: )?Error Code \d+: [\w ]+\(|^Assertion failed: .*?\)?: (?=[A-Z])")
_WARNING = 2  # trt.ILogger.WARNING in every version; lower is more severe
_ONE_BUILD = threading.Lock()  # the vendor has one logger per process, so builds run one at a time


def require_target(target: NvidiaTarget) -> None:
    """Check that this machine can compile for `target`.

    Raises:
        BackendMissing: the package is missing or broken, or TensorRT has no GPU to compile on.
            TensorRT-RTX needs only its package: it compiles on the CPU.
    """
    vendor_module(target)
    if target == "tensorrt" and (missing := missing_gpu()):
        raise BackendMissing(
            f"tensorrt compiles on the GPU that the plan is for, but {missing}; run trtexec on the target"
            ' machine, or compile here with `target="tensorrt-rtx"`, which needs no GPU'
        )


def vendor_module(target: NvidiaTarget) -> Any:
    """The vendor's module, imported. Raises BackendMissing with what to install."""
    name, remedy = _MODULES[target]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise BackendMissing(f"{target}: the package {name} is not installed; {remedy}") from error
        raise BackendMissing(f"{target}: {name} needs {error.name}, which is not installed; {remedy}") from error
    except (ImportError, OSError) as error:
        raise BackendMissing(
            f"{target}: the package {name} cannot be loaded ({first_line(error)}); {remedy}"
        ) from error


def missing_gpu() -> str:
    """What is missing to use an NVIDIA GPU on this machine; empty if nothing."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda: Any = ctypes.CDLL(library)
    except OSError:
        return f"there is no NVIDIA driver ({library} not found)"
    if code := cuda.cuInit(0):
        return f"the NVIDIA driver finds no usable GPU (cuInit: error {code})"
    count = ctypes.c_int()
    if cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return "the NVIDIA driver finds no GPU"
    return ""


class Log:
    """The vendor's log messages of one build, or recent ones of running plans: the last of each kind."""

    def __init__(self) -> None:
        self.dump = ""
        self.errors: deque[str] = deque(maxlen=MAX_HEARD)
        self.warnings: deque[str] = deque(maxlen=MAX_HEARD)

    def take(self, severity: int, message: str) -> None:
        if severity < _WARNING:
            self.errors.append(message)
        elif severity == _WARNING:
            self.warnings.append(message)
        elif message.startswith(MARK):
            self.dump = message

    def reason(self, otherwise: str) -> str:
        """The last error, shortened. A missing GPU is reported only if it is the only error."""
        errors = [text for text in self.errors if "Cuda Runtime" not in text] or list(self.errors)
        return plain(errors[-1]) if errors else otherwise


def plain(message: str) -> str:
    """The first meaningful line, without the vendor's function names and source paths."""
    lines = [_PREAMBLE.sub("", _SOURCE_PLACE.sub("", line).strip()) for line in message.splitlines()]
    meaningful = [line for line in lines if line and not line.startswith("Invalid Node")]
    return (meaningful or lines or [""])[0][:300]


@functools.cache
def _logger(trt: Any) -> Any:
    """The logger of this process; the vendor ignores later ones."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.current = Log()

        def log(self, severity: Any, message: str) -> None:
            self.current.take(int(severity), message)

    return Logger()


@contextmanager
def recorded(trt: Any) -> Iterator[tuple[Any, Log]]:
    """The vendor's logger and its messages inside the block; one build at a time."""
    with _ONE_BUILD:
        logger = _logger(trt)
        logger.current = log = Log()
        try:
            yield logger, log
        finally:
            logger.current = Log()


def require_created(thing: Any, what: str, runtime: str, log: Log) -> Any:
    """`thing`; raises BackendMissing with the vendor's reason if it is None."""
    if thing is None:
        raise BackendMissing(f"{runtime} cannot create {what}: {log.reason('no reason given')}")
    return thing


@contextmanager
def vendor_calls(file: object, runtime: str, log: Log) -> Iterator[None]:
    """Turn errors of the vendor's bindings (null pointers, rejected arguments) into one message."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        raise BackendMissing(f"{file}: {runtime} failed: {log.reason(first_line(error))}") from error


def log_of(trt: Any) -> Log:
    """The vendor's messages outside of `recorded`, such as when a plan runs."""
    log: Log = _logger(trt).current
    return log


class Stop:
    """Whether to stop a build, and why. The vendor ignores exceptions in its callbacks."""

    def __init__(self) -> None:
        self.reason: BaseException | None = None

    def call(self, report: Progress | None, name: str, share: float) -> bool:
        """Report progress; False if the build must stop."""
        try:
            if report is not None and self.reason is None:
                report(name, share)
        except BaseException as error:  # raised again after the builder has returned
            self.reason = error
        return self.reason is None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Ctrl-C inside the block stops the build at its next step; a second one stops immediately.

    The exception that caused the stop is raised at the end of the block.
    """
    stop = Stop()
    before = signal.getsignal(signal.SIGINT)
    is_ours = threading.current_thread() is threading.main_thread() and callable(before)

    def remember(*_: object) -> None:
        stop.reason = KeyboardInterrupt()
        signal.signal(signal.SIGINT, before)

    if is_ours:
        signal.signal(signal.SIGINT, remember)
    try:
        yield stop
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, before)
        if stop.reason is not None:
            raise stop.reason from None


def monitor_of_build(trt: Any, stop: Stop, report: Progress | None) -> Any:
    """A vendor progress monitor: nested phases are combined to one share that never decreases."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[float, float, int]] = {}  # name: (start, width, steps)
            self.share = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            _, width, steps = self.phases.get(parent_phase or "", (0.0, 1.0, 1))
            self.phases[phase_name] = (self.share, width / max(steps, 1), num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            start, width, steps = self.phases.get(phase_name, (self.share, 0.0, 1))
            self.share = min(1.0, max(self.share, start + width * (step + 1) / max(steps, 1)))
            return stop.call(report, phase_name, self.share)

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

    return Monitor()
