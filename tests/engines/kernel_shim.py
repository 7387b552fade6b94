"""kernels.cu compiled for this CPU, as kernels of a NumpyDriver: each thread after the other."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.engines.numpy_cuda import POISON, NumpyDriver

NATIVE = Path(__file__).resolve().parents[2] / "fcn_edge" / "native"
SOURCE = NATIVE / "kernels.cu"
FLAGS = ["-x", "c++", "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
MARGIN = 256  # bytes around all memory, which no kernel may touch


@functools.cache
def shim_library(folder: Path) -> ctypes.CDLL:
    """kernels.cu as a shared library; once a session."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: the CUDA kernels were not run on the CPU")
    path = folder / "kernels.so"
    subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(path)], check=True, capture_output=True)
    return ctypes.CDLL(str(path))


def kernel_names() -> list[str]:
    """What kernels.cu makes launchable."""
    text = SOURCE.read_text(encoding="utf-8")
    return re.findall(r"^(?:INPUT_FRAMES|VIEW|COUNT_NOT_FINITE|LAUNCHABLE)\((\w+)", text, re.MULTILINE)


def shim_kernels(library: ctypes.CDLL) -> dict[str, Callable[..., None]]:
    """Name -> kernel(driver, grid, block, args) for NumpyDriver."""
    return {name: functools.partial(_launch, library, name) for name in kernel_names()}


def _launch(library: ctypes.CDLL, name: str, driver, grid, block, args) -> None:
    sizes_of = getattr(library, f"sizes_{name}")
    sizes_of.restype = ctypes.POINTER(ctypes.c_uint32)
    sizes = sizes_of()
    expected = [sizes[place] for place in range(len(args) + 1)]
    assert [arg.itemsize for arg in args] + [0] == expected, f"{name}: arguments are not those of the kernel"
    values = [np.array(_on_host(driver, arg)) for arg in args]
    pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
    getattr(library, f"launch_{name}")((ctypes.c_uint32 * 3)(*grid), (ctypes.c_uint32 * 3)(*block), pointers)


def _on_host(driver: NumpyDriver, arg: np.generic) -> np.generic:
    is_address = isinstance(arg, np.uint64) and arg
    return np.uint64(driver.at(int(arg), 1).ctypes.data) if is_address else arg


class GuardedDriver(NumpyDriver):
    """A NumpyDriver whose memory has margins; `check_margins` finds what was written there."""

    def alloc(self, nbytes: int) -> int:
        address = super().alloc(nbytes)
        whole = np.full(nbytes + 2 * MARGIN, POISON, np.uint8)
        self.memory[address] = whole[MARGIN : MARGIN + nbytes]
        return address

    def check_margins(self) -> None:
        for inner in self.memory.values():
            whole = inner.base
            assert (whole[:MARGIN] == POISON).all() and (whole[-MARGIN:] == POISON).all(), "a kernel wrote outside"
