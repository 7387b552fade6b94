"""Files that grow while a recording is segmented: NAME.recording.SUFFIX until they are whole.

What a killed run left under that name is kept under another that no run writes over.
"""

from __future__ import annotations

import sys
from io import FileIO
from pathlib import Path
from typing import IO, Any

from fcn_edge.errors import BadInput


def unfinished_name(path: Path) -> Path:
    """What the file is called while it grows."""
    return path.with_name(f"{path.stem}.recording{path.suffix}")


def lock(file: IO[Any] | FileIO) -> None:
    """Lock an open file for this process. Raises OSError where another has it; does nothing where there is no flock."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def keep_unfinished(path: Path) -> str:
    """Rename what a killed run left of `path`; a note that says so, "" where nothing was left.

    Raises BadInput where another run is still writing it.
    """
    left = unfinished_name(path)
    if not left.exists():
        return ""
    if _is_locked(left):
        raise BadInput(f"{left}: another run is recording there; choose another name")
    number = 1
    while (kept := path.with_name(f"{path.stem}.killed-{number}{path.suffix}")).exists():
        number += 1
    left.rename(kept)
    return f"the recording of a run that was killed is kept as {kept.name}"


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
