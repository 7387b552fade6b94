"""The interface of all engines: frames in, results out. Vendor types are private to each engine's file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.buffers import Buffers
from fcn_edge.choices import Execution as Execution
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Result, Style, Times
from fcn_edge.schedule import EVERY
from fcn_edge.spec import FREE_SIZE_STEP, ModelSpec, Precision
from fcn_edge.targets import TARGETS as TARGETS
from fcn_edge.targets import Provider
from fcn_edge.targets import Target as Target
from fcn_edge.transforms import input_from_frame, use_threads, view_from_scores

FRAMES_IN_FLIGHT = 3  # for recordings: throughput matters, latency does not


@dataclass(frozen=True)
class EngineOptions:
    """How to open an engine.

    threads: for inference, OpenCV and fcn-edge's kernels; None for the runtime's default.

    execution: arithmetic of the float parts; None sets f32 explicitly, because OpenVINO's default is bf16 on CPUs
    that support it.
    in_flight: frames in flight at once; more than one raises throughput and latency, if the runtime supports it.
    None is 1, and FRAMES_IN_FLIGHT for a recording.
    provider: execution provider of ONNX Runtime; other targets have none.
    schedule: which stages run on which frames (`fcn_edge.schedule`).
    allow_host_code: load TensorRT plans that contain host code.
    cuda_graph: run TensorRT plans as one CUDA graph if CUDA supports it.
    """

    execution: Execution | None = None
    threads: int | None = None
    in_flight: int | None = None
    provider: Provider = "cpu"
    schedule: str = EVERY
    allow_host_code: bool = False
    cuda_graph: bool = True

    def __post_init__(self) -> None:
        """Raises BadInput if a number is below 1."""
        for name in ("threads", "in_flight"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise BadInput(f"`{name}` is {number}; expected at least 1, or None for the default")


@dataclass(frozen=True)
class Layer:
    """One node or kernel of a compiled network. op: the compiler's name for it. precision: "" if not reported."""

    name: str
    op: str
    precision: str


@dataclass(frozen=True)
class StageRuns:
    """How often a stage of a network ran. stride: input pixels per cell of its scores.

    runs: out of `frames`. oldest: greatest age of its scores when they were used, in frames.
    """

    stride: int
    runs: int
    frames: int
    oldest: int


class Place(NamedTuple):
    """Which frame of which stream. number: its index, which orders the frames of one stream and sequence."""

    stream: int
    sequence: str
    number: int


Take = Callable[[tuple[int, ...], np.dtype[Any]], np.ndarray]  # allocates an array of that shape and type


class CompiledGraph(Protocol):
    """A compiled graph with any inputs and outputs, for engines that run several graphs."""

    target: Target
    runtime: str
    execution: Execution

    def run(self, arrays: Sequence[np.ndarray], take: Take) -> list[np.ndarray]:
        """Outputs for inputs, both in the graph's order. The caller owns the outputs; `take` allocates them."""
        ...


def filled(take: Take, array: np.ndarray) -> np.ndarray:
    """A copy in an array allocated by `take`."""
    out = take(array.shape, array.dtype)
    out[...] = array
    return out


