"""The CUDA driver through NVIDIA's `cuda-python`. Flat calls, documented in `cuda.Driver`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from cuda.bindings import driver

from fcn_edge.engines.trt.cuda import CudaFailed, Gpu, Size3
from fcn_edge.errors import first_line

_SM = (
    driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
    driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
)
_THREAD_LOCAL = (
    driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
)  # other threads may allocate during a capture

_EXTERNAL = driver.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL.value


def _call(name: str, *args: Any) -> Any:
    """The return values of a driver function without its error code. Raises CudaFailed."""
    try:
        code, *values = getattr(driver, name)(*args)
    except RuntimeError as error:  # the driver's library, or this function in it, is missing
        raise CudaFailed(f"CUDA: {name} cannot be called ({first_line(error)})") from error
    if code != driver.CUresult.CUDA_SUCCESS:
        raise CudaFailed(f"CUDA: {name} failed ({_words(code)})")
    return values[0] if values else None


def _words(code: Any) -> str:
    status, text = driver.cuGetErrorString(code)
    return text.decode() if status == driver.CUresult.CUDA_SUCCESS and text else str(code)


class CudaPython:
    """`cuda.Driver` on device 0's primary context."""

    can_capture = True

    def __init__(self) -> None:
        self.name = f"cuda-python {version('cuda-bindings')}"
        _call("cuInit", 0)
        self._device = _call("cuDeviceGet", 0)
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)

    def gpu(self) -> Gpu:
        name = _call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        major, minor = (_call("cuDeviceGetAttribute", attribute, self._device) for attribute in _SM)
        newest = _call("cuDriverGetVersion")
        driver_version = f"{newest // 1000}.{newest % 1000 // 10}"
        return Gpu(name, 10 * major + minor, _call("cuDeviceTotalMem", self._device), driver_version)

    def enter(self) -> None:
        _call("cuCtxPushCurrent", self._context)

    def leave(self) -> None:
        _call("cuCtxPopCurrent")

    def free_bytes(self) -> int:
        code, free, _ = driver.cuMemGetInfo()
        if code != driver.CUresult.CUDA_SUCCESS:
            raise CudaFailed(f"CUDA: cuMemGetInfo failed ({_words(code)})")
        return int(free)

    def alloc(self, nbytes: int) -> int:
        return int(_call("cuMemAlloc", nbytes))

    def free(self, address: int) -> None:
        _call("cuMemFree", address)

    def alloc_host(self, nbytes: int) -> np.ndarray:
        address = int(_call("cuMemHostAlloc", nbytes, 0))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def free_host(self, array: np.ndarray) -> None:
        _call("cuMemFreeHost", array.ctypes.data)

    def create_stream(self) -> int:
        return int(_call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value))

    def destroy_stream(self, stream: int) -> None:
        _call("cuStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        _call("cuStreamSynchronize", stream)

    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None:
        _call("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None:
        _call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def create_event(self) -> int:
        return int(_call("cuEventCreate", driver.CUevent_flags.CU_EVENT_DEFAULT.value))

    def destroy_event(self, event: int) -> None:
        _call("cuEventDestroy", event)

    def record(self, event: int, stream: int) -> None:
        _call("cuEventRecord", event, stream)

    def record_in_graph(self, event: int, stream: int) -> None:
        _call("cuEventRecordWithFlags", event, stream, _EXTERNAL)

    def hold(self, stream: int, event: int) -> None:
        _call("cuStreamWaitEvent", stream, event, 0)

    def wait_for(self, event: int) -> None:
        _call("cuEventSynchronize", event)

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(_call("cuEventElapsedTime", start, end))

    def load_module(self, image: bytes) -> int:
        return int(_call("cuModuleLoadData", image + b"\0"))  # PTX is text that ends in a zero byte

    def unload_module(self, module: int) -> None:
        _call("cuModuleUnload", module)

    def function(self, module: int, name: str) -> int:
        return int(_call("cuModuleGetFunction", module, name.encode()))

    def launch(
        self, function: int, grid: Size3, block: Size3, shared_bytes: int, stream: int, args: Sequence[np.generic]
    ) -> None:
        values = [np.array(arg) for arg in args]
        pointers = np.array([value.ctypes.data for value in values], np.uint64)
        _call("cuLaunchKernel", function, *grid, *block, shared_bytes, stream, pointers.ctypes.data, 0)

    def begin_capture(self, stream: int) -> None:
        _call("cuStreamBeginCapture", stream, _THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        graph = _call("cuStreamEndCapture", stream)
        try:
            return int(_call("cuGraphInstantiate", graph, 0))
        finally:
            _call("cuGraphDestroy", graph)

    def launch_graph(self, graph: int, stream: int) -> None:
        _call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        _call("cuGraphExecDestroy", graph)

    def close(self) -> None:
        _call("cuDevicePrimaryCtxRelease", self._device)
