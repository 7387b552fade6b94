"""What may be written where: fcn-edge replaces files that it wrote itself, never one that the same command reads.

A file of ours is recognised by its content, so that it may be copied and renamed: ONNX files and checkpoints
by their metadata, JSON, CSV, lines and logs by how they begin, all others by a mark that is written into them.
Where anything else stands, the command ends before it begins; whoever wants the name moves that file away.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path

from fcn_edge.errors import BadInput

MARK = "written by fcn-edge"
LOOKED_AT = 2**20  # bytes from either end
MOMENT = rb'\A\{"time": "[^"]+", "stream": \d+, "frame": \d+, "at_s": '
SIGNS: dict[str, re.Pattern[bytes]] = {
    "onnx": re.compile(rb"fcn_edge\.(spec|quantization)"),
    "safetensors": re.compile(rb"\A.{8}\{.*fcn_edge\.", re.DOTALL),
    "json": re.compile(rb'\A\{\n  "(schema": \d|tensors": \{|agree": (true|false),|made_by": ")'),
    "jsonl": re.compile(MOMENT),
    "csv": re.compile(rb"\Amodel,precision,execution,target,runtime,"),
    "junit": re.compile(rb'<testsuite name="fcn-edge gate"'),
    "log": re.compile(rb"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ fcn-edge [A-Z]+ "),
}
MARKED = re.compile(MARK.encode())
PNG_HEAD = 33  # bytes of its signature and of IHDR, behind which other chunks may stand


def require_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | str | None] = (), *, kind: str | None = None
) -> None:
    """Raises BadInput unless each of `outputs` may be written; None is an option that was not given.

    inputs: files, folders, globs and data sets that the command reads. kind: one of SIGNS; by the suffix if None.
    """
    given = [path for path in outputs if path is not None]
    require_apart(given, inputs)
    for path in given:
        require_replaceable(path, kind)


def require_lines(path: Path, kind: str, old: int) -> None:
    """As `require_replaceable`, of a file that lines are added to and `old` files NAME.1, NAME.2 that it becomes.

    A terminal or a pipe takes lines too.
    """
    if path.is_file() or path.is_dir() or not path.exists():
        for name in (path, *(path.with_name(f"{path.name}.{number + 1}") for number in range(old))):
            require_replaceable(name, kind)


def require_apart(outputs: Iterable[Path], inputs: Iterable[Path | str | None], *, whole: bool = False) -> None:
    """Raises BadInput where an output is an input by identity, or another output.

    whole: outputs are folders that are replaced as a whole, so that no input may lie in one either.
    """
    read = [path for source in inputs if source is not None for path in _paths_of(source)]
    written = set[str]()
    for out in outputs:
        for path in read:
            if _is_same(out, path) or (whole and _is_inside(path, out)):
                named = "" if str(path) == str(out) else f", as {path}"
                raise BadInput(f"{out}: is read by this command{named}; write to another place")
        name = os.path.realpath(out)
        if name in written:
            raise BadInput(f"{out}: is written twice by this command; choose another name for one of them")
        written.add(name)


def require_replaceable(path: Path, kind: str | None = None) -> None:
    """Raises BadInput where something stands at `path` that fcn-edge did not write as a file of that kind."""
    if not os.path.lexists(path) or is_ours(path, kind):
        return
    if path.is_dir():
        raise BadInput(f"{path}: cannot be written (it is a folder); give the name of a file")
    if not path.is_file() and path.exists():
        raise BadInput(f"{path}: cannot be written (it is a device or a pipe); give the name of a file")
    raise BadInput(f"{path}: exists, and fcn-edge did not write it; move it away, or choose another name")


def is_ours(path: Path, kind: str | None = None) -> bool:
    """Whether `path` is a file that fcn-edge wrote as one of that kind (None: by its suffix), or an empty one."""
    if not path.is_file():
        return path.is_symlink() and not path.exists()  # a link to nothing
    with path.open("rb") as file:
        data = file.read(LOOKED_AT)
        file.seek(max(len(data), path.stat().st_size - LOOKED_AT))
        data += file.read()
    sign = SIGNS.get(kind or path.suffix.lower().removeprefix("."), MARKED)
    return not data or sign.search(data) is not None


def marked_png(data: bytes, mark: str = MARK) -> bytes:
    """The same PNG with the mark in it, as text under "Software"."""
    text = b"tEXtSoftware\0" + mark.encode("ascii")
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return data[:PNG_HEAD] + chunk + data[PNG_HEAD:]


def marked_jpeg(data: bytes) -> bytes:
    """The same JPEG with the mark in it, as a comment."""
    text = MARK.encode("ascii")
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[2:]


def _paths_of(source: Path | str) -> Iterator[Path]:
    """What exists of a path, a glob or a data set KIND:PATH#SPLIT, also of one of two paths, FILE.json,IMAGES."""
    text = str(source).removeprefix("file://")
    if "://" in text or text.startswith("gst:"):
        return
    path = re.sub(r"\A\w+:", "", text).partition("#")[0]
    for name in (text, path, *path.split(",")[: 2 if "," in path else 0]):
        if name and os.path.exists(name):
            yield Path(name)
        elif any(letter in name for letter in "*?["):
            yield from map(Path, glob(name, recursive=True))


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, or what it is a link to, lies in `folder`."""
    parents = (*Path(os.path.abspath(path)).parents, *Path(os.path.realpath(path)).parents)
    return any(_is_same(folder, parent) for parent in parents)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False
