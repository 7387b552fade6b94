"""A finding of doctor, and the machine that it reads; standard library only."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_edge.device import package_versions

State = Literal["ok", "missing", "warning"]
TIMEOUT_S = 10  # of any tool that is run; a driver that hangs must not hang doctor


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. advice: what to do; empty where nothing needs doing."""

    name: str
    state: State
    found: str
    advice: str = ""


def output_of(command: Sequence[str]) -> str | None:
    """What a tool prints; None where it is missing, fails or times out."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


@dataclass(frozen=True)
class Machine:
    """What doctor reads: files below `root`, tools, and Python packages. Tests have machines of their own."""

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str | None] = output_of
    versions: Callable[[Sequence[str]], dict[str, str]] = package_versions

    def text(self, path: str) -> str:
        """A file's text without trailing zeros and blanks (as in the device tree); empty where there is none."""
        try:
            return (self.root / path).read_bytes().decode(errors="replace").strip("\0 \n")
        except OSError:
            return ""

    def package(self, name: str) -> str:
        """The version of a Debian package that is installed, or nothing."""
        return (self.run(["dpkg-query", "--show", "--showformat=${Version}", name]) or "").strip()
