"""Execution of plans: the engine contract, order, lifetime and failure, on a recorded TensorRT over numpy's CUDA."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import onnx
import pytest

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.trt import PlanOptions, ShapeRange, plan_from_onnx
from fcn_edge.engines.trt.execution import PATHS
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Style
from fcn_edge.transforms import input_from_frame, view_from_scores
from tests.engines.fake_tensorrt import FAILURE, FAMILIES, VERSIONS
from tests.engines.kernel_shim import shim_kernels, shim_library
from tests.engines.test_contract import ONE_THREAD, OnnxContract, assert_same_result
from tests.refusals import assert_names, refused

TARGET = dict.fromkeys(FAMILIES, "tensorrt") | {"rtx": "tensorrt-rtx"}


@pytest.fixture
def opened(gpu):
    found = gpu("10.3")
    with ExitStack() as stack:
        yield cache(lambda path, target: stack.enter_context(open_engine(path, target=target, options=ONE_THREAD)))
    assert found.leaks == []


class TestTensorRT(OnnxContract):
    """What every engine does, here with TensorRT 10.3."""

    target = "tensorrt"

    @pytest.fixture(autouse=True)
    def _installed(self, gpu):
        gpu("10.3")

    @pytest.fixture
    def reference(self, checkpoint_file):
        with open_engine(checkpoint_file, target="pytorch", options=ONE_THREAD) as engine:
            yield engine.infer


@pytest.fixture
def engine_of(gpu, onnx_file):
    """Opens the tiny network on that family; the GPU that it runs on is `.fake`."""
    with ExitStack() as stack:

        def make(family="10.3", path=onnx_file, **options):
            found = gpu(family, **options)
            engine = stack.enter_context(open_engine(path, target=TARGET[family], options=EngineOptions(in_flight=2)))
            engine.fake, engine.driver = found, engine._cuda.driver
            return engine

        yield make


@pytest.mark.parametrize("family", FAMILIES)
def test_every_version_builds_and_runs(engine_of, street, family, onnx_file):
    engine = engine_of(family)
    x = street(1)[0][None]
    with open_engine(onnx_file, target="onnxruntime", options=ONE_THREAD) as other:
        np.testing.assert_allclose(engine.infer(x), other.infer(x), atol=1e-3)
    assert engine.runtime == f"{TARGET[family]} {VERSIONS[family]}" and engine.gpu.sm == 86
    assert engine.device_bytes > 1 << 20
    engine.close()
    assert engine.fake.leaks == []


def test_frames_after_the_first_run_as_one_graph_and_allocate_nothing(engine_of, street):
    engine = engine_of()
    for seed in range(2):
        engine.infer(street(seed)[0][None])
    driver = engine.driver
    driver.calls.clear()
    trt_calls = len(engine.fake.trt.calls)
    engine.infer(street(9)[0][None])
    assert driver.calls == ["enter", "launch_graph", "record", "enter", "wait_for"]
    assert len(engine.fake.trt.calls) == trt_calls


def test_without_graphs_each_frame_is_queued_in_order(engine_of, street):
    engine = engine_of(can_capture=False)
    engine.infer(street(0)[0][None])
    driver = engine.driver
    driver.calls.clear()
    engine.infer(street(9)[0][None])
    assert driver.calls == ["enter", "copy_in", "copy_out", "record", "enter", "wait_for"]


@pytest.mark.slow
def test_graph_that_is_not_wanted_is_not_recorded(gpu, onnx_file, street):
    found = gpu("10.3")
    with open_engine(onnx_file, target="tensorrt", options=EngineOptions(cuda_graph=False)) as engine:
        for seed in range(2):
            engine.infer(street(seed)[0][None])
        assert "begin_capture" not in found.calls


def test_capture_that_is_not_allowed_is_reported_once_and_frames_go_on(engine_of, street, caplog):
    engine = engine_of()
    engine.driver.fail("begin_capture")
    results = [engine.infer(street(1)[0][None]) for _ in range(4)]
    assert all(np.array_equal(result, results[0]) for result in results)
    (message,) = (record.message for record in caplog.records if "CUDA graph" in record.message)
    assert_names(message, engine.path.parent.name, "begin_capture")


def test_two_frames_in_flight_come_back_in_order(engine_of, street):
    engine = engine_of()
    frames = [street(seed)[0] for seed in range(4)]
    wanted = [engine.segment(image) for image in frames]
    found = []
    engine.start(frames[0])
    for image in frames[1:]:
        engine.start(image)
        found.append(engine.wait())
    found.append(engine.wait())
    for one, other in zip(found, wanted, strict=True):
        assert_same_result(one, other)


def test_more_than_two_frames_in_flight_and_none_are_refused(engine_of, frame):
    engine = engine_of()
    with refused(BadInput, "tiny.onnx", "start"):
        engine.wait()
    engine.start(frame)
    engine.start(frame)
    with refused(BadInput, "tiny.onnx", 2, "wait"):
        engine.start(frame)
    with refused(BadInput, "tiny.onnx", 2, "wait"):
        engine.infer(frame[None])
    engine.wait()
    engine.wait()
    engine.infer(frame[None])


def test_frame_may_change_as_soon_as_it_is_started(engine_of, street):
    engine = engine_of()
    image = street(1)[0].copy()
    wanted = engine.segment(image).class_map
    engine.start(image)
    image[...] = 0
    np.testing.assert_array_equal(engine.wait().class_map, wanted)


def test_closing_with_a_frame_in_flight_waits_for_it(engine_of, frame):
    engine = engine_of()
    engine.start(frame)
    engine.close()
    assert engine.fake.leaks == []


CUDA_CALLS = (
    "enter",
    "alloc",
    "alloc_host",
    "create_stream",
    "create_event",
    "copy_in",
    "copy_out",
    "record",
    "wait_for",
)


def told(path, target):
    """The sentence that opening the file and running three frames ends in; empty where it does not fail."""
    try:
        with open_engine(path, target=target) as engine:
            for _ in range(3):
                engine.infer(np.zeros((1, *engine.spec.preprocess.size, 3), np.uint8))
    except (BackendMissing, BadInput) as error:
        return str(error)
    return ""


def is_plain(sentence):
    return "\n" not in sentence and "/_src/" not in sentence


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_vendor_call_failing_once_is_one_sentence_and_leaks_nothing(gpu, onnx_file, family, tmp_path, monkeypatch):
    found = gpu(family)
    assert told(onnx_file, TARGET[family]) == ""
    calls = list(dict.fromkeys(found.trt.calls))
    silent = []
    for number, call in enumerate(calls):
        found = gpu(family)
        monkeypatch.setenv("FCN_EDGE_CACHE", str(tmp_path / f"cache{number}"))
        found.trt.fail(call)
        sentence = told(onnx_file, TARGET[family])
        assert is_plain(sentence) and (FAILURE in sentence or not sentence), (call, sentence)
        silent += [call] if not sentence else []
        assert found.leaks == [], call
    assert len(calls) >= 20 and silent == [], silent


def build_with_every_option(path, family, folder):
    """The sentence that compiling a network of free size with all options of that version ends in."""
    shapes = ShapeRange(onnx.load(str(path)).graph.input[0].name, (1, 64, 96, 3), (1, 64, 96, 3), (2, 128, 192, 3))
    options = PlanOptions(workspace_mb=64, optimisation_level=2, shapes=shapes, sparsity=True)
    if family == "rtx":
        options = replace(options, sm=(86, 89))
    else:
        (folder / "timings").write_bytes(b"timings of another GPU")
        options = replace(
            options, timing_cache=folder / "timings", version_compatible=True, hardware_compatible="ampere+"
        )
    try:
        plan_from_onnx(path, target=TARGET[family], options=options)
    except (BackendMissing, BadInput) as error:
        return str(error)
    finally:  # timings that this TensorRT does not take belong to another
        assert family == "rtx" or (folder / "timings").read_bytes() == b"timings of another GPU"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_builder_call_with_every_option_failing_once_is_one_sentence(gpu, exported, family, tmp_path):
    path, found = exported(dynamic=True), gpu(family)
    assert build_with_every_option(path, family, tmp_path) == ""
    calls = list(dict.fromkeys(found.trt.calls))
    for call in calls:
        found.trt.fail(call)
        sentence = build_with_every_option(path, family, tmp_path)
        goes_on = call == "IBuilderConfig.set_timing_cache"  # rejected timings are measured again
        assert is_plain(sentence) and (FAILURE in sentence) != goes_on, (call, sentence)
        assert found.leaks == [], call
    assert len(calls) >= 15


@pytest.mark.parametrize("call", CUDA_CALLS)
def test_each_cuda_call_failing_once_is_one_sentence_and_leaks_nothing(gpu, onnx_file, call):
    found = gpu("10.3", can_capture=False)
    assert told(onnx_file, "tensorrt") == ""  # compiled and kept
    counted = found.drivers[0].calls.count(call)
    for after in range(min(counted, 2)):
        found.failing = (call, after)
        sentence = told(onnx_file, "tensorrt")
        assert is_plain(sentence) and call in sentence
        assert found.leaks == []


def test_engine_goes_on_after_a_frame_that_failed(engine_of, street):
    engine = engine_of(can_capture=False)
    x = street(1)[0][None]
    wanted = engine.infer(x)
    for call in ("copy_in", "copy_out", "wait_for"):
        engine.driver.fail(call)
        with refused(BackendMissing, "tiny.onnx", "NumPy A1", call):
            engine.infer(street(2)[0][None])
        np.testing.assert_array_equal(engine.infer(x), wanted)


def test_free_sizes_outside_of_the_range_are_reported(engine_of, exported):
    engine = engine_of(path=exported(dynamic=True))
    with refused(BadInput, "1x160x96x3", "1x32x32x3", "4x128x192x3"):
        engine.infer(np.zeros((1, 160, 96, 3), np.uint8))


def test_asked_execution_that_a_plan_has_not_frees_the_gpu(gpu, onnx_file):
    found = gpu()
    with refused(BadInput, "tiny.onnx", "f32", "tensorrt", "bf16"):
        open_engine(onnx_file, target="tensorrt", options=EngineOptions("bf16"))
    assert found.leaks == [] and all(driver.is_closed for driver in found.drivers)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    return shim_kernels(shim_library(tmp_path_factory.mktemp("shim")))


@pytest.fixture
def engine_with_kernels(engine_of, kernels):
    """The engine of a machine where the CUDA kernels were built; here they are run by the CPU."""
    return lambda **options: engine_of(kernels=kernels, **options)


def network_input(engine):
    """What the input kernel made of the last frame."""
    path, size = next(reversed(engine._paths.values())), engine.spec.preprocess.size
    memory = path._slots[0].x
    return engine.driver.at(memory.address, memory.nbytes).reshape(1, *size, 3).copy()


def counted(engine, *calls):
    """How often the driver was called since `calls` were cleared, of these."""
    return [engine.driver.calls.count(call) for call in calls]


@pytest.mark.slow
@pytest.mark.parametrize("can_capture", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (90, 120), (33, 200)])
def test_frame_on_the_device_is_the_three_step_path(engine_with_kernels, street, size, can_capture):
    """Equal on the same resized frame, and that is within one level of OpenCV's: nothing else may differ."""
    engine, style = engine_with_kernels(can_capture=can_capture), Style(0.3, hidden_classes=(1,))
    for seed in range(3):
        image = np.ascontiguousarray(street(seed, (360, 480))[0][: size[0], : size[1]])
        result, x = engine.segment(image, style), network_input(engine)
        assert np.abs(x.astype(int) - input_from_frame(image, engine.spec.preprocess)).max() <= 1
        wanted = view_from_scores(engine.infer(x)[0], image, engine.spec, style)
        assert_same_result(result, wanted)


