"""Options of plans: validation, options that a target rejects, and the trtexec commands of each TensorRT."""

import shlex
from pathlib import Path

import pytest

from fcn_edge.engines.trt import (
    PlanOptions,
    ShapeRange,
    trtexec_lines,
)
from fcn_edge.engines.trt.plan_options import options_from_flags
from fcn_edge.errors import BadInput
from tests.refusals import refused


def test_options_are_checked():
    with refused(BadInput, "frame", "4x64, 1x64, 8x64"):
        ShapeRange("frame", (4, 64), (1, 64), (8, 64))
    for options, facts in (({"workspace_mb": 0}, ("workspace_mb", 0)), ({"optimisation_level": 6}, (6, "0 to 5"))):
        with refused(BadInput, *facts):
            PlanOptions(**options)


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
