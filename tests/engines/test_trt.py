"""Plans: real compilation by TensorRT-RTX on the CPU, and stand-ins for what needs a GPU."""

import shlex
import signal
import subprocess
import sys
import threading
from ctypes import byref, c_int
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines.trt import (
    Layer,
    PlanOptions,
    ShapeRange,
    plan_from_onnx,
    require_target,
    trtexec_lines,
    vendor,
)
from fcn_edge.engines.trt import plan as plan_module
from fcn_edge.engines.trt.cuda import Cuda
from fcn_edge.engines.trt.layer_info import (
    convolutions_from_onnx,
    int8_verdict,
    kernels_from_dump,
    kinds_of_kernels,
    story_from_kernels,
)
from fcn_edge.engines.trt.plan_options import options_from_flags
from fcn_edge.errors import BackendMissing, BadInput, CheckFailed
from tests.engines.fake_tensorrt import VERSIONS, FakeTensorRT
from tests.engines.numpy_cuda import NumpyDriver
from tests.refusals import assert_names, refused

compiles = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing was compiled"
)
AMPERE = PlanOptions(sm=(86,))
CONVOLUTIONS = ("stem", "depthwise", "score")
NUMPY = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}


def tiny_model(precision: str, *, batch: int | str = 1) -> onnx.ModelProto:
    """Three convolutions on a uint8 64 x 64 frame, the middle one depthwise, as our files look."""
    half = precision in ("fp16", "int8-fp16")
    float_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    random = np.random.default_rng(1)
    weights = {
        "stem": random.normal(size=(16, 3, 3, 3)),
        "depthwise": random.normal(size=(16, 1, 3, 3)),
        "score": random.normal(size=(11, 16, 1, 1)),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["cast"], name="cast", to=float_type),
        helper.make_node("Transpose", ["cast"], ["nchw"], name="transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["nchw", "mean"], ["centred"], name="sub"),
        helper.make_node("Mul", ["centred", "inverse_std"], ["x0"], name="mul"),
    ]
    tensors = {"mean": np.full((1, 3, 1, 1), 110.0), "inverse_std": np.full((1, 3, 1, 1), 0.02)}
    for index, (name, weight) in enumerate(weights.items()):
        sources = [f"x{index}", f"{name}.weight"]
        tensors[f"{name}.weight"] = weight
        if precision.startswith("int8"):
            sources = [_quantized(source, axis, nodes) for source, axis in zip(sources, (None, 0), strict=True)]
            tensors |= {f"x{index}.scale": np.array(0.05), f"{name}.weight.scale": np.full(len(weight), 0.03)}
        side = weight.shape[2] // 2
        nodes.append(
            helper.make_node(
                "Conv", sources, [f"y{index}"], name=name, pads=[side] * 4, group=16 if name == "depthwise" else 1
            )
        )
        nodes.append(helper.make_node("Relu", [f"y{index}"], [f"x{index + 1}"], name=f"relu{index}"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [batch, 64, 64, 3])],
        [helper.make_tensor_value_info("x3", float_type, [batch, 11, 64, 64])],
        [numpy_helper.from_array(value.astype(NUMPY[float_type]), name) for name, value in tensors.items()],
    )
    _add_zero_points(graph)
    opset = 19 if precision == "int8-fp16" else 17
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _quantized(source: str, axis: int | None, nodes: list[onnx.NodeProto]) -> str:
    where = {} if axis is None else {"axis": axis}
    names = [f"{source}.scale", f"{source}.zero"]
    nodes.append(helper.make_node("QuantizeLinear", [source, *names], [f"{source}.q"], name=f"{source}.Q", **where))
    nodes.append(
        helper.make_node("DequantizeLinear", [f"{source}.q", *names], [f"{source}.dq"], name=f"{source}.DQ", **where)
    )
    return f"{source}.dq"


def _add_zero_points(graph: onnx.GraphProto) -> None:
    for tensor in list(graph.initializer):
        if tensor.name.endswith(".scale"):
            zero = np.zeros(tuple(tensor.dims), np.int8)
            graph.initializer.append(numpy_helper.from_array(zero, tensor.name.replace(".scale", ".zero")))


@pytest.fixture
def tiny(tmp_path):
    def make(precision="fp32", *, change=None, **options) -> Path:
        model = tiny_model(precision, **options)
        if change is not None:
            change(model)
        path = tmp_path / f"tiny.{precision}.onnx"
        onnx.save(model, path)
        return path

    return make


def convolution_precisions(plan) -> dict[str, str]:
    """{node: precision} read back from the compiler; the kernel's name begins with the node's."""
    layers = [layer for layer in plan.layers if layer.op == "correlation"]
    return {name: layer.precision for name in CONVOLUTIONS for layer in layers if layer.name.startswith(name)}


