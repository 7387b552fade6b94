"""Files that are written during a run: NAME.recording.SUFFIX until they are complete.

An unfinished file of a killed run is renamed, so that it is not overwritten.
"""

from __future__ import annotations

import sys
from io import FileIO
from pathlib import Path
from typing import IO, Any

from fcn_edge.errors import BadInput


def unfinished_name(path: Path) -> Path:
    """The name of the file until it is complete."""
    return path.with_name(f"{path.stem}.recording{path.suffix}")


def lock(file: IO[Any] | FileIO) -> None:
    """Lock an open file for this process. Raises OSError if another process has it; does nothing without flock."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def keep_unfinished(path: Path) -> str:
    """Rename an unfinished file of a killed run of `path`; returns a note, or "" if there is none.

    Raises BadInput if another run is still writing it.
    """
    left = unfinished_name(path)
    if not left.exists():
        return ""
    if _is_locked(left):
        raise BadInput(f"{left}: another run is writing this file; choose another name")
    number = 1
    while (kept := path.with_name(f"{path.stem}.killed-{number}{path.suffix}")).exists():
        number += 1
    left.rename(kept)
    return f"the unfinished recording of a killed run was renamed to {kept.name}"


def _is_locked(path: Path) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