class Engine:
    """A compiled network with pre- and postprocessing. Use an engine from one thread at a time.

    A frame passes three stages: it is resized to the network's input, the network runs, and class map, counts and
    overlay are computed from its output. `start` and `wait` process frames; `infer` runs the network alone.

    target, precision, execution, runtime: what actually runs, for records; runtime is
    name and version, such as "openvino 2026.4.1". in_flight: maximum number of frames in flight.
    workspace: threads and arrays for its inputs and views.

    Subclasses implement `_run`, or `_begin_input` if the network runs asynchronously, or `_begin_frame` if the other
    stages do not run on the CPU.
    """

    target: Target
    runtime: str
    in_flight = 1
    schedule: str = EVERY

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision,
        execution: Execution,
        path: Path,
        threads: int | None = None,
        model_sha256: Callable[[], str] | None = None,
    ) -> None:
        """model_sha256: of the network, where it is not that of the file `path`."""
        self._model_sha256 = model_sha256 or partial(sha256_of_file, path)
        self.spec, self.precision, self.execution, self.path = spec, precision, execution, path
        self.workspace = Buffers(threads)
        use_threads(threads)
        self._started: deque[Callable[[], Result]] = deque()
        self._last = Place(0, "", -1)
        self._ends = ExitStack()
        self._is_open = True

    @property
    def model_sha256(self) -> str:
        """Hex SHA-256 of what runs: the file, or a network in memory as the bytes of a file."""
        return self._model_sha256()

    def start(self, frame: Frame | np.ndarray, style: Style = Style()) -> None:  # noqa: B008 - frozen
        """Start a frame; `wait` returns its result. Do not change the frame's image until then.

        Args:
            frame: a `Frame`, or its image alone, (H, W, 3) uint8 BGR of any size. An image alone follows the frame
                before it: the same stream and sequence, the next index.
            style: how its overlay is drawn.

        Raises:
            BadInput: the image is of another type or shape, `in_flight` frames are in flight already, or the engine
                is closed. The engine remains usable after each of these.
        """
        self._require_open()
        if len(self._started) == self.in_flight:
            raise BadInput(
                f"{self.path.name}: {self.in_flight} frames are in flight, which is its maximum; call `wait` first"
            )
        if not isinstance(frame, Frame):
            stream, sequence, number = self._last
            frame = Frame(frame, number + 1, time.monotonic_ns(), "", stream=stream, sequence=sequence)
        self._started.append(self._begin_frame(frame, style))
        self._last = Place(frame.stream, frame.sequence, frame.index)

    def wait(self) -> Result:
        """The result of the frame that was started first; the caller owns its arrays.

        Raises:
            BadInput: no frame was started, the network failed on this frame, or the engine is closed. Frames that
                were started after it are still in flight.
        """
        self._require_open()
        if not self._started:
            raise BadInput(f"{self.path.name}: no frame is in flight; call `start` first")
        return self._started.popleft()()

    def segment(self, image: Frame | np.ndarray, style: Style = Style()) -> Result:  # noqa: B008 - frozen
        """Segment one frame: `start`, then `wait`.

        Args:
            image: (H, W, 3) uint8 BGR of any size, or a `Frame`.
            style: how its overlay is drawn; Style(overlay=False) draws none.

        Returns:
            Class map, counts, overlay and times, at the image's size.

        Raises:
            BadInput: as `start`, or frames are in flight.

        Example:
            with open_engine("engine") as net:
                result = net.segment(cv2.imread("street.png"))
                cv2.imwrite("overlay.png", result.overlay)
        """
        self._require_idle()
        self.start(image, style)
        return self.wait()

    def infer(self, x: np.ndarray) -> np.ndarray:
        """Run the network alone, without pre- and postprocessing, for checks and comparisons.

        Args:
            x: (N, H, W, 3) uint8 BGR; N is 1, and H and W are those of the spec, unless the file is dynamic. It counts
                as the next frame of the stream.

        Returns:
            (N, C, h, w) float32 scores, or (N, H, W) uint8 classes for a `classes` head, owned by the caller.

        Raises:
            BadInput: wrong shape or type, frames are in flight, or the engine is closed.
        """
        self._require_idle()
        self._check_input(x)
        place = self._last._replace(number=self._last.number + 1)
        self._last = place
        return self._begin_input(np.ascontiguousarray(x), place)()

    def prepare(self, in_flight: int) -> int:
        """Prepare for up to `in_flight` frames in flight, if the engine was opened with `in_flight` None.

        The first change may compile the network again; both compiled networks are kept.

        Returns:
            The maximum number of frames in flight now; fewer if the runtime does not support more.

        Raises:
            BadInput: frames are in flight, or the engine is closed.
        """
        self._require_idle()
        return self.in_flight

    def stage_runs(self) -> tuple[StageRuns, ...]:
        """Runs of each stage since the engine was opened, shallowest first; empty without a schedule."""
        return ()

    def layers(self) -> tuple[Layer, ...]:
        """The layers of the compiled graph as the runtime reports them; empty if it reports none."""
        self._require_open()
        return ()

    def close(self) -> None:
        """Free the engine's resources; calling it again does nothing."""
        if self._is_open:
            self._is_open = False
            self._started.clear()
            with self._ends:
                self._release()

    def close_with(self, ends: ExitStack) -> None:
        """Close `ends` after the engine, such as the temporary folder of its file."""
        self._ends.push(ends)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise BadInput(f"{self.path.name}: this engine is closed")

    def _require_idle(self) -> None:
        self._require_open()
        if self._started:
            raise BadInput(f"{self.path.name}: {len(self._started)} frames are in flight; call `wait` for them first")

    def _check_input(self, x: np.ndarray) -> None:
        height, width = self.spec.preprocess.size
        fits = x.ndim == 4 and x.size > 0 and x.shape[3] == 3 and x.dtype == np.uint8
        if self.spec.dynamic:
            if not fits or x.shape[1] % FREE_SIZE_STEP or x.shape[2] % FREE_SIZE_STEP:
                expected = f"uint8 (N, H, W, 3) BGR, H and W multiples of {FREE_SIZE_STEP}"
                raise BadInput(f"input is {x.dtype}{x.shape}; {self.spec.name} takes {expected}")
        elif not fits or x.shape[:3] != (1, height, width):
            raise BadInput(f"input is {x.dtype}{x.shape}; {self.spec.name} takes uint8 (1, {height}, {width}, 3) BGR")

    def _begin_frame(self, frame: Frame, style: Style) -> Callable[[], Result]:
        """Start a frame; returns a function that waits for its result. Pre- and postprocessing run on the CPU."""
        begun_ns = time.monotonic_ns()
        buffer = self.workspace.take((1, *self.spec.preprocess.size, 3), np.dtype(np.uint8))
        x = input_from_frame(frame.image, self.spec.preprocess, buffer, self.workspace)
        fed_ns = time.monotonic_ns()
        wait = self._begin_input(x, Place(frame.stream, frame.sequence, frame.index))
        return partial(self._finish_frame, frame, style, wait, begun_ns, fed_ns)

    def _finish_frame(
        self, frame: Frame, style: Style, wait: Callable[[], np.ndarray], begun_ns: int, fed_ns: int
    ) -> Result:
        output = wait()
        inferred_ns = time.monotonic_ns()
        view = view_from_scores(output[0], frame.image, self.spec, style, self.workspace)
        drawn_ns = time.monotonic_ns()
        times = Times(
            input_ns=fed_ns - begun_ns,
            infer_ns=inferred_ns - fed_ns,
            view_ns=drawn_ns - inferred_ns,
            age_ns=drawn_ns - frame.captured_ns,
            capture_ns=frame.capture_ns,
        )
        return Result(frame, *view, times=times)

    def _begin_input(self, x: np.ndarray, place: Place) -> Callable[[], np.ndarray]:
        """Start the network; returns a function that waits for its output. This default runs it in that function."""
        return partial(self._run, x, place)

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        """The network's output for x, the frame of the stream given by `place`."""
        raise NotImplementedError

    def _release(self) -> None:
        """Subclasses release their vendor objects here."""
