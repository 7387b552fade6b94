"""The CUDA driver through `pycuda`. Flat calls, documented in `cuda.Driver`.

pycuda frees objects without references, so they are kept here by address or handle.
It does not support CUDA graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycuda
import pycuda.driver as driver

from fcn_edge.engines.trt.cuda import CudaFailed, Gpu, Size3
from fcn_edge.errors import first_line

_NO_GRAPHS = "pycuda does not support CUDA graphs; install cuda-python"


def _call(what: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Raises CudaFailed if pycuda raises one of its errors."""
    try:
        return function(*args, **named)
    except driver.Error as error:
        raise CudaFailed(f"CUDA: {what} failed ({first_line(error)})") from error


@functools.cache
def _primary_context() -> tuple[Any, Any]:
    """Device 0 and its primary context, retained once per process: pycuda releases it when the process ends."""
    _call("cuInit", driver.init)
    device = _call("cuDeviceGet", driver.Device, 0)
    return device, _call("cuDevicePrimaryCtxRetain", device.retain_primary_context)


class PyCuda:
    """`cuda.Driver` on device 0's primary context."""

    can_capture = False

    def __init__(self) -> None:
        self.name = f"pycuda {pycuda.VERSION_TEXT}"
        self._device, self._context = _primary_context()
        self._kept: dict[int, Any] = {}

    def _keep(self, key: int, thing: Any) -> int:
        self._kept[key] = thing
        return key

    def gpu(self) -> Gpu:
        major, minor = self._device.compute_capability()
        newest = driver.get_driver_version()
        driver_version = f"{newest // 1000}.{newest % 1000 // 10}"
        return Gpu(self._device.name(), 10 * major + minor, self._device.total_memory(), driver_version)

    def enter(self) -> None:
        _call("cuCtxPushCurrent", self._context.push)

    def leave(self) -> None:
        _call("cuCtxPopCurrent", self._context.pop)

    def free_bytes(self) -> int:
        return int(_call("cuMemGetInfo", driver.mem_get_info)[0])

    def alloc(self, nbytes: int) -> int:
        memory = _call("cuMemAlloc", driver.mem_alloc, nbytes)
        return self._keep(int(memory), memory)

    def free(self, address: int) -> None:
        _call("cuMemFree", self._kept.pop(address).free)

    def alloc_host(self, nbytes: int) -> np.ndarray:
        return _call("cuMemHostAlloc", driver.pagelocked_empty, nbytes, np.uint8)

    def free_host(self, array: np.ndarray) -> None:
        _call("cuMemFreeHost", array.base.free)  # type: ignore[union-attr]

    def create_stream(self) -> int:
        stream = _call("cuStreamCreate", driver.Stream)
        return self._keep(stream.handle, stream)

    def destroy_stream(self, stream: int) -> None:
        del self._kept[stream]

    def synchronize(self, stream: int) -> None:
        _call("cuStreamSynchronize", self._kept[stream].synchronize)

    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None:
        _call("cuMemcpyHtoDAsync", driver.memcpy_htod_async, address, array, self._kept[stream])

    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None:
        _call("cuMemcpyDtoHAsync", driver.memcpy_dtoh_async, array, address, self._kept[stream])

    def create_event(self) -> int:
        event = _call("cuEventCreate", driver.Event)
        return self._keep(id(event), event)

    def destroy_event(self, event: int) -> None:
        del self._kept[event]

    def record(self, event: int, stream: int) -> None:
        _call("cuEventRecord", self._kept[event].record, self._kept[stream])

    def record_in_graph(self, event: int, stream: int) -> None:
        raise CudaFailed(_NO_GRAPHS)

    def hold(self, stream: int, event: int) -> None:
        _call("cuStreamWaitEvent", self._kept[stream].wait_for_event, self._kept[event])

    def wait_for(self, event: int) -> None:
        _call("cuEventSynchronize", self._kept[event].synchronize)

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(_call("cuEventElapsedTime", self._kept[start].time_till, self._kept[end]))

    def load_module(self, image: bytes) -> int:
        module = _call("cuModuleLoadData", driver.module_from_buffer, image + b"\0")
        return self._keep(id(module), module)

    def unload_module(self, module: int) -> None:
        del self._kept[module]

    def function(self, module: int, name: str) -> int:
        function = _call("cuModuleGetFunction", self._kept[module].get_function, name)
        return self._keep(id(function), function)

    def launch(
        self, function: int, grid: Size3, block: Size3, shared_bytes: int, stream: int, args: Sequence[np.generic]
    ) -> None:
        kernel, queue = self._kept[function], self._kept[stream]
        _call("cuLaunchKernel", kernel, *args, grid=grid, block=block, shared=shared_bytes, stream=queue)

    def begin_capture(self, stream: int) -> None:
        raise CudaFailed(_NO_GRAPHS)

    def end_capture(self, stream: int) -> int:
        raise CudaFailed(_NO_GRAPHS)

    def launch_graph(self, graph: int, stream: int) -> None:
        raise CudaFailed(_NO_GRAPHS)

    def destroy_graph(self, graph: int) -> None:
        raise CudaFailed(_NO_GRAPHS)

    def close(self) -> None:
        self._kept.clear()