@compiles
@pytest.mark.parametrize(
    ("precision", "runs_in"), [("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8"), ("int8-fp16", "int8")]
)
def test_convolutions_run_in_the_precision_of_the_file(tiny, precision, runs_in):
    plan = plan_from_onnx(tiny(precision), target="tensorrt-rtx", options=AMPERE)
    assert convolution_precisions(plan) == dict.fromkeys(CONVOLUTIONS, runs_in)
    assert plan.kept_float == ()
    assert plan.story["convolutions_int8" if runs_in == "int8" else "convolutions_float"] == len(CONVOLUTIONS)
    assert plan.data and plan.runtime.startswith("tensorrt-rtx ")
    assert plan.flags["strongly_typed"] and plan.flags["sm"] == [86] and not plan.flags["builder_flags"]


@compiles
@pytest.mark.parametrize("sm", [(75,), (75, 86)])
def test_turing_in_the_list_turns_int8_off_which_is_an_error(tiny, sm):
    with refused(CheckFailed, "3 of 3", "stem", "depthwise", "score", "SM 75", "INT8"):
        plan_from_onnx(tiny("int8"), target="tensorrt-rtx", options=PlanOptions(sm=sm))


@compiles
def test_int8_depthwise_padding_is_counted_and_told(tiny):
    plan = plan_from_onnx(tiny("int8"), target="tensorrt-rtx", options=AMPERE)
    assert plan.story["depthwise_padded"] == 1 and plan.story["requantizing"] > 0
    told = " ".join(plan.warnings)
    assert_names(told, "1 of 1 depthwise", "placement", "nvidia", "fp16", "unproven")


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
def test_reason_of_a_bad_node_is_told_without_source_paths(tiny):
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


def test_options_are_checked():
    with refused(BadInput, "frame", "4x64, 1x64, 8x64"):
        ShapeRange("frame", (4, 64), (1, 64), (8, 64))
    for options, facts in (({"workspace_mb": 0}, ("workspace", "0 MB")), ({"optimisation_level": 6}, (6, "0 to 5"))):
        with refused(BadInput, *facts):
            PlanOptions(**options)


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


def test_importing_loads_no_vendor_package():
    code = (
        "import sys, fcn_edge.engines.trt;"
        "print([name for name in sys.modules if name.startswith(('tensorrt', 'onnx', 'torch'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("target", "module", "extra"), [("tensorrt", "tensorrt", "gpu"), ("tensorrt-rtx", "tensorrt_rtx", "rtx")]
)
def test_missing_package_names_the_extra(monkeypatch, target, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    with refused(BackendMissing, module, f"fcn-edge[{extra}]") as caught:
        require_target(target)
    assert caught.value.exit_code == 3


def test_tensorrt_without_a_driver_says_so(monkeypatch, tiny):
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    without_driver(monkeypatch)
    with refused(BackendMissing, "tensorrt", "libcuda.so.1", "tensorrt-rtx") as caught:
        plan_from_onnx(tiny(), target="tensorrt")
    assert caught.value.exit_code == 3


def without_driver(monkeypatch):
    def refuse(name):
        raise OSError(name)

    monkeypatch.setattr(vendor, "ctypes", SimpleNamespace(CDLL=refuse))


@pytest.mark.parametrize(("code", "gpus", "missing"), [(100, 0, "error 100"), (0, 0, "finds no GPU"), (0, 1, "")])
def test_driver_without_a_gpu_is_told_apart(monkeypatch, code, gpus, missing):
    def count_gpus(pointer):
        pointer._obj.value = gpus
        return 0

    driver = SimpleNamespace(cuInit=lambda _: code, cuDeviceGetCount=count_gpus)
    monkeypatch.setattr(vendor, "ctypes", SimpleNamespace(CDLL=lambda _: driver, c_int=c_int, byref=byref))
    found = vendor.missing_gpu()
    assert missing in found and bool(found) == bool(missing)


@compiles
def test_compiling_for_rtx_needs_no_gpu(monkeypatch):
    without_driver(monkeypatch)
    require_target("tensorrt-rtx")


def test_command_lines_of_each_version():
    options = PlanOptions(workspace_mb=512, optimisation_level=4, timing_cache=Path("t.cache"), sparsity=True)
    lines = trtexec_lines("my net.onnx", "model.plan", target="tensorrt", precision="int8", options=options)
    words = {version: set(shlex.split(line)) for version, line in lines.items()}
    assert next(iter(words)) == "tensorrt 11"
    assert words["tensorrt 10"] - words["tensorrt 11"] == {"--stronglyTyped"}
    assert {"--skipInference", "--builderOptimizationLevel=4"} <= words["tensorrt 11"]
    assert {"--int8", "--buildOnly"} <= words["tensorrt 8.5"] and "--fp16" not in words["tensorrt 8.5"]
    assert {"--int8", "--skipInference", "--builderOptimizationLevel=4"} <= words["tensorrt 8.6"]
    assert not any(word.startswith("--builderOptimizationLevel") for word in words["tensorrt 8.5"])
    for version in ("8.5", "8.6"):
        assert {"--int8", "--fp16"} <= words[f"tensorrt {version}, float layers in fp16"]
    everywhere = {
        "--onnx=my net.onnx",
        "--saveEngine=model.plan",
        "--noTF32",
        "--memPoolSize=workspace:512",
        "--timingCacheFile=t.cache",
        "--sparsity=enable",
    }
    assert all(everywhere <= line for line in words.values())


def test_compatible_plans_are_not_promised_to_tensorrt_8_5():
    options = PlanOptions(version_compatible=True, hardware_compatible="ampere+")
    lines = trtexec_lines("a", "b", target="tensorrt", precision="fp16", options=options)
    assert list(lines) == ["tensorrt 11", "tensorrt 10", "tensorrt 8.6"]
    assert all("--versionCompatible --hardwareCompatibilityLevel=ampere+" in line for line in lines.values())


def test_half_precision_scales_have_no_line_for_tensorrt_8():
    lines = trtexec_lines("a", "b", target="tensorrt", precision="int8-fp16", options=PlanOptions())
    assert list(lines) == ["tensorrt 11", "tensorrt 10"]


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"timing_cache": Path("t")}, ("timing cache",)),
        ({"version_compatible": True, "hardware_compatible": "ampere+"}, ("version compatible", "hardware compatible")),
    ],
)
def test_what_rtx_does_not_heed_is_refused(options, facts):
    with refused(BadInput, *facts, "tensorrt-rtx", "sm"):
        PlanOptions(**options).require_target("tensorrt-rtx")