def test_frame_goes_up_once_and_comes_down_drawn(engine_with_kernels, frame):
    engine = engine_with_kernels(can_capture=False)
    engine.segment(frame)
    engine.driver.calls.clear()
    engine.segment(frame)
    queued = ["copy_in", "launch", "record", "launch", "launch", "launch"]  # input; counts to zero, finite, view
    queued.insert(3, "record")
    down = ["copy_out", "copy_out", "copy_out"]
    assert engine.driver.calls == ["enter", "record", *queued, *down, "record", "enter", "wait_for"]
    engine.segment(frame, Style(overlay=False))
    engine.driver.calls.clear()
    engine.segment(frame, Style(overlay=False))
    assert counted(engine, "copy_in", "copy_out") == [1, 2]


def test_frame_is_one_graph_from_the_second_of_its_slot_on(engine_with_kernels, frame):
    engine = engine_with_kernels()
    results = [engine.segment(frame) for _ in range(2)]
    engine.driver.calls.clear()
    trt_calls = len(engine.fake.trt.calls)
    results.append(engine.segment(frame))
    assert engine.driver.calls == ["enter", "record", "launch_graph", "record", "enter", "wait_for"]
    assert len(engine.fake.trt.calls) == trt_calls
    for result in results:
        assert_same_result(result, results[0])
    engine.close()
    assert engine.fake.leaks == []


