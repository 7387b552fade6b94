"""The kernels compute on 64-bit ARM, with its vectors, what they compute here without any."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "native" / "kernels_digest.cpp"
FLAGS = ["-std=c++17", "-ffp-contract=off", "-pthread", f"-I{HERE.parent / 'fcn_edge' / 'native'}", str(SOURCE)]
PATIENCE_S = 300  # an emulator on a busy machine


def test_neon_gives_the_bits_of_the_plain_code(tmp_path):
    cross, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if not (cross and emulator and shutil.which("g++")):
        pytest.skip("no g++-aarch64-linux-gnu and qemu-user here: the ARM build of the kernels was not run")
    here, arm = tmp_path / "here", tmp_path / "arm"
    subprocess.run(["g++", "-O1", "-fno-tree-vectorize", *FLAGS, "-o", str(here)], check=True)
    subprocess.run([cross, "-O3", "-fopenmp-simd", "-static", *FLAGS, "-o", str(arm)], check=True)
    wanted = subprocess.run([str(here)], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    found = subprocess.run([emulator, str(arm)], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    assert len(wanted.splitlines()) == len(set(wanted.splitlines())) == 300
    assert found == wanted
