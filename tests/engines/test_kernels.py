"""The CUDA kernels, run thread by thread on this CPU, against numpy and OpenCV."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcn_edge.engines.trt import kernels as kernels_module
from fcn_edge.engines.trt.cuda import Cuda
from fcn_edge.engines.trt.kernels import (
    COUNTS,
    NOT_FINITE,
    FrameLayout,
    InputKernel,
    Kernels,
    ViewKernel,
    kernels_image,
)
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Style
from fcn_edge.geometry import Sampling, align_corners, frame_sampling, pad100, stretch, stride
from fcn_edge.spec import Preprocess
from fcn_edge.transforms import (
    ink_table,
    input_from_frame,
    nearest_cells,
    reference_class_map,
    reference_overlay,
    taps,
)
from tests.engines.kernel_shim import SOURCE, GuardedDriver, kernel_names, shim_kernels, shim_library
from tests.refusals import refused

ONE_LEVEL = 1  # cv2 interpolates with weights of 11 bits, the kernels with 24
UNBIASED = 0.2  # levels on average: cutting off in place of rounding would make it 0.5
IMAGE = b"stands for a fatbin"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return shim_library(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def gpu(library):
    """Cuda on numpy with the real kernels; at the end nothing may be written outside, or left."""
    driver = GuardedDriver(kernels=shim_kernels(library))
    cuda = Cuda(driver)
    with cuda.active():
        yield cuda
        driver.check_margins()
    cuda.close()
    assert driver.leaks == []


def on_device(cuda, stream, array):
    pinned = cuda.pinned(array.shape, array.dtype)
    pinned.array[...] = array
    memory = cuda.alloc(array.nbytes)
    stream.copy_in(memory, pinned.array)
    stream.synchronize()
    return memory


def on_host(cuda, stream, memory, shape, dtype):
    pinned = cuda.pinned(shape, dtype)
    stream.copy_out(pinned.array, memory)
    stream.synchronize()
    return pinned.array.copy()


def draw_frame(layout, seed=0):
    """A random frame in its layout, and as BGR."""
    random = np.random.default_rng(seed)
    if layout.format == "bgr":
        frame = random.integers(0, 256, (layout.height, layout.width, 3), np.uint8)
        return frame, frame
    frame = random.integers(0, 256, (layout.height * 3 // 2, layout.width), np.uint8)
    return frame, cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_NV12)


def draw_ink():
    colours = np.random.default_rng(1).integers(0, 256, (256, 3)).tolist()
    return ink_table(tuple(map(tuple, colours)), Style(0.4, hidden_classes=(2,)))


def make_view(cuda, output, sampling, layout, *, overlay=True, ink=None):
    """class map, overlay or None, counts of one random frame, and the frame as BGR."""
    ink = draw_ink() if ink is None else ink
    stream, kernels = cuda.stream(), Kernels(cuda, IMAGE)
    frame, bgr = draw_frame(layout)
    view = ViewKernel(kernels, stream, sampling, layout, shape=output.shape, dtype=output.dtype, ink=ink)
    size = layout.height * layout.width
    class_map, counts = cuda.alloc(size), cuda.alloc(4 * COUNTS)
    picture = cuda.alloc(3 * size) if overlay else None
    memories = on_device(cuda, stream, output), on_device(cuda, stream, frame)
    for _ in range(2):  # the second must not count on top of the first
        view.launch(stream, *memories, class_map, picture, counts)
    shape = (layout.height, layout.width)
    drawn = on_host(cuda, stream, picture, (*shape, 3), np.uint8) if picture else None
    return (
        on_host(cuda, stream, class_map, shape, np.uint8),
        drawn,
        on_host(cuda, stream, counts, (COUNTS,), np.uint32),
        bgr,
    )


def reference(scores, sampling):
    y, x = taps(sampling.y, scores.shape[1]), taps(sampling.x, scores.shape[2])
    return reference_class_map(scores.astype(np.float32), y, x, np.empty(sampling.size, np.uint8))


def letterboxed(frame, network, step):
    to_map = Sampling(stride(network[0], step), stride(network[1], step))
    return frame_sampling(frame, network, "letterbox").then(to_map)


def stretched(frame, cells):
    return Sampling(stretch(frame[0], cells[0]), stretch(frame[1], cells[1]))


SHAPES = {
    "odd sizes": ((11, 7, 9), stretched((37, 53), (7, 9))),
    "one class": ((1, 4, 5), stretched((33, 21), (4, 5))),
    "150 classes": ((150, 6, 8), stretched((48, 64), (6, 8))),
    "255 classes": ((255, 3, 3), stretched((17, 9), (3, 3))),
    "two classes, one cell": ((2, 1, 1), stretched((9, 40), (1, 1))),
    "one pixel": ((5, 4, 4), stretched((1, 1), (4, 4))),
    "one row": ((5, 4, 4), stretched((1, 70), (4, 4))),
    "one column": ((5, 4, 4), stretched((70, 1), (4, 4))),
    "smaller than the map": ((4, 30, 40), stretched((11, 13), (30, 40))),
    "size of the map": ((4, 16, 33), stretched((16, 33), (16, 33))),
    "align corners": ((6, 5, 7), Sampling(align_corners(33, 5), align_corners(49, 7))),
    "pad-100 of FCN-32s": ((21, 8, 9), Sampling(pad100(65, 32), pad100(97, 32))),
    "pad-100 of FCN-8s": ((21, 34, 38), Sampling(pad100(65, 8), pad100(97, 8))),
    "letterbox, wide": ((11, 8, 12), letterboxed((40, 121), (64, 96), 8)),
    "letterbox, tall": ((11, 8, 12), letterboxed((90, 31), (64, 96), 8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("shape", "sampling"), SHAPES.values(), ids=SHAPES)
def test_class_maps_are_those_of_the_reference(gpu, shape, sampling, dtype):
    scores = np.random.default_rng(3).standard_normal(shape, np.float32).astype(dtype)
    layout = FrameLayout(*sampling.size)
    class_map, _, counts, _ = make_view(gpu, scores, sampling, layout, overlay=False)
    np.testing.assert_array_equal(class_map, reference(scores, sampling))
    np.testing.assert_array_equal(counts, np.bincount(class_map.ravel(), minlength=COUNTS))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_ties_and_values_that_are_not_finite_go_as_in_numpy(gpu, dtype):
    random = np.random.default_rng(4)
    scores = random.standard_normal((7, 6, 6)).round().astype(dtype)
    for value in (np.nan, np.inf, -np.inf):
        scores[random.random(scores.shape) < 0.05] = value
    sampling = stretched((40, 44), (6, 6))
    with np.errstate(invalid="ignore"):
        wanted = reference(scores, sampling)
    class_map, _, counts, _ = make_view(gpu, scores, sampling, FrameLayout(40, 44))
    np.testing.assert_array_equal(class_map, wanted)
    assert counts[NOT_FINITE] == (~np.isfinite(scores)).sum() > 0


@pytest.mark.parametrize("layout", [FrameLayout(37, 53), FrameLayout(38, 54, "nv12")])
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8])
def test_overlay_is_the_frame_blended_with_each_class(gpu, layout, kind):
    size = (layout.height, layout.width)
    sampling, random = stretched(size, (5, 7)), np.random.default_rng(5)
    if kind == np.uint8:
        output = random.integers(0, 256, (5, 7), np.uint8)
        rows, columns = nearest_cells(sampling.y, 5), nearest_cells(sampling.x, 7)
        wanted = output[rows[:, None], columns[None, :]]
    else:
        output = random.standard_normal((9, 5, 7)).astype(kind)
        wanted = reference(output, sampling)
    ink = draw_ink()
    class_map, overlay, counts, bgr = make_view(gpu, output, sampling, layout, ink=ink)
    np.testing.assert_array_equal(class_map, wanted)
    np.testing.assert_array_equal(overlay, reference_overlay(wanted, bgr, ink, np.empty_like(bgr)))
    assert counts.sum() == wanted.size


def make_input(cuda, preprocess, layout):
    stream, kernels = cuda.stream(), Kernels(cuda, IMAGE)
    frame, bgr = draw_frame(layout, seed=6)
    ready = InputKernel(kernels, stream, preprocess, layout)
    shape = (1, *preprocess.size, 3)
    out = cuda.alloc(int(np.prod(shape)))
    ready.launch(stream, on_device(cuda, stream, frame), out)
    result = on_host(cuda, stream, out, shape, np.uint8)
    ready.close()
    return result, bgr


FRAMES = [FrameLayout(45, 67), FrameLayout(46, 68, "nv12"), FrameLayout(24, 32), FrameLayout(7, 9)]
PREPROCESS = Preprocess(24, 32, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4))


@pytest.mark.parametrize("layout", FRAMES, ids=str)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_input_frames_are_within_one_level_of_opencv(gpu, layout, resize):
    preprocess = replace(PREPROCESS, resize=resize)
    made, bgr = make_input(gpu, preprocess, layout)
    wanted = input_from_frame(bgr, preprocess)
    assert np.abs(made.astype(int) - wanted).max() <= ONE_LEVEL
    assert abs((made - wanted.astype(float)).mean()) < UNBIASED


def test_input_frames_by_nearest_pixel_are_those_of_opencv(gpu):
    preprocess = replace(PREPROCESS, interpolation="nearest")
    made, bgr = make_input(gpu, preprocess, FrameLayout(45, 67))
    np.testing.assert_array_equal(made, input_from_frame(bgr, preprocess))


def test_every_half_number_keeps_its_order(gpu):
    """So that what was shown here with half scores holds, although this CPU's own conversion was used."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = np.sort(every[np.isfinite(every)])
    scores = np.stack([numbers[:-1], numbers[1:]])[:, None, :]
    sampling = stretched((1, numbers.size - 1), (1, numbers.size - 1))
    class_map = make_view(gpu, scores, sampling, FrameLayout(1, numbers.size - 1), overlay=False)[0]
    np.testing.assert_array_equal(class_map[0], numbers[1:] > numbers[:-1])


