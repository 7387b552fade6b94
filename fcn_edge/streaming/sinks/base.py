"""What every sink is."""

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
    """Takes results in order. `write` is called from one thread only; from one a source where a sink serves several.

    needs_caller_thread: windows want the main thread. needs_overlay: shows `Result.overlay`.
    is_done: the user has seen enough. count: results written; missed: results that a live stream
    did not wait with. notes: what was changed on the way out. greeting: what people have to know
    before the first result, "" for nothing; it may hold a token and belongs on the terminal only.
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
        """Called once before the first result; `figures` tells how each source stands, now and later, to any thread."""

    def write(self, result: Result) -> None:
        """Take one result. Raises BadInput where it cannot be written."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish what was written; calling it again, or after `discard`, does nothing."""

    def discard(self) -> None:
        """Remove what is not finished, after a `write` that failed."""

    def describe(self) -> str:
        """What was written, in one line."""
        return f"{self.uri.rstrip(':')}: {self.count} frames"


class Null(Sink):
    """Counts and forgets."""

    def write(self, result: Result) -> None:
        self.count += 1


def require_writable(folder: Path) -> None:
    """Make `folder` where it is missing and write a byte there. Raises BadInput where that fails."""
    probe = folder / f".fcn-edge.probe{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"{folder}: cannot be written ({reason}); choose a folder that you may write to") from error
    finally:
        with suppress(OSError):  # a full disk takes the name and not the byte
            probe.unlink()