def in_turn(engine, frames, styles):
    """Results of frames with two in flight, each in its style."""
    results = []
    for image, style in zip(frames, styles, strict=True):
        engine.start(image, style)
        image[...] = 0  # it is on its way up already
        if len(engine._started) == 2:
            results.append(engine.wait())
    return [*results, engine.wait()]


@pytest.mark.parametrize("can_capture", [True, False])
def test_two_frames_in_flight_have_buffers_of_their_own(engine_with_kernels, street, can_capture):
    engine = engine_with_kernels(can_capture=can_capture)
    images = [street(seed)[0] for seed in range(6)]
    wanted = [engine.segment(image) for image in images]
    copies = [np.array([result.class_map, *np.moveaxis(result.overlay, 2, 0)]) for result in wanted]
    results = in_turn(engine, [image.copy() for image in images], [Style()] * 6)
    for result, one, copy in zip(results, wanted, copies, strict=True):
        assert_same_result(result, one)
        np.testing.assert_array_equal(one.class_map, copy[0], "a later frame wrote to an older result")
    engine.driver.calls.clear()
    in_turn(engine, [image.copy() for image in images], [Style()] * 6)
    assert counted(engine, "alloc", "alloc_host", "begin_capture") == [0, 0, 0]
    if can_capture:
        assert counted(engine, "launch_graph", "copy_in", "copy_out", "launch") == [6, 0, 0, 0]
    else:
        assert counted(engine, "copy_in", "copy_out") == [6, 18]


