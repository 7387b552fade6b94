"""Files that are either whole or not there, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fcn_edge.errors import BadInput
from fcn_edge.outputs import require_replaceable


@contextmanager
def whole_file(path: Path, *, kind: str | None = None, replaces: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it becomes `path`, on failure it is removed.

    kind: see `require_replaceable`. replaces: whatever stands there, since the caller has looked at it.

    Raises:
        BadInput: the folder cannot be made or written, the disk is full, or `path` holds what fcn-edge did not write.
    """
    if not replaces:
        require_replaceable(path, kind)
    part = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise BadInput(_write_failure(path, error)) from error
    finally:
        with suppress(OSError):  # not there, or its folder is none: the error above says so
            part.unlink()


@contextmanager
def whole_folder(path: Path, *, require_ours: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Like `whole_file` for a folder; an older folder at `path` is replaced only on success.

    require_ours: raises BadInput where an older folder is not to be replaced; without it none is, unless it is empty.
    """
    _require_free_folder(path, require_ours)
    part = path.with_name(f".{path.name}.part{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        _require_free_folder(path, require_ours)  # it may have come, or been filled, meanwhile
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    except OSError as error:
        raise BadInput(_write_failure(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_free_folder(path: Path, require_ours: Callable[[Path], None] | None) -> None:
    if path.is_dir() and (Path.cwd().samefile(path) or path.name in ("", "..")):
        raise BadInput(f"{path}: is the current folder, or around it; name a folder inside it")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if require_ours is None:
        raise BadInput(f"{path}: exists already, and is not empty; choose another name")
    require_ours(path)


def _write_failure(path: Path, error: OSError) -> str:
    if error.filename is not None and not _is_inside(Path(os.fsdecode(error.filename)), path.parent):
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno == errno.ENOSPC:
        return f"{path}: the disk is full; free some space or write elsewhere. Nothing was left behind."
    reason = error.strerror or str(error)
    return f"{path}: cannot be written ({reason}); choose a folder that you may write to"


def _is_inside(path: Path, folder: Path) -> bool:
    return folder.absolute() == path.absolute() or folder.absolute() in path.absolute().parents


def write_json(path: Path, value: Any, *, replaces: bool = False) -> None:
    """Write `value` as JSON that a person can read, whole or not at all; NaN is refused, use None."""
    text = _laid_out(value, "")
    with whole_file(path, kind="json", replaces=replaces) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _laid_out(value: Any, margin: str) -> str:
    """Objects a key a line; lists of plain values, or of pairs of them, on one line, however long."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(str(key))}: {_laid_out(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, (list, tuple)) and any(issubclass(kind, dict) for kind in set(map(type, value))):
        return "[\n" + ",\n".join(f"{inner}{_laid_out(item, inner)}" for item in value) + f"\n{margin}]"
    return json.dumps(value, allow_nan=False)


def read_json(path: Path, *, limit_mb: int = 64) -> dict[str, Any]:
    """The JSON object in `path`, also compressed by xz. Raises BadInput where there is none, or past `limit_mb`."""
    require_file(path, "a JSON file")
    most = limit_mb * 2**20
    if path.stat().st_size > most:
        raise BadInput(f"{path}: {path.stat().st_size >> 20} MB of JSON; more than {limit_mb} MB is not read")
    text = path.read_bytes() if path.suffix != ".xz" else _unpacked(path, most)
    value = json_from_text(text, str(path))
    if not isinstance(value, dict):
        raise BadInput(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _unpacked(path: Path, most: int) -> bytes:
    import lzma  # some builds of Python lack it

    try:
        with lzma.open(path) as file:
            text = file.read(most + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise BadInput(f"{path}: not a whole file of xz ({error})") from error
    if len(text) > most:
        raise BadInput(f"{path}: unpacks to more than {most >> 20} MB of JSON, which is not read")
    return text


def json_from_text(text: str | bytes, where: str) -> Any:
    """The JSON value in `text`. Raises BadInput naming `where` it stood."""
    try:
        return json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON ({error})") from error


def require_file(path: Path, expected: str) -> Path:
    """`path` itself if it is a file with something in it; otherwise BadInput naming what was expected."""
    if not path.exists():
        raise BadInput(f"{path}: no such file; expected {expected}")
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a device or a pipe"
        raise BadInput(f"{path}: is {found}; expected {expected}")
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: the file is empty; expected {expected}")
    return path


def sha256_of_file(path: Path) -> str:
    """Hex SHA-256 of the bytes of `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_checksum(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A JSON object with the SHA-256 of all the rest of it under `key`, in place of what stands there."""
    rest = {name: part for name, part in value.items() if name != key}
    return {**rest, key: sha256_of_json(rest)}
