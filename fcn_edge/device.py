"""What machine this is, in the words that a record needs; standard library only."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Instruction sets that decide how fast a network runs on a CPU, as /proc/cpuinfo names them.
INSTRUCTION_SETS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)


@dataclass(frozen=True)
class Device:
    """A machine. cores: that this process may use. instruction_sets: those that matter here."""

    cpu: str
    cores: int
    architecture: str
    instruction_sets: tuple[str, ...]
    memory_gb: float | None
    system: str
    jetpack: str | None = None

    @property
    def name(self) -> str:
        """One word that names the device in a file name, such as "amd-epyc-2c"."""
        words = "".join(letter if letter.isalnum() else "-" for letter in self.cpu.lower()).split("-")
        return "-".join([*[word for word in words if word][:4], f"{self.cores}c"])

    @property
    def has_vnni(self) -> bool:
        """Whether this x86 CPU multiplies uint8 by int8 without saturating."""
        return bool({"avx512_vnni", "avx_vnni", "amx_int8"} & set(self.instruction_sets))

    @property
    def has_bf16(self) -> bool:
        """Whether this CPU multiplies in bf16."""
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(self.instruction_sets))


def this_device() -> Device:
    """The machine that this process runs on."""
    info = _cpuinfo()
    flags = set(info.get("flags", info.get("Features", "")).split())
    return Device(
        cpu=info.get("model name", "") or platform.processor() or platform.machine(),
        cores=usable_cpus(),
        architecture=platform.machine(),
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.release()}",
        jetpack=_first_line_of(Path("/etc/nv_tegra_release")),
    )


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Name -> version of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the checkout that this package is run from; None where it is installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _first_line_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return None
