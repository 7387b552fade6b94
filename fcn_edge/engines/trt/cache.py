"""Cache of plans that were built when a file was opened: one folder per plan, least recently used removed.

The key contains everything that a plan depends on. With one lock per key a second process waits for the first
one's build and then uses it; folders are renamed when complete, so partial ones are never read.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, sha256_of_json, whole_folder, write_json
from fcn_edge.errors import BadInput

PLAN, NOTE = "model.plan", "key.json"
DEFAULT_LIMIT_MB = 4096


def cache_folder() -> Path:
    """$FCN_EDGE_CACHE, or fcn-edge/plans in the user's cache."""
    if folder := os.environ.get("FCN_EDGE_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcn-edge" / "plans"


def limit_bytes() -> int:
    """Maximum size of the cache: $FCN_EDGE_CACHE_MB. Raises BadInput if that is not a number."""
    text = os.environ.get("FCN_EDGE_CACHE_MB", str(DEFAULT_LIMIT_MB))
    if not text.isdigit():
        raise BadInput(f"FCN_EDGE_CACHE_MB is {text!r}; expected megabytes, such as {DEFAULT_LIMIT_MB}")
    return int(text) << 20


def cached_plan(key: Mapping[str, Any], build: Callable[[], bytes]) -> bytes:
    """The plan for a key: from the cache, or built and stored there. key: JSON of all that the plan depends on."""
    root, name = cache_folder(), sha256_of_json(dict(key))
    folder = root / name
    if (plan := _kept(folder, key)) is not None:
        return plan
    with _locked(root / f"{name}.lock"):
        if (plan := _kept(folder, key)) is not None:  # another process has built it
            return plan
        plan = build()
        with whole_folder(folder, require_ours=lambda _: None) as part:  # the name is a hash of the key
            (part / PLAN).write_bytes(plan)
            write_json(part / NOTE, {**key, "bytes": len(plan)})
    _shrink(root, keep=folder)
    return plan


def _kept(folder: Path, key: Mapping[str, Any]) -> bytes | None:
    """The plan in `folder` if it is complete and has this key; marks it as used."""
    try:
        note, plan = read_json(folder / NOTE), (folder / PLAN).read_bytes()
        os.utime(folder)
    except (BadInput, OSError):  # missing, or removed by another process
        return None
    return plan if note == {**key, "bytes": len(plan)} else None


def _shrink(root: Path, *, keep: Path) -> None:
    """Remove the least recently used plans until the rest fits; `keep` is never removed."""
    entries = sorted((entry for entry in root.iterdir() if (entry / PLAN).is_file()), key=_used, reverse=True)
    left = limit_bytes() - _size(keep)
    for entry in entries:
        if entry != keep and (left := left - _size(entry)) < 0:
            shutil.rmtree(entry, ignore_errors=True)
            with suppress(OSError):
                entry.with_name(f"{entry.name}.lock").unlink()


def _used(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


def _size(entry: Path) -> int:
    with suppress(OSError):
        return (entry / PLAN).stat().st_size
    return 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Exclusive lock on a lock file. Without flock both processes build."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(
            f"{path.parent}: cannot write the plan cache ({reason}); set FCN_EDGE_CACHE to another folder"
        ) from error
    with file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