def test_options_survive_the_manifest():
    shapes = ShapeRange("frame", (1, 64, 64, 3), (1, 64, 64, 3), (4, 64, 64, 3))
    options = PlanOptions((86,), 5, 2, shapes, True, None, True, "ampere+", True)
    assert options_from_flags(options.flags(), sm=(86,)) == options
    with refused(BadInput, "flags", "manifest"):
        options_from_flags({"shapes": [1]})


def test_rtx_line_uses_its_own_tool():
    shapes = ShapeRange("frame", (1, 64, 64, 3), (1, 64, 64, 3), (4, 64, 64, 3))
    options = PlanOptions(sm=(86, 89), shapes=shapes)
    lines = trtexec_lines("a.onnx", "b.plan", target="tensorrt-rtx", precision="fp16", options=options)
    assert list(lines) == ["tensorrt-rtx"]
    line = lines["tensorrt-rtx"]
    assert line.startswith("tensorrt_rtx --onnx=a.onnx --saveEngine=b.plan --computeCapabilities=86,89 ")
    assert "--maxShapes=frame:4x64x64x3" in line and "--fp16" not in line


# Written after TensorRT-RTX 1.7.1 (SM 86) for an int8 file; node names are parted by an invisible character.
RTX_DUMP = """Layers:
Name: __myl_CastTranMulMinMaxRounCast_myl0_0, LayerType: kgen, Inputs: [ { Name: frame, Dimensions: [1,64,64,3], \
Strides: [12288,192,3,1], StrideOrder: [3,2,1,0], Datatype: UInt8, Format: (Linear) Row major linear format }], \
Constants: [ { Name: c0, Dimensions: [1,3,1,1], Datatype: Float, Format: (Linear) Row major linear format }], \
Outputs: [ { Name: q0, Dimensions: [1,3,64,64], Datatype: Int8, Format: (NHWC) Channel major format }], \
TacticName: t0, StreamId: 0, Metadata: [ONNX Layer: cast]\x1f[ONNX Layer: mul]
Name: stem_myl0_1, LayerType: correlation, Inputs: [ { Name: q0, Dimensions: [1,3,64,64], Datatype: Int8, \
Format: (NHWC) Channel major format }], Constants: [ { Name: w0, Dimensions: [16,3,3,3], Datatype: Int8, Format: x }], \
Outputs: [ { Name: y0, Dimensions: [1,16,64,64], Datatype: Float, Format: x }], TacticName: t1, StreamId: 0, \
Metadata: [ONNX Layer: stem]\x1f[ONNX Layer: x0.DQ]
Name: __myl_MulAddReluMulMinMaxRounCast_myl0_2, LayerType: kgen, Inputs: [ { Name: y0, Dimensions: [1,16,64,64], \
Datatype: Float, Format: x }], Constants: [], Outputs: [ { Name: q1, Dimensions: [1,64,64,64], Datatype: Int8, \
Format: x }], TacticName: t2, StreamId: 0, Metadata: [ONNX Layer: stem]\x1f[ONNX Layer: relu0]
Name: depthwise_myl0_3, LayerType: correlation, Inputs: [ { Name: q1, Dimensions: [1,64,64,64], Datatype: Int8, \
Format: x }], Constants: [ { Name: w1, Dimensions: [16,4,3,3], Datatype: Int8, Format: x }], Outputs: [ { Name: y1, \
Dimensions: [1,16,64,64], Datatype: Float, Format: x }], TacticName: t3, StreamId: 0, Metadata: [ONNX Layer: depthwise]
Name: __myl_FcAdd_myl0_4, LayerType: runtime_fusion, Inputs: [ { Name: y1, Dimensions: [1,16,4096], Datatype: Half, \
Format: x }], Constants: [ { Name: w2, Dimensions: [1,11,16], Datatype: Half, Format: x }], Outputs: [ { Name: x3, \
Dimensions: [1,11,4096], Datatype: Half, Format: x }], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: score]__gemm_from_conv1x1

I/O Tensors:
 Name: frame, IOMode: Input, DataType: UInt8, Dimensions: [1,64,64,3], Location: Device
"""


