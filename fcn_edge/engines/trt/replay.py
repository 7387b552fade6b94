"""Record repeated work of a stream as a CUDA graph if possible."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fcn_edge.engines.trt.cuda import CudaGraph, Stream
from fcn_edge.errors import BackendMissing

log = logging.getLogger(__name__)


class Recorder:
    """Records work as CUDA graphs; after the first failure all work is queued call by call."""

    def __init__(self, stream: Stream, name: str, *, is_wanted: bool) -> None:
        """name: of the engine, for the log."""
        self.stream, self._name, self._is_wanted = stream, name, is_wanted

    def graph_of(self, queue: Callable[[], None]) -> CudaGraph | None:
        """Capture the work of `queue` as a graph without running it. None if graphs are not available."""
        if not self._is_wanted:
            return None
        self.stream.synchronize()  # a capture must start in an empty stream
        try:
            with self.stream.captured() as made:
                queue()
        except BackendMissing as error:
            self._is_wanted = False
            log.warning("%s: runs without a CUDA graph (%s)", self._name, error)
            return None
        return made[0]


class Replay:
    """Work that is queued call by call the first time and as one CUDA graph from the second time on.

    TensorRT initialises itself in its first run, which must not be captured.
    """

    def __init__(self, recorder: Recorder, queue: Callable[[], None]) -> None:
        self._recorder, self._queue = recorder, queue
        self._graph: CudaGraph | None = None
        self._runs = 0

    def prepare(self) -> None:
        """Record the work if the next `start` runs a graph."""
        if self._runs == 1 and self._graph is None:
            self._graph = self._recorder.graph_of(self._queue)

    def start(self) -> None:
        """Queue the work once."""
        if self._graph is not None:
            self._recorder.stream.run(self._graph)
        else:
            self._queue()
        self._runs += 1

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()