@pytest.mark.parametrize("can_capture", [True, False])
def test_size_and_style_may_change_from_frame_to_frame(engine_with_kernels, street, can_capture):
    engine = engine_with_kernels(can_capture=can_capture)
    sizes, styles = [(64, 96), (64, 96), (40, 52), (33, 200)], [Style(), Style(0.2), Style(overlay=False), Style()]
    images = [np.ascontiguousarray(street(1, (64, 200))[0][:height, :width]) for height, width in sizes]
    wanted = [engine.segment(image, style) for image, style in zip(images, styles, strict=True)]
    for _ in range(3):
        results = in_turn(engine, [image.copy() for image in images], styles)
        for result, one in zip(results, wanted, strict=True):
            assert_same_result(result, one)
    engine.driver.calls.clear()
    in_turn(engine, [image.copy() for image in images], styles)
    assert counted(engine, "alloc", "alloc_host", "free") == [0, 0, 0], "kinds of frames that take turns are kept"


def test_buffers_of_kinds_of_frames_that_no_longer_come_are_freed(engine_with_kernels, street):
    engine, image = engine_with_kernels(), street(1)[0]
    held = []
    for width in range(60, 96, 4):
        engine.segment(image[:, :width])
        held.append(engine.device_bytes)
    assert len(engine._paths) == PATHS and held[-1] < 1.3 * held[PATHS - 1]
    engine.close()
    assert engine.fake.leaks == []


