"""What every engine is: a spec, `infer` on numpy arrays, `close`. No vendor type leaves an engine's file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fcn_edge.buffers import Buffers
from fcn_edge.choices import Execution as Execution
from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Style, View
from fcn_edge.schedule import EVERY
from fcn_edge.spec import FREE_SIZE_STEP, ModelSpec, Precision
from fcn_edge.targets import TARGETS as TARGETS
from fcn_edge.targets import Provider
from fcn_edge.targets import Target as Target
from fcn_edge.transforms import input_from_frame, use_threads, view_from_scores


@dataclass(frozen=True)
class EngineOptions:
    """How to open an engine. threads: of its compute, OpenCV's and ours; None for the runtime's own choice.

    execution: arithmetic of the float parts; None takes f32, which is then asked for
    explicitly, because OpenVINO picks bf16 by itself where the CPU has it.
    in_flight: frames that may be under way at once; more than one for throughput, where the
    runtime can. Each then takes longer.
    provider: of ONNX Runtime; other targets have none to choose from.
    schedule: when which stages run (`fcn_edge.schedule`).
    allow_host_code: load TensorRT plans that bring programs of their own along.
    cuda_graph: run TensorRT plans as one recorded graph where CUDA has them.
    """

    execution: Execution | None = None
    threads: int | None = None
    in_flight: int = 1
    provider: Provider = "cpu"
    schedule: str = EVERY
    allow_host_code: bool = False
    cuda_graph: bool = True


@dataclass(frozen=True)
class Layer:
    """One node or kernel of a compiled network. op: as the compiler calls it. precision: "" if untold."""

    name: str
    op: str
    precision: str


@dataclass(frozen=True)
class StageRuns:
    """How often a stage of a network ran. stride: input pixels a cell of its scores.

    runs: of so many frames. oldest: frames that its scores were old, at most, when they were used.
    """

    stride: int
    runs: int
    frames: int
    oldest: int


Take = Callable[[tuple[int, ...], np.dtype[Any]], np.ndarray]  # an array of that shape and type to write to


class CompiledGraph(Protocol):
    """A compiled graph of any inputs and outputs, for engines that are made of several."""

    target: Target
    runtime: str
    execution: Execution

    def run(self, arrays: Sequence[np.ndarray], take: Take) -> list[np.ndarray]:
        """Outputs for inputs, both in the graph's order; the caller's own, from `take` where they need a place."""
        ...


def filled(take: Take, array: np.ndarray) -> np.ndarray:
    """A copy in an array that `take` gives."""
    out = take(array.shape, array.dtype)
    out[...] = array
    return out


class Engine:
    """A compiled network. Subclasses fill `_run`; one engine serves one thread at a time.

    target, precision, execution, runtime: what really runs, for records; runtime is
    name and version, such as "openvino 2026.4.1". in_flight: how many inputs may be under way.
    workspace: threads and arrays for its inputs and views.
    """

    target: Target
    runtime: str
    in_flight = 1
    schedule: str = EVERY

    def __init__(
        self, spec: ModelSpec, *, precision: Precision, execution: Execution, path: Path, threads: int | None = None
    ) -> None:
        self.spec, self.precision, self.execution, self.path = spec, precision, execution, path
        self.workspace = Buffers(threads)
        use_threads(threads)
        self._under_way: deque[np.ndarray] = deque()
        self._is_open = True

    def turn_to(self, frame: Frame) -> None:
        """What the next `infer` takes is this frame; engines that keep something of earlier frames want to know.

        What is kept holds within a stream and its sequence; without a call the next input
        is taken for the frame that follows the last one.
        """

    def stage_runs(self) -> tuple[StageRuns, ...]:
        """Of an engine with a schedule: each stage since it was opened, the shallowest first; else empty."""
        return ()

    def infer(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Run (N, H, W, 3) uint8 BGR; N is 1, and the size the spec's, unless the file is dynamic.

        Returns (N, C, h, w) float32 scores, or (N, H, W) uint8 classes for a `classes`
        head. The result belongs to the caller: a fresh array, or `out` filled.

        Raises:
            BadInput: wrong shape or type, or the engine is closed.
        """
        if self._under_way:
            raise BadInput(f"{self.path.name}: {len(self._under_way)} frames are under way; wait for them first")
        self.start(x)
        result = self.wait()
        if out is None:
            return result
        if out.shape != result.shape or out.dtype != result.dtype:
            raise BadInput(f"out is {out.dtype}{out.shape}; this engine yields {result.dtype}{result.shape}")
        out[...] = result
        return out

    def start(self, x: np.ndarray) -> None:
        """Begin what `infer` does. Leave x alone until `wait` has given its result.

        Raises:
            BadInput: as `infer`, or `in_flight` inputs are under way already.
        """
        self._require_open()
        self._check_input(x)
        if len(self._under_way) == self.in_flight:
            raise BadInput(f"{self.path.name}: {self.in_flight} under way already, the most it takes; wait first")
        x = np.ascontiguousarray(x)
        self._begin(x)
        self._under_way.append(x)

    def wait(self) -> np.ndarray:
        """The result of the input that was started first, as `infer` gives it. Raises BadInput where none was."""
        self._require_open()
        if not self._under_way:
            raise BadInput(f"{self.path.name}: nothing is under way; start first")
        try:
            return self._finish()
        finally:
            self._under_way.popleft()

    def segment(self, image: np.ndarray, style: Style = Style()) -> View:  # noqa: B008 - frozen
        """Class map and overlay of one frame (H, W, 3) uint8 BGR, at the frame's size."""
        output = self.infer(input_from_frame(image, self.spec.preprocess, workspace=self.workspace))
        return view_from_scores(output[0], image, self.spec, style, self.workspace)

    def layers(self) -> tuple[Layer, ...]:
        """The compiled graph's own account of itself; empty where the runtime does not tell."""
        self._require_open()
        return ()

    def close(self) -> None:
        """Free what the engine holds; calling it again does nothing."""
        if self._is_open:
            self._is_open = False
            self._release()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if not self._is_open:
            raise BadInput(f"{self.path.name}: this engine is closed")

    def _check_input(self, x: np.ndarray) -> None:
        height, width = self.spec.preprocess.size
        fits = x.ndim == 4 and x.size > 0 and x.shape[3] == 3 and x.dtype == np.uint8
        if self.spec.dynamic:
            if not fits or x.shape[1] % FREE_SIZE_STEP or x.shape[2] % FREE_SIZE_STEP:
                wanted = f"uint8 (N, H, W, 3) BGR, H and W multiples of {FREE_SIZE_STEP}"
                raise BadInput(f"input is {x.dtype}{x.shape}; {self.spec.name} takes {wanted}")
        elif not fits or x.shape[:3] != (1, height, width):
            raise BadInput(f"input is {x.dtype}{x.shape}; {self.spec.name} takes uint8 (1, {height}, {width}, 3) BGR")

    def _run(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _begin(self, x: np.ndarray) -> None:
        """Subclasses that compute on their own threads start here; others compute in `_finish`."""

    def _finish(self) -> np.ndarray:
        """The result of the first of `_under_way`."""
        return self._run(self._under_way[0])

    def _release(self) -> None:
        """Subclasses drop their vendor objects here."""
