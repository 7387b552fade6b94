"""TensorRT's builder on stand-ins: flags of each version, what it refuses, lost INT8."""

import sys

import pytest

from fcn_edge.engines.trt import (
    Layer,
    PlanOptions,
    plan_from_onnx,
    vendor,
)
from fcn_edge.engines.trt import plan as plan_module
from fcn_edge.engines.trt.cuda import Cuda
from fcn_edge.errors import BadInput
from tests.engines.fake_tensorrt import VERSIONS, FakeTensorRT
from tests.engines.layer_dumps import tensorrt_line
from tests.engines.numpy_cuda import NumpyDriver
from tests.engines.tiny_network import AMPERE, CONVOLUTIONS
from tests.refusals import assert_names, refused


@pytest.fixture
def tensorrt(monkeypatch):
    """Puts a recorded TensorRT in the place of the package, and a GPU beneath it."""

    def install(family, dump=None, errors=()):
        fake = FakeTensorRT(family, dump=dump)
        fake.errors = errors
        monkeypatch.setitem(sys.modules, "tensorrt", fake)
        monkeypatch.setattr(vendor, "missing_gpu", lambda: "")
        monkeypatch.setattr(plan_module, "open_cuda", lambda: Cuda(NumpyDriver()))
        return fake

    return install


@pytest.mark.parametrize(("family", "network_flag"), [("10.3", 2), ("10.13", 2), ("10.16", 2), ("11.4", 1)])
def test_strong_typing_needs_no_builder_flags(tiny, tensorrt, family, network_flag):
    fake = tensorrt(family)
    plan = plan_from_onnx(tiny("int8"), target="tensorrt", options=PlanOptions(workspace_mb=2))
    assert fake.network_flags == network_flag and fake.config.set == []
    assert fake.config.cleared == [fake.BuilderFlag.TF32]
    assert fake.config.limits == {fake.MemoryPoolType.WORKSPACE: 2 << 20}
    assert plan.runtime == f"tensorrt {VERSIONS[family]}" and plan.data.startswith(b"ftrt")
    assert plan.gpu.sm == 86 and plan.kinds == {"int8 CaskConvolution": 3}


@pytest.mark.parametrize(("precision", "flags"), [("fp32", []), ("fp16", ["FP16"]), ("int8", ["INT8"])])
def test_tensorrt_8_takes_flags_from_the_precision_of_the_file(tiny, tensorrt, precision, flags):
    fake = tensorrt("8.6")
    plan = plan_from_onnx(tiny(precision), target="tensorrt")
    assert [flag.name for flag in fake.config.set] == flags == plan.flags["builder_flags"]
    assert fake.network_flags == 1 and not plan.flags["strongly_typed"]


def test_tensorrt_8_refuses_half_precision_scales(tiny, tensorrt):
    tensorrt("8.6")
    with refused(BadInput, "tiny.int8-fp16.onnx", "TensorRT 10"):
        plan_from_onnx(tiny("int8-fp16"), target="tensorrt")


def test_lost_int8_of_tensorrt_is_reported(tiny, tensorrt):
    lines = [tensorrt_line(name, "Int8" if name != "score" else "Half") for name in CONVOLUTIONS]
    tensorrt("10.3", dump="\n".join(["Layers:", *lines]))
    plan = plan_from_onnx(tiny("int8"), target="tensorrt")
    assert plan.kept_float == ("score",) and plan.layers[2] == Layer("score", "CaskConvolution", "fp16")
    assert_names(plan.warnings[0], "float", "1 of 3", "score")


def test_silent_compiler_is_not_taken_for_proof(tiny, tensorrt):
    tensorrt("10.3", dump="Engine generation completed")
    plan = plan_from_onnx(tiny("int8"), target="tensorrt")
    assert plan.layers == () and plan.counts == {} and "no layers" in plan.warnings[0]


def test_capabilities_are_refused_where_the_gpu_decides(tiny, tensorrt):
    tensorrt("10.3")
    with refused(BadInput, 86, "tensorrt-rtx"):
        plan_from_onnx(tiny(), target="tensorrt", options=AMPERE)


def test_failed_build_gives_the_last_reason(tiny, tensorrt):
    reason = (
        "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (No tactic for stem In pick at /_src/x.cpp:9)"
    )
    consequence = (
        "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at /_src/y.cpp:1)"
    )
    tensorrt("10.3", errors=["something earlier", reason, consequence])
    with refused(BadInput, "tiny.fp32.onnx", "10.3.0", "stem"):
        plan_from_onnx(tiny(), target="tensorrt")
