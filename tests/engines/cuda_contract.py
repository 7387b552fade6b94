"""Contract of all implementations of the CUDA interface: numpy, and the real packages on any driver."""

from __future__ import annotations

import numpy as np
import pytest

from fcn_edge.engines.trt.cuda import Cuda, CudaFailed


def check_copies_in_order(cuda: Cuda) -> None:
    with cuda.active():
        stream, memory = cuda.stream(), cuda.alloc(4096)
        source, target = cuda.pinned((1024,), np.float32), cuda.pinned((1024,), np.float32)
        assert cuda.device_bytes == 4096
        for value in (1.0, 2.0):
            source.array[...] = value
            stream.copy_in(memory, source.array)
            stream.copy_out(target.array, memory)
            stream.synchronize()
            assert (target.array == value).all()
        memory.close()
        memory.close()
        assert cuda.device_bytes == 0


def check_two_streams_by_event(cuda: Cuda) -> None:
    with cuda.active():
        first, second, done, start = cuda.stream(), cuda.stream(), cuda.event(), cuda.event()
        memory = cuda.alloc(16)
        source, target = cuda.pinned((16,), np.uint8), cuda.pinned((16,), np.uint8)
        source.array[...] = 7
        first.record(start)
        first.copy_in(memory, source.array)
        first.record(done)
        second.hold(done)
        second.copy_out(target.array, memory)
        second.synchronize()
        assert (target.array == 7).all()
        done.wait()
        start.wait()
        assert done.ms_since(start) >= 0


def check_kernel(cuda: Cuda, image: bytes) -> None:
    """image: of kernels with scale(float* x, float by, int n)."""
    with cuda.active():
        stream, memory, values = cuda.stream(), cuda.alloc(4 * 100), cuda.pinned((100,), np.float32)
        module = cuda.module(image)
        scale = module.function("scale")
        values.array[...] = np.arange(100)
        stream.copy_in(memory, values.array)
        for _ in range(2):
            stream.launch(scale, (4, 1, 1), (32, 1, 1), (memory, np.float32(0.5), np.int32(100)))
        stream.copy_out(values.array, memory)
        stream.synchronize()
        np.testing.assert_array_equal(values.array, np.arange(100) / 4)
        with pytest.raises(CudaFailed, match="not found"):
            module.function("none")


def check_graph(cuda: Cuda, image: bytes) -> None:
    with cuda.active():
        stream, memory, values = cuda.stream(), cuda.alloc(4), cuda.pinned((1,), np.float32)
        scale = cuda.module(image).function("scale")
        if not cuda.driver.can_capture:
            with pytest.raises(CudaFailed, match="CUDA graphs"), stream.captured():
                pass
            return
        values.array[...] = 8
        start, middle, end = cuda.event(), cuda.event(), cuda.event()
        with stream.captured() as made:
            stream.copy_in(memory, values.array)
            stream.record(middle)
            stream.launch(scale, (1, 1, 1), (32, 1, 1), (memory, np.float32(0.5), np.int32(1)))
            stream.copy_out(values.array, memory)
        assert values.array[0] == 8, "what was recorded was also run"
        for wanted in (4, 2):
            stream.record(start)
            stream.run(made[0])
            stream.record(end)
            end.wait()
            assert values.array[0] == wanted
            assert middle.ms_since(start) >= 0 and end.ms_since(middle) >= 0
        with pytest.raises(ZeroDivisionError), stream.captured():
            raise ZeroDivisionError
        stream.run(made[0])
        stream.synchronize()
        assert values.array[0] == 1


def check_all(cuda: Cuda, image: bytes) -> None:
    """Every check on one device, and what it says of itself; closes it."""
    check_copies_in_order(cuda)
    check_two_streams_by_event(cuda)
    check_kernel(cuda, image)
    check_graph(cuda, image)
    assert cuda.gpu.name and cuda.gpu.sm >= 50 and cuda.gpu.memory_bytes > 1 << 28
    assert cuda.driver.name.split()[1][0].isdigit() and cuda.gpu.driver.split(".")[0].isdigit()
    with cuda.active():
        assert 0 < cuda.driver.free_bytes() <= cuda.gpu.memory_bytes
    cuda.close()