def test_dump_is_parsed_into_layers():
    layers = [kernel.layer for kernel in kernels_from_dump(RTX_DUMP)]
    assert layers == [
        Layer("__myl_CastTranMulMinMaxRounCast_myl0_0", "kgen", "fp32"),
        Layer("stem_myl0_1", "correlation", "int8"),
        Layer("__myl_MulAddReluMulMinMaxRounCast_myl0_2", "kgen", "fp32"),
        Layer("depthwise_myl0_3", "correlation", "int8"),
        Layer("__myl_FcAdd_myl0_4", "runtime_fusion", "fp16"),
    ]


def test_dump_is_held_against_the_file():
    convolutions = convolutions_from_onnx(tiny_model("int8"))
    kernels = kernels_from_dump(RTX_DUMP)
    verdict = int8_verdict(convolutions, kernels)
    assert verdict.quantized == CONVOLUTIONS
    assert verdict.kept_float == ("score",) and verdict.unseen == ()
    assert int8_verdict(convolutions, kernels[:2]).unseen == ("depthwise", "score")
    assert story_from_kernels(kernels, convolutions) == {
        "kernels": 5,
        "convolutions_int8": 2,
        "convolutions_float": 1,
        "deconvolutions": 0,
        "pointwise": 2,
        "requantizing": 1,
        "weights_dequantized": 0,
        "depthwise_padded": 1,
    }


def test_kernels_are_counted_by_kind():
    counts = {"fp32 kgen": 2, "int8 correlation": 2, "fp16 runtime_fusion": 1}
    assert kinds_of_kernels(kernels_from_dump(RTX_DUMP)) == counts


def test_float_files_quantize_nothing():
    assert not any(convolution.is_quantized for convolution in convolutions_from_onnx(tiny_model("fp16")))


def tensorrt_line(name: str, type_: str, nodes: str = "") -> str:
    """A convolution as TensorRT 8 to 10 log it: other names, types inside a sentence, perhaps no metadata."""
    tensor = f"{{ Name: t, Location: Device, Dimensions: [1,16,64,64], Format/Datatype: {type_} }}"
    tail = f", Metadata: {nodes}" if nodes else ""
    return (
        f"Name: {name}, LayerType: CaskConvolution, Inputs: [ {tensor}], Outputs: [ {tensor}], ParameterType:"
        f' Convolution, Kernel: [3,3], Weights: {{"Type": "Int8", "Count": 432}}, TacticName: t, StreamId: 0{tail}'
    )


def test_dump_of_tensorrt_is_parsed():
    text = "\n".join(
        [
            "Layers:",
            tensorrt_line("stem + relu0", "Thirty-two wide channel vectorized row major Int8 format"),
            tensorrt_line("depthwise + relu1", "Channel major FP16 format where channel % 8 == 0"),
            tensorrt_line("score", "Int8", "[ONNX Layer: score]\x1e[ONNX Layer: relu2]"),
        ]
    )
    kernels = kernels_from_dump(text)
    assert [kernel.precision for kernel in kernels] == ["int8", "fp16", "int8"]
    verdict = int8_verdict(convolutions_from_onnx(tiny_model("int8")), kernels)
    assert verdict.kept_float == ("depthwise",) and verdict.unseen == ()


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
    assert plan.layers == () and plan.story == {} and "unproven" in plan.warnings[0]


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
