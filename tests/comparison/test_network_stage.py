"""One layer that differs, quantization noise that is no fault, and engines that show no layers."""

from __future__ import annotations

import pytest

from fcn_edge.comparison import StageLimits
from fcn_edge.comparison.stages import ALLOWED
from tests.comparison.planting import (
    LAYER,
    change_mean,
    names_first,
    node_of,
    scaled,
    set_weight,
)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.05, 3.0])
@pytest.mark.parametrize("layer", [LAYER, "/backbone/_conv_stem/Conv", "/score_fr/Conv"])
def test_scaled_layer_is_named_and_no_other(planted, found, onnx_file, layer, factor):
    wrong = found(planted(onnx_file, scaled(layer, factor)))
    names_first(wrong, "network", f"layer {layer} (Conv)", f"times {factor:g}", "weights")
    assert [row.name for row in wrong.layers if row.alone_db < 200] == [layer]
    carried = [row for row in wrong.layers if row.carried_db < 200]
    assert carried[0].name == layer


@pytest.mark.slow
def test_scaled_layer_of_an_int8_file_is_named(planted, found, onnx_file, int8_file):
    def change(model):
        dequantize = next(node for node in model.graph.node if node_of(model, LAYER).input[1] in node.output)
        set_weight(model, dequantize.input[1], lambda values: values * 1.5)

    wrong = found(planted(int8_file, change))
    names_first(wrong, "network", f"layer {LAYER} (Conv)", "times 1.5")


@pytest.mark.slow
def test_faults_before_a_layer_do_not_hide_or_move_it(planted, found, onnx_file):
    both = found(planted(planted(onnx_file, change_mean), scaled(LAYER, 2)))
    assert both.first == "mean" and "network" in both.verdict
    assert f"layer {LAYER} (Conv)" in both.stages[5].finding


@pytest.mark.slow
def test_int8_differs_by_quantization_noise_alone(found, int8_file):
    quantized = found(int8_file)
    assert quantized.first is None, quantized.verdict
    assert "quantization noise" in quantized.verdict and f"{quantized.agreement:.2%}" in quantized.verdict
    assert quantized.matched[0] == quantized.matched[1]
    assert ALLOWED["int8"][0] < min(row.alone_db for row in quantized.layers) < 60
    assert quantized.limits == StageLimits(0.5, *ALLOWED["int8"])


@pytest.mark.slow
def test_agreement_below_the_asked_limit_is_the_networks_noise(found, int8_file):
    strict = found(int8_file, limits=StageLimits(agreement=0.9999))
    assert strict.first == "network" and "/backbone/" in strict.verdict


@pytest.mark.slow
def test_half_precision_agrees(found, onnx_file, tmp_path):
    from fcn_edge.calibration import quantized_file

    half = found(quantized_file(onnx_file, tmp_path / "half.onnx", precision="fp16").path)
    assert half.first is None and half.limits == StageLimits(0.5, *ALLOWED["half"])


@pytest.fixture(scope="module")
def engine_directory(onnx_file, tmp_path_factory):
    pytest.importorskip("openvino", reason="openvino is not installed: no engine to compare")
    from fcn_edge.build import build_engine

    out = tmp_path_factory.mktemp("built") / "engine"
    return build_engine(onnx_file, out, target="openvino", precision="fp32").path


@pytest.mark.slow
def test_engine_shows_no_layers_and_is_judged_by_its_outputs(found, planted, onnx_file, engine_directory):
    same = found(engine_directory)
    assert same.first is None and same.agreement > 0.999 and same.layers == ()
    network = same.stages[5]
    assert network.state == "unknown" and "B (openvino" in network.finding and "tensors" in network.finding
    wrong = found(engine_directory, planted(onnx_file, scaled(LAYER, 3)))
    assert wrong.first == "network" and "model.onnx" in wrong.verdict
    assert found(engine_directory, planted(onnx_file, change_mean)).first == "mean"
