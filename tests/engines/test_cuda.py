"""The CUDA interface: on numpy, and the real packages over a driver that is a stub."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fcn_edge.engines.trt import cuda as cuda_module
from fcn_edge.engines.trt.cuda import Cuda, CudaFailed, open_cuda
from fcn_edge.errors import BackendMissing
from tests.engines.cuda_contract import check_all
from tests.engines.numpy_cuda import NumpyDriver
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).parent / "stubs" / "libcuda.cpp"
IMAGE = b"stub kernels"
PACKAGES = {"cuda-python": ("cuda", "cuda_python.CudaPython"), "pycuda": ("pycuda", "cuda_pycuda.PyCuda")}


def scale(driver, grid, block, args):
    address, by, count = args
    assert grid[0] * block[0] >= count
    driver.at(int(address), 4 * int(count)).view(np.float32)[...] *= by


@pytest.fixture
def driver():
    return NumpyDriver(kernels={"scale": scale})


@pytest.mark.parametrize("can_capture", [True, False])
def test_numpy_keeps_the_contract_and_leaks_nothing(driver, can_capture, monkeypatch):
    driver.can_capture = can_capture
    if not can_capture:
        monkeypatch.setattr(driver, "begin_capture", refuse_capture)
    check_all(Cuda(driver), IMAGE)
    assert driver.leaks == [] and driver.entered == 0 and driver.is_closed


def refuse_capture(stream):
    raise CudaFailed("it has no CUDA graphs")


@pytest.fixture(scope="session")
def stub_driver(tmp_path_factory):
    """libcuda.so.1 of the stub; a process that loads it first gets it wherever it asks for the driver."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++: the real CUDA packages were not driven")
    path = tmp_path_factory.mktemp("stub") / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-std=c++17", f"-Wl,-soname,{path.name}"]
    subprocess.run([compiler, *flags, str(STUB), "-o", str(path), "-ldl"], check=True, capture_output=True)
    return path


def over_stub(stub: Path, package: str, code: str, fail: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `code` with `cuda`, a Cuda over that package, in a process where the stub is the driver."""
    module, kind = PACKAGES[package]
    if find_spec(module) is None:
        pytest.skip(f"{package} is not installed: it was not held against the contract")
    where, name = kind.split(".")
    lines = [
        f"import ctypes; ctypes.CDLL({str(stub)!r}, ctypes.RTLD_GLOBAL)",
        f"from fcn_edge.engines.trt.{where} import {name}",
        "from fcn_edge.engines.trt.cuda import Cuda, CudaFailed",
        "from tests.engines.cuda_contract import check_all",
        f"cuda = Cuda({name}())",
        code,
    ]
    environment = {**os.environ, "FCN_STUB_FAIL": fail}
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_real_package_keeps_the_contract_over_a_stub_driver(stub_driver, package):
    run = over_stub(stub_driver, package, f"check_all(cuda, {IMAGE!r}); print(cuda.gpu)")
    assert run.returncode == 0, run.stderr
    assert "name='Stub A1', sm=86, memory_bytes=8589934592, driver='12.6'" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_failing_driver_call_is_one_plain_sentence(stub_driver, package):
    code = "\n".join(
        [
            "with cuda.active():",
            "    try: cuda.alloc(64)",
            "    except CudaFailed as error: print(error)",
            "cuda.close()",
        ]
    )
    run = over_stub(stub_driver, package, code, fail="cuMemAlloc_v2")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("CUDA: cuMemAlloc")


def test_close_frees_all_even_where_some_of_it_fails(driver):
    cuda = Cuda(driver)
    with cuda.active():
        cuda.alloc(8), cuda.stream(), cuda.pinned((4,), np.uint8), cuda.event()
    driver.fail("free_host")
    with refused(CudaFailed, "free_host"):
        cuda.close()
    assert driver.leaks == [] and driver.entered == 0


def test_close_waits_for_what_is_queued(driver):
    cuda = Cuda(driver)
    with cuda.active():
        memory, source, stream = cuda.alloc(8), cuda.pinned((8,), np.uint8), cuda.stream()
        stream.copy_in(memory, source.array)
    cuda.close()
    assert driver.leaks == []


def test_copy_that_has_no_room_or_is_scattered_is_refused(driver):
    cuda = Cuda(driver)
    with cuda.active():
        memory, stream = cuda.alloc(8), cuda.stream()
        with refused(CudaFailed, "9 bytes", "8 bytes"):
            stream.copy_in(memory, cuda.pinned((9,), np.uint8).array)
        with refused(CudaFailed, "contiguous"):
            stream.copy_out(cuda.pinned((8,), np.uint8).array[::2], memory)


def test_neither_package_is_reported_with_what_to_install(monkeypatch):
    monkeypatch.setattr(cuda_module, "find_spec", lambda name: None)
    with refused(BackendMissing, "cuda-python", "pycuda"):
        open_cuda()


# The numpy device punishes what a GPU would punish at random.


@pytest.fixture
def cuda(driver):
    cuda = Cuda(driver)
    with cuda.active():
        yield cuda


def test_result_is_poison_before_it_is_waited_for(cuda):
    memory, source, target, stream = (
        cuda.alloc(4),
        cuda.pinned((4,), np.uint8),
        cuda.pinned((4,), np.uint8),
        cuda.stream(),
    )
    source.array[...] = 1
    stream.copy_in(memory, source.array)
    stream.copy_out(target.array, memory)
    assert not (target.array == 1).any()
    stream.synchronize()
    assert (target.array == 1).all()


def test_source_that_changes_under_its_copy_is_caught(cuda):
    memory, source, stream = cuda.alloc(4), cuda.pinned((4,), np.uint8), cuda.stream()
    stream.copy_in(memory, source.array)
    source.array[...] = 2
    with pytest.raises(AssertionError, match="source"):
        stream.synchronize()


def test_memory_freed_in_use_is_caught(cuda):
    memory, source, stream = cuda.alloc(4), cuda.pinned((4,), np.uint8), cuda.stream()
    stream.copy_in(memory, source.array)
    for held, words in ((memory, "queued"), (source, "while read")):
        with pytest.raises(AssertionError, match=words):
            held.close()


def test_host_memory_that_is_not_pinned_is_caught(cuda):
    with pytest.raises(AssertionError, match="moves"):
        cuda.stream().copy_in(cuda.alloc(4), np.zeros(4, np.uint8))


def test_call_outside_of_active_is_caught(driver):
    with pytest.raises(AssertionError, match=r"active\(\)"):
        Cuda(driver).alloc(4)
