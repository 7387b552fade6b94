"""What OpenVINO computes otherwise than ONNX says is refused before it runs, and the target that does it is named."""

from __future__ import annotations

import pytest
from onnx import helper

from fcn_edge.engines import open_engine
from fcn_edge.engines.ov_differences import passed_over
from fcn_edge.errors import BadInput
from fcn_edge.export import contract_file
from tests.export.onnx_cases import CASES

pytest.importorskip("openvino", reason="openvino is not installed: nothing to refuse")


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("Resize-18 linear antialias smaller", "antialias"),
        ("Resize-19 cubic antialias smaller", "antialias"),
        ("Resize-11 cubic exclude_outside", "exclude_outside"),
        ("Resize-18 sizes of two axes not_larger", "keep_aspect_ratio_policy"),
        ("Resize-18 sizes of two axes not_smaller", "keep_aspect_ratio_policy"),
        ("AveragePool-19 ceil_mode and count_include_pad", "ceil_mode with count_include_pad"),
    ],
)
def test_file_is_refused_by_operator_and_attribute(name, attribute, tmp_path):
    case = CASES[name]
    (tmp_path / "case.onnx").write_bytes(case.model().SerializeToString())
    (tmp_path / "case.toml").write_text(case.toml())
    contract = contract_file(tmp_path / "case.onnx", tmp_path / "contract.onnx", spec=tmp_path / "case.toml")
    with pytest.raises(BadInput, match=attribute) as refused:
        open_engine(contract, target="openvino")
    assert name.split("-")[0] in str(refused.value) and "onnxruntime" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Resize", {"antialias": 0, "keep_aspect_ratio_policy": "stretch"}),
        ("AveragePool", {"ceil_mode": 1, "count_include_pad": 1, "strides": [2, 2]}),
        ("AveragePool", {"ceil_mode": 1, "count_include_pad": 1, "pads": [1] * 4, "strides": [1, 1]}),
        ("AveragePool", {"ceil_mode": 0, "count_include_pad": 1, "pads": [1] * 4, "strides": [2, 2]}),
        ("Conv", {"antialias": 1}),
    ],
)
def test_what_openvino_reads_is_left_to_it(kind, attributes):
    assert passed_over([helper.make_node(kind, ["x"], ["y"], **attributes)]) == []
    assert passed_over([helper.make_node("Resize", ["x"], ["y"], domain="other", antialias=1)]) == []


def test_node_without_a_name_is_told_by_its_result():
    node = helper.make_node("Resize", ["x"], ["larger"], antialias=1)
    assert passed_over([node]) == ["antialias of Resize larger"]
