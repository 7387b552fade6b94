"""The interface of all sinks."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.errors import BadInput
from fcn_edge.frame import Result

if TYPE_CHECKING:
    from fcn_edge.streaming.summary import StreamFigures


class Sink:
    """Takes results in order. `write` is called from one thread per source.

    needs_caller_thread: windows need the main thread. needs_overlay: uses `Result.overlay`.
    is_done: the user has ended the run. count: results written; missed: results of a live stream that the sink
    was too slow for. notes: changes made to results. greeting: message for the user before the first result,
    "" for none; it may contain a token, so print it only to the terminal.
    """

    needs_caller_thread = False
    needs_overlay = False

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.is_done = False
        self.count = self.missed = 0
        self.notes: list[str] = []
        self.greeting = ""

    def begin(self, figures: Callable[[], tuple[StreamFigures, ...]]) -> None:
        """Called once before the first result; `figures` returns the current state of each source, from any thread."""

    def write(self, result: Result) -> None:
        """Write one result. Raises BadInput if it cannot be written."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish what was written; calling it again, or after `discard`, does nothing."""

    def discard(self) -> None:
        """Remove unfinished output after a failed `write`."""

    def describe(self) -> str:
        """The output in one line."""
        return f"{self.uri.rstrip(':')}: {self.count} frames"


class Null(Sink):
    """Counts results and discards them."""

    def write(self, result: Result) -> None:
        self.count += 1


def require_writable(folder: Path) -> None:
    """Create `folder` if it is missing and write a byte to it. Raises BadInput if that fails."""
    probe = folder / f".fcn-edge.probe{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"{folder}: not writable ({reason}); choose another folder") from error
    finally:
        with suppress(OSError):  # a full disk creates the file but not its content
            probe.unlink()