def test_stages_are_timed_on_the_device(engine_with_kernels, frame):
    """There each copy, kernel and run takes a millisecond, and the host hardly any time."""
    for can_capture in (True, False):
        engine = engine_with_kernels(can_capture=can_capture)
        for _ in range(3):
            times = engine.segment(frame).times
            for stage, at_least in ((times.input_ns, 2), (times.infer_ns, 1), (times.view_ns, 6)):
                assert stage >= at_least * 1_000_000
            assert times.input_ns < 1_000_000_000


def test_scores_that_are_not_finite_are_reported(gpu, onnx_file, frame, kernels, tmp_path):
    model = onnx.load(str(onnx_file))
    last = model.graph.node[-1]
    last.output[0], wanted = "finite", model.graph.output[0].name
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    model.graph.initializer.append(zero)
    model.graph.node.append(onnx.helper.make_node("Div", ["finite", "zero"], [wanted]))
    path = tmp_path / "endless.onnx"
    onnx.save(model, str(path))
    gpu("10.3", kernels=kernels)
    with open_engine(path, target="tensorrt") as engine, open_engine(onnx_file, target="tensorrt") as other:
        assert not engine.segment(frame).is_finite
        assert other.segment(frame).is_finite


def test_nv12_frame_is_taken_on_the_device(engine_with_kernels, street):
    engine, image = engine_with_kernels(), np.ascontiguousarray(street(1, (360, 480))[0][:90, :120])
    result = engine.segment(nv12_from_bgr(image))
    x = network_input(engine)
    assert np.abs(x.astype(int) - input_from_frame(image, engine.spec.preprocess)).mean() < 4  # half the colour
    wanted = view_from_scores(engine.infer(x)[0], image, engine.spec, Style())
    np.testing.assert_array_equal(result.class_map, wanted.class_map)
    assert result.overlay.shape == (90, 120, 3)


@pytest.mark.parametrize("call", ["alloc", "alloc_host", "copy_in", "launch", "copy_out", "record", "wait_for"])
def test_engine_goes_on_after_a_frame_on_the_device_that_failed(engine_with_kernels, street, call):
    engine = engine_with_kernels(can_capture=False)
    image, other = street(1)[0], street(2, (50, 70))[0]
    wanted = engine.segment(image)
    held = engine.device_bytes
    engine.driver.fail(call)
    with refused(BackendMissing, call, "NumPy A1"):
        engine.segment(other)
    assert call not in ("alloc", "alloc_host") or engine.device_bytes == held, "what was half made is freed"
    assert_same_result(engine.segment(image), wanted)
    assert engine.segment(other).class_map.shape == (50, 70)
    engine.close()
    assert engine.fake.leaks == []


def test_frame_that_fails_leaves_the_one_before_it_in_flight(engine_with_kernels, street):
    engine = engine_with_kernels(can_capture=False)
    images = [street(seed)[0] for seed in range(2)]
    wanted = [engine.segment(image) for image in images]
    engine.start(images[0])
    engine.driver.fail("copy_in")
    with refused(BackendMissing, "copy_in"):
        engine.start(images[1])
    assert_same_result(engine.wait(), wanted[0])
    assert_same_result(engine.segment(images[1]), wanted[1])


def test_without_kernels_the_outer_stages_run_on_the_cpu_and_that_is_logged_once(engine_of, street, caplog):
    engine = engine_of()
    image = street(1, (90, 120))[0]
    results = [engine.segment(image) for _ in range(3)]
    scores = engine.infer(input_from_frame(image, engine.spec.preprocess))
    assert_same_result(results[2], view_from_scores(scores[0], image, engine.spec, Style()))
    assert [record.message for record in caplog.records if "CPU" in record.message] == [
        "tiny.onnx: frames are resized and drawn on the CPU (the CUDA kernels are not built)"
    ]


def nv12_from_bgr(image):
    planar = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    height, width = image.shape[:2]
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    return np.vstack([planar[:height], chroma.transpose(1, 2, 0).reshape(height // 2, width)])


@pytest.mark.parametrize("image", [np.zeros((64, 96), np.float32), np.zeros((64, 96, 4), np.uint8)])
def test_frame_that_is_none_is_refused(engine_with_kernels, image):
    with refused(BadInput, "uint8", "BGR", "NV12"):
        engine_with_kernels().segment(image)