def test_resize_by_area_is_refused(gpu):
    with refused(BadInput, "resize", "area", "bilinear", "nearest"):
        make_input(gpu, replace(PREPROCESS, interpolation="area"), FrameLayout(9, 9))


def test_odd_nv12_is_refused():
    with refused(BadInput, "NV12", "45x68"):
        FrameLayout(45, 68, "nv12")


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"shape": (3, 4)}, ("kernel", "float32(3, 4)")),
        ({"dtype": np.int64}, ("kernel", "int64(3, 4, 4)")),
        ({"ink": np.zeros((3, 4), np.uint16)}, ("ink", "uint16(3, 4)", "(256, 4)")),
        ({"frame": FrameLayout(8, 9)}, ("sampling", "(8, 8)", "(8, 9)")),
    ],
)
def test_what_does_not_fit_a_view_is_refused(gpu, changed, facts):
    fits = {"frame": FrameLayout(8, 8), "shape": (3, 4, 4), "dtype": np.float32, "ink": draw_ink()}
    with refused(BadInput, *facts):
        ViewKernel(Kernels(gpu, IMAGE), gpu.stream(), stretched((8, 8), (4, 4)), **(fits | changed))


def test_kernels_that_do_not_load_are_reported_with_the_gpu(gpu):
    gpu.driver.fail("load_module")
    with refused(BackendMissing, "NumPy A1", "SM 86", "load_module"):
        Kernels(gpu, IMAGE)


def test_kernels_that_were_not_built_are_reported_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels_module.resources, "files", lambda package: tmp_path)
    with refused(BackendMissing, "nvcc"):
        kernels_image()


@pytest.mark.slow
def test_nvcc_compiles_every_kernel(tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc: the kernels were compiled for the CPU only")
    ptx = tmp_path / "kernels.ptx"
    subprocess.run(
        [nvcc, "-ptx", "-std=c++17", "-fmad=false", "-arch=compute_87", str(SOURCE), "-o", str(ptx)],
        check=True,
        capture_output=True,
    )
    text = ptx.read_text(encoding="utf-8")
    assert {name for name in kernel_names() if f".entry {name}(" in text} == set(kernel_names())
    assert "fma.rn" not in text  # fused, it would not be numpy's bits
