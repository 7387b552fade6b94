"""Layers as the compilers print them: parsed, counted, and compared with the file."""

from fcn_edge.engines.trt import (
    Layer,
)
from fcn_edge.engines.trt.layer_info import (
    convolutions_from_onnx,
    counts_from_kernels,
    int8_verdict,
    kernels_from_dump,
    kinds_of_kernels,
)
from tests.engines.layer_dumps import RTX_DUMP, tensorrt_line
from tests.engines.tiny_network import CONVOLUTIONS, tiny_model


def test_dump_is_parsed_into_layers():
    layers = [kernel.layer for kernel in kernels_from_dump(RTX_DUMP)]
    assert layers == [
        Layer("__myl_CastTranMulMinMaxRounCast_myl0_0", "kgen", "fp32"),
        Layer("stem_myl0_1", "correlation", "int8"),
        Layer("__myl_MulAddReluMulMinMaxRounCast_myl0_2", "kgen", "fp32"),
        Layer("depthwise_myl0_3", "correlation", "int8"),
        Layer("__myl_FcAdd_myl0_4", "runtime_fusion", "fp16"),
    ]


def test_dump_is_compared_with_the_file():
    convolutions = convolutions_from_onnx(tiny_model("int8"))
    kernels = kernels_from_dump(RTX_DUMP)
    verdict = int8_verdict(convolutions, kernels)
    assert verdict.quantized == CONVOLUTIONS
    assert verdict.kept_float == ("score",) and verdict.unseen == ()
    assert int8_verdict(convolutions, kernels[:2]).unseen == ("depthwise", "score")
    assert counts_from_kernels(kernels, convolutions) == {
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
