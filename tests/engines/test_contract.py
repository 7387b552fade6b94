"""Contract of all engines. A backend is a subclass with its target.

A backend that is installed and has no subclass here is a failure (see the last test), except the
TensorRT targets, which need a GPU and have test_plan_engine.py.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from fcn_edge.engines import PACKAGES, EngineOptions, available_targets, base, open_engine
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Frame, Style
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.spec import spec_from_json
from fcn_edge.transforms import input_from_frame, view_from_scores
from tests.refusals import refused

# fp32 on both sides: sums in another order, batch norms folded into weights; 1e-6 is what is seen.
MAX_RELATIVE_ERROR = 1e-4
ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def opened():
    """Opens a file on a target, each once, for the tests that leave an engine as it was."""
    with ExitStack() as stack:
        yield functools.cache(
            lambda path, target: stack.enter_context(open_engine(path, target=target, options=ONE_THREAD))
        )


def assert_same_result(result, wanted):
    np.testing.assert_array_equal(result.class_map, wanted.class_map)
    np.testing.assert_array_equal(result.overlay, wanted.overlay)
    np.testing.assert_array_equal(result.pixels_per_class, wanted.pixels_per_class)


class EngineContract:
    target = ""

    @pytest.fixture(autouse=True)
    def _installed(self):
        module, extra = PACKAGES[self.target]
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed (extra {extra}): the {self.target} engine was not tested")

    @pytest.fixture
    def model(self, onnx_file):
        """The file that this engine opens."""
        return onnx_file

    @pytest.fixture
    def shared(self, model, opened):
        """The engine, shared by all tests of a backend."""
        return opened(model, self.target)

    @pytest.fixture
    def reference(self, checkpoint_file, opened):
        """PyTorch's (1, 11, 8, 12) scores of a frame."""
        return opened(checkpoint_file, "pytorch").infer

    def test_scores_are_those_of_pytorch(self, shared, reference, street):
        for seed in range(3):
            x = street(seed)[0][None]
            wanted, found = reference(x), shared.infer(x)
            assert found.shape == wanted.shape == (1, 11, 8, 12) and found.dtype == np.float32
            assert np.abs(found - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()

    def test_same_frame_gives_the_same_bits(self, shared, street):
        x = street(1)[0][None]
        first = shared.infer(x)
        shared.infer(street(2)[0][None])
        np.testing.assert_array_equal(shared.infer(x), first)

    def test_result_is_owned_by_the_caller(self, shared, street):
        x, other = street(1)[0][None], street(2)[0][None]
        first = shared.infer(x)
        kept = first.copy()
        second = shared.infer(other)
        np.testing.assert_array_equal(first, kept, "the next frame was written over an older result")
        assert not np.shares_memory(first, second) and not np.array_equal(first, second)
        assert first.flags.writeable and first.flags.c_contiguous
        first[...] = 7
        np.testing.assert_array_equal(shared.infer(x), kept, "a caller's writing changed the engine")

    @pytest.mark.parametrize(
        "x",
        [
            np.zeros((64, 96, 3), np.uint8),
            np.zeros((1, 96, 64, 3), np.uint8),
            np.zeros((1, 3, 64, 96), np.uint8),
            np.zeros((1, 64, 96, 1), np.uint8),
            np.zeros((2, 64, 96, 3), np.uint8),
            np.zeros((0, 64, 96, 3), np.uint8),
            np.zeros((1, 64, 96, 3), np.float32),
            np.zeros((1, 64, 96, 3), np.int8),
        ],
        ids=["no batch", "turned", "planar", "grey", "two", "none", "float", "int8"],
    )
    def test_input_that_does_not_fit_is_refused(self, shared, x):
        with refused(BadInput, "input", "tiny", "uint8 (1, 64, 96, 3)"):
            shared.infer(x)

    def test_input_of_any_layout_is_taken_and_left_alone(self, shared, frame):
        wanted = shared.infer(frame[None])
        mirrored = np.ascontiguousarray(frame[:, ::-1])[None, :, ::-1]
        np.testing.assert_array_equal(shared.infer(mirrored), wanted)
        frozen = frame.copy()[None]
        frozen.flags.writeable = False
        np.testing.assert_array_equal(shared.infer(frozen), wanted)
        np.testing.assert_array_equal(frozen[0], frame)

    def test_closed_engine_refuses_to_run_and_may_be_closed_again(self, model, frame):
        with open_engine(model, target=self.target, options=ONE_THREAD) as engine:
            pass
        engine.close()
        uses = (lambda: engine.infer(frame[None]), lambda: engine.segment(frame), lambda: engine.start(frame))
        for use in (*uses, engine.layers, engine.wait):
            with refused(BadInput, model.name, "closed"):
                use()
        engine.close()

    def test_two_engines_at_once_do_not_meet(self, model, shared, street):
        frames = [street(seed)[0][None] for seed in range(3)]
        alone = [shared.infer(x) for x in frames]
        with open_engine(model, target=self.target, options=ONE_THREAD) as other:
            for number in (0, 2, 1):
                np.testing.assert_array_equal(other.infer(frames[number]), alone[number])
                np.testing.assert_array_equal(shared.infer(frames[-number]), alone[-number])
        np.testing.assert_array_equal(shared.infer(frames[0]), alone[0])

    def test_started_frame_is_waited_for(self, shared, street):
        images = [street(seed)[0] for seed in range(shared.in_flight + 1)]
        alone = [shared.segment(image) for image in images]
        with refused(BadInput, shared.path.name, "start"):
            shared.wait()
        for number, image in enumerate(images[:-1]):
            shared.start(Frame(image, number, 0, "x"))
        for use in (lambda: shared.infer(images[-1][None]), lambda: shared.segment(images[-1])):
            with refused(BadInput, shared.path.name, shared.in_flight, "wait"):
                use()
        with refused(BadInput, shared.path.name, shared.in_flight, "wait"):
            shared.start(images[-1])
        for number, wanted in enumerate(alone[:-1]):
            result = shared.wait()
            assert result.frame.index == number and result.frame.image is images[number]
            np.testing.assert_array_equal(result.class_map, wanted.class_map)
        assert_same_result(shared.segment(images[-1]), alone[-1])

    def test_result_is_the_callers_and_its_times_add_up(self, shared, street):
        first = shared.segment(street(1)[0])
        kept = (first.class_map.copy(), first.overlay.copy(), first.pixels_per_class.copy())
        second = shared.segment(street(2)[0], Style(overlay=False))
        assert second.overlay is None and not np.shares_memory(first.class_map, second.class_map)
        for mine, wanted in zip((first.class_map, first.overlay, first.pixels_per_class), kept, strict=True):
            np.testing.assert_array_equal(mine, wanted)
            assert mine.flags.writeable
        times = first.times
        assert min(times.input_ns, times.infer_ns, times.view_ns) > 0 and first.is_finite
        assert times.age_ns >= times.input_ns + times.infer_ns + times.view_ns

    def test_frame_that_fails_leaves_the_engine_usable(self, shared, street, monkeypatch):
        images = [street(seed)[0] for seed in range(shared.in_flight)]
        alone = [shared.segment(image) for image in images]
        for image in images:
            shared.start(image)
        with monkeypatch.context() as patch:
            patch.setattr(base, "view_from_scores", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                shared.wait()
        for wanted in alone[1:]:
            assert_same_result(shared.wait(), wanted)
        with monkeypatch.context() as patch:
            patch.setattr(base, "input_from_frame", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                shared.start(images[0])
        assert_same_result(shared.segment(images[0]), alone[0])

    def test_images_follow_the_frame_before_them(self, shared, street):
        image = street(1)[0]
        shared.segment(Frame(image, 7, 0, "camera", stream=2, sequence="drive"))
        frames = [shared.segment(image).frame for _ in range(2)]
        assert [(frame.stream, frame.sequence, frame.index) for frame in frames] == [(2, "drive", 8), (2, "drive", 9)]
        assert min(frame.captured_ns for frame in frames) > 0

    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((64, 96, 4), np.uint8),
            np.zeros((64, 96, 3), np.float32),
            np.zeros((0, 96, 3), np.uint8),
            np.zeros((1, 64, 96, 3), np.uint8),
            [[[0, 0, 0]]],
            None,
        ],
        ids=["four channels", "float", "empty", "batch", "list", "nothing"],
    )
    def test_image_that_is_none_is_refused_and_the_engine_goes_on(self, shared, street, image):
        wanted = shared.segment(street(1)[0])
        for use in (shared.segment, shared.start, lambda image: shared.start(Frame(image, 0, 0, "x"))):
            with refused(BadInput, "uint8"):
                use(image)
        assert_same_result(shared.segment(street(1)[0]), wanted)

    def test_spec_is_the_files_own_and_survives_its_json(self, shared, onnx_file):
        wanted = contract_from_onnx(onnx_file).spec
        assert shared.spec == wanted
        assert spec_from_json(shared.spec.to_json(), "test") == wanted

    @pytest.mark.parametrize("size", [(64, 96), (90, 120), (33, 200), (1, 1)])
    def test_view_lies_on_the_frame(self, shared, street, size):
        image = street(3, (360, 480))[0][: size[0], : size[1]]
        view = shared.segment(image, Style(opacity=0.3))
        output = shared.infer(input_from_frame(image, shared.spec.preprocess))
        wanted = view_from_scores(output[0], image, shared.spec, Style(opacity=0.3))
        assert view.class_map.shape == size and view.overlay.shape == (*size, 3)
        np.testing.assert_array_equal(view.class_map, wanted.class_map)
        np.testing.assert_array_equal(view.overlay, wanted.overlay)
        np.testing.assert_array_equal(view.pixels_per_class, wanted.pixels_per_class)

    def test_engine_says_what_runs(self, shared, model):
        name, version = shared.runtime.split()
        assert shared.target == self.target and shared.path == model
        assert name.isalpha() and version[0].isdigit()
        assert (shared.precision, shared.execution) == ("fp32", "f32")

    def test_execution_that_it_has_not_is_refused(self, model):
        with refused(BadInput, "f32", "f16"):
            open_engine(model, target=self.target, options=EngineOptions("f16"))

    def test_broken_file_is_named(self, model, tmp_path):
        broken = tmp_path / f"broken{model.suffix}"
        broken.write_bytes(model.read_bytes()[:1000])
        with refused(BadInput, broken):
            open_engine(broken, target=self.target)


class OnnxContract(EngineContract):
    """What engines of ONNX files do beyond that: other precisions, heads and free sizes."""

    @pytest.mark.slow
    def test_file_says_its_precision(self, int8_file):
        with open_engine(int8_file, target=self.target, options=ONE_THREAD) as engine:
            assert (engine.precision, engine.execution) == ("int8", "f32")

    @pytest.mark.slow
    def test_classes_head_gives_the_class_map_of_the_scores(self, exported, shared, frame):
        """Exported in full size, where enlarging the score map and enlarging its classes are the same."""
        with open_engine(exported(head="classes"), target=self.target, options=ONE_THREAD) as engine:
            found = engine.infer(frame[None])
            assert found.shape == (1, 64, 96) and found.dtype == np.uint8
            np.testing.assert_array_equal(engine.segment(frame).class_map, found[0])
        np.testing.assert_array_equal(found[0], shared.segment(frame).class_map)

    @pytest.mark.slow
    def test_free_file_takes_batches_and_sizes(self, exported, shared, street):
        frames = np.stack([street(seed)[0] for seed in range(2)])
        with open_engine(exported(dynamic=True), target=self.target, options=ONE_THREAD) as engine:
            both = engine.infer(frames)
            wider = engine.infer(street(0, (96, 160))[0][None])
            again = engine.infer(frames)
        wanted = np.concatenate([shared.infer(x[None]) for x in frames])
        assert np.abs(both - wanted).max() <= MAX_RELATIVE_ERROR * np.abs(wanted).max()
        assert both.shape == (2, 11, 8, 12) and wider.shape == (1, 11, 12, 20)
        np.testing.assert_array_equal(both, again)

    @pytest.mark.parametrize("size", [(50, 96), (64, 97), (0, 96)])
    def test_free_file_refuses_sizes_between_its_steps(self, exported, size):
        with (
            open_engine(exported(dynamic=True), target=self.target, options=ONE_THREAD) as engine,
            refused(BadInput, "tiny", f"uint8(1, {size[0]}, {size[1]}, 3)", "multiples of 32"),
        ):
            engine.infer(np.zeros((1, *size, 3), np.uint8))


class TestPyTorch(EngineContract):
    target = "pytorch"

    @pytest.fixture
    def model(self, checkpoint_file):
        return checkpoint_file

    @pytest.fixture
    def reference(self, onnx_file, opened):
        """The reference is held against the other side of every export."""
        return opened(onnx_file, "onnxruntime").infer


class TestOnnxRuntime(OnnxContract):
    target = "onnxruntime"


class TestReference(OnnxContract):
    target = "reference"

    def test_quantized_file_runs_as_written(self, int8_file, frame):
        """What the taps of the same graph yield, which nothing optimised; they take more threads, so sums differ."""
        output = onnx.load(str(int8_file)).graph.output[0].name
        taps = Taps(int8_file.read_bytes(), int8_file.name)
        with open_engine(int8_file, target=self.target, options=ONE_THREAD) as engine:
            np.testing.assert_allclose(engine.infer(frame[None]), taps.run(frame[None])[output], atol=1e-4)


class TestOpenVino(OnnxContract):
    target = "openvino"

    @pytest.mark.slow
    def test_compiled_graph_reports_the_precision_of_each_layer(self, shared, int8_file):
        assert {layer.precision for layer in shared.layers() if layer.op == "Convolution"} == {"f32"}
        with open_engine(int8_file, target=self.target, options=ONE_THREAD) as engine:
            precisions = [layer.precision for layer in engine.layers() if layer.op == "Convolution"]
        assert precisions and set(precisions) <= {"i8", "u8"}  # unsigned where it knows that nothing is negative

    def test_frames_in_flight_come_back_in_order(self, model, street):
        frames = [street(seed)[0] for seed in range(4)]
        with open_engine(model, target=self.target, options=EngineOptions(threads=1, in_flight=3)) as engine:
            alone = [engine.segment(image) for image in frames]
            for image in frames[:3]:
                engine.start(image)
            with refused(BadInput, 3, "wait"):
                engine.start(frames[3])
            found = [engine.wait()]
            engine.start(frames[3])
            found += [engine.wait() for _ in range(3)]
            for result, wanted in zip(found, alone, strict=True):
                assert_same_result(result, wanted)
            engine.start(frames[0])  # and closing waits for it

    def test_frames_in_flight_are_the_librarys_choice_by_default(self, model, street, shared):
        images = [street(seed)[0] for seed in range(3)]
        wanted = [shared.segment(image) for image in images]
        with open_engine(model, target=self.target, options=EngineOptions(threads=1)) as engine:
            assert engine.in_flight == 1 and engine.prepare(3) == engine.in_flight == 3
            for image in images:
                engine.start(image)
            with refused(BadInput, 3, "wait"):
                engine.prepare(1)
            for one in wanted:
                assert_same_result(engine.wait(), one)
            assert engine.prepare(1) == 1
            assert_same_result(engine.segment(images[0]), wanted[0])
        with open_engine(model, target=self.target, options=EngineOptions(threads=1, in_flight=2)) as engine:
            assert engine.prepare(3) == engine.prepare(1) == 2, "it was opened for two"

    def test_file_that_has_changed_is_not_read_again(self, model, street, tmp_path, caplog):
        copy = tmp_path / model.name
        copy.write_bytes(model.read_bytes())
        with open_engine(copy, target=self.target, options=ONE_THREAD) as engine:
            before = engine.segment(street(1)[0])
            copy.write_bytes(b"another")
            assert engine.prepare(3) == 1 and copy.name in caplog.text
            assert_same_result(engine.segment(street(1)[0]), before)

    def test_bf16_is_asked_for_or_reported_missing(self, onnx_file, frame, shared):
        has_bf16 = "BF16" in openvino_capabilities()
        if not has_bf16:
            with refused(BackendMissing, "bf16"):
                open_engine(onnx_file, target=self.target, options=EngineOptions("bf16"))
            return
        with open_engine(onnx_file, target=self.target, options=EngineOptions("bf16")) as engine:
            assert engine.execution == "bf16"
            assert not np.array_equal(engine.infer(frame[None]), shared.infer(frame[None]))


def openvino_capabilities():
    import openvino

    return openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_every_installed_backend_has_its_contract():
    covered = {kind.target for kind in (TestPyTorch, TestOnnxRuntime, TestReference, TestOpenVino)}
    with_gpu = {"tensorrt", "tensorrt-rtx"}  # test_plan_engine.py
    assert set(available_targets()) - with_gpu <= covered
    assert covered | with_gpu == set(PACKAGES)
