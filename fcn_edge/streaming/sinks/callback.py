"""A Python function as a sink."""

from __future__ import annotations

from collections.abc import Callable

from fcn_edge.frame import Result
from fcn_edge.streaming.sinks.base import Sink


class Callback(Sink):
    """Calls a function with each result, in the thread that runs the network."""

    needs_caller_thread = True
    needs_overlay = True

    def __init__(self, function: Callable[[Result], object], number: int = 0) -> None:
        """number: of the function in the run."""
        super().__init__(f"function:{number}")
        self._function = function
        self._name = getattr(function, "__qualname__", type(function).__name__)

    def write(self, result: Result) -> None:
        self._function(result)
        self.count += 1

    def describe(self) -> str:
        return f"{self._name}: {self.count} results"
