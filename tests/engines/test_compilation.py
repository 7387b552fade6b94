"""Plans compiled by TensorRT-RTX itself, on the CPU."""

import signal
import threading

import pytest

from fcn_edge.engines.trt import (
    PlanOptions,
    ShapeRange,
    plan_from_onnx,
    vendor,
)
from fcn_edge.errors import BadInput, CheckFailed
from tests.engines.tiny_network import AMPERE, CONVOLUTIONS, compiles, convolution_precisions
from tests.refusals import assert_names, refused


@compiles
@pytest.mark.parametrize(
    ("precision", "runs_in"), [("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8"), ("int8-fp16", "int8")]
)
def test_convolutions_run_in_the_precision_of_the_file(tiny, precision, runs_in):
    plan = plan_from_onnx(tiny(precision), target="tensorrt-rtx", options=AMPERE)
    assert convolution_precisions(plan) == dict.fromkeys(CONVOLUTIONS, runs_in)
    assert plan.kept_float == ()
    assert plan.counts["convolutions_int8" if runs_in == "int8" else "convolutions_float"] == len(CONVOLUTIONS)
    assert plan.data and plan.runtime.startswith("tensorrt-rtx ")
    assert plan.flags["strongly_typed"] and plan.flags["sm"] == [86] and not plan.flags["builder_flags"]


@compiles
@pytest.mark.parametrize("sm", [(75,), (75, 86)])
def test_turing_in_the_list_turns_int8_off_which_is_an_error(tiny, sm):
    with refused(CheckFailed, "3 of 3", "stem", "depthwise", "score", "SM 75", "INT8"):
        plan_from_onnx(tiny("int8"), target="tensorrt-rtx", options=PlanOptions(sm=sm))


@compiles
def test_int8_depthwise_padding_is_counted_and_reported(tiny):
    plan = plan_from_onnx(tiny("int8"), target="tensorrt-rtx", options=AMPERE)
    assert plan.counts["depthwise_padded"] == 1 and plan.counts["requantizing"] > 0
    told = " ".join(plan.warnings)
    assert_names(told, "1 of 1 depthwise", "placement", "nvidia", "fp16")


@compiles
def test_portable_plan_needs_no_capability(tiny):
    plan = plan_from_onnx(tiny("fp16"), target="tensorrt-rtx")
    assert plan.flags["sm"] == [] and plan.warnings == ()


@compiles
def test_unknown_capability_is_refused_with_the_known_ones(tiny):
    with refused(BadInput, 87, "75, 80, 86, 89, 120"):
        plan_from_onnx(tiny(), target="tensorrt-rtx", options=PlanOptions(sm=(86, 87)))


@compiles
def test_fp32_is_not_tf32_unless_asked_for(tiny):
    exact = plan_from_onnx(tiny(), target="tensorrt-rtx", options=AMPERE)
    rounded = plan_from_onnx(tiny(), target="tensorrt-rtx", options=PlanOptions(sm=(86,), tf32=True))
    assert not exact.flags["tf32"] and rounded.flags["tf32"] and exact.data != rounded.data


@compiles
def test_broken_file_is_refused(tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"this is not a network" * 20)
    with refused(BadInput, "noise.onnx", "ONNX"):
        plan_from_onnx(path, target="tensorrt-rtx")


@compiles
def test_every_unsupported_operator_is_named(tiny):
    def change(model):
        for node in model.graph.node:
            if node.name in ("relu0", "relu1"):
                node.op_type = "Bernoulli"

    with refused(BadInput, "relu0 (Bernoulli)", "relu1 (Bernoulli)"):
        plan_from_onnx(tiny(change=change), target="tensorrt-rtx")


@compiles
def test_reason_of_a_bad_node_is_reported_without_source_paths(tiny):
    def change(model):
        transpose, cast = model.graph.node[1], model.graph.node[0]
        transpose.input[0], transpose.output[0] = "frame", "turned"
        cast.input[0], cast.output[0] = "turned", "nchw"
        nodes = [transpose, cast, *model.graph.node[2:]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    with refused(BadInput, "tiny.fp32.onnx", "transpose (Transpose)", "UInt8") as caught:
        plan_from_onnx(tiny(change=change), target="tensorrt-rtx")
    assert "/_src/" not in str(caught.value) and "Cuda" not in str(caught.value)


@compiles
def test_open_sizes_need_a_range_that_fits(tiny):
    path = tiny("int8", batch="n")
    with refused(BadInput, "tiny.int8.onnx", "shapes", "dynamic"):
        plan_from_onnx(path, target="tensorrt-rtx")
    one, four, wide = (1, 64, 64, 3), (4, 64, 64, 3), (4, 64, 80, 3)
    for shapes in (ShapeRange("image", one, one, four), ShapeRange("frame", one, one, wide)):
        with refused(BadInput, "tiny.int8.onnx", "frame"):
            plan_from_onnx(path, target="tensorrt-rtx", options=PlanOptions(shapes=shapes))
    fits = PlanOptions(sm=(86,), shapes=ShapeRange("frame", one, one, four))
    plan = plan_from_onnx(path, target="tensorrt-rtx", options=fits)
    assert convolution_precisions(plan) == dict.fromkeys(CONVOLUTIONS, "int8")


@compiles
def test_progress_rises_to_one(tiny):
    shares, before = [], signal.getsignal(signal.SIGINT)
    plan_from_onnx(tiny(), target="tensorrt-rtx", on_progress=lambda _, share: shares.append(share))
    assert signal.getsignal(signal.SIGINT) is before
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == pytest.approx(1)


@compiles
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_exception_of_the_progress_callback_cancels_and_comes_out(tiny, error):
    calls = []

    def interrupt(*_):
        calls.append(1)
        raise error

    with pytest.raises(error) as caught:
        plan_from_onnx(tiny(), target="tensorrt-rtx", on_progress=interrupt)
    assert len(calls) == 1 and "canceled" in str(caught.value.__context__)
    assert plan_from_onnx(tiny(), target="tensorrt-rtx").data


@compiles
def test_ctrl_c_while_the_compiler_talks_is_not_lost(tiny, monkeypatch):
    """The handler is called as the interpreter would call it: a real signal may arrive when the build is over."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in shells' background jobs
    take = vendor.Log.take
    pressed = []

    def press_once(log, *message):
        if not pressed:
            pressed.append(1)
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)  # the vendor would swallow a KeyboardInterrupt here
        take(log, *message)

    monkeypatch.setattr(vendor.Log, "take", press_once)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            plan_from_onnx(tiny(), target="tensorrt-rtx")
        assert "canceled" in str(caught.value.__context__)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)


@compiles
def test_two_builds_at_once_keep_their_own_layers(tiny):
    plans = {}

    def build(precision, path):
        plans[precision] = plan_from_onnx(path, target="tensorrt-rtx", options=AMPERE)

    threads = [threading.Thread(target=build, args=(name, tiny(name))) for name in ("fp16", "int8")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for precision, plan in plans.items():
        assert set(convolution_precisions(plan).values()) == {precision}
    assert len(plans) == len(threads)
