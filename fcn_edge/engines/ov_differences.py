"""Attributes of ONNX operators that OpenVINO passes over without a word, so that it computes something else.

Seen with OpenVINO 2026.4.1 beside ONNX Runtime and onnx's reference; rows of `tests/export/onnx_tables` show when a
later version reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fcn_edge.onnxgraph import operator


def passed_over(nodes: Iterable[Any]) -> list[str]:
    """Operator, name and attribute of each node that OpenVINO would compute otherwise than it says."""
    found = [(node, _attribute_passed_over(node)) for node in nodes]
    return [f"{attribute} of {node.op_type} {node.name or node.output[0]}" for node, attribute in found if attribute]


def _attribute_passed_over(node: Any) -> str:
    given = {attribute.name: attribute for attribute in node.attribute}

    def integer(name: str) -> int:
        return int(given[name].i) if name in given else 0

    if operator(node) == "Resize":
        names = [name for name in ("antialias", "exclude_outside") if integer(name)]
        has_policy = "keep_aspect_ratio_policy" in given and given["keep_aspect_ratio_policy"].s != b"stretch"
        return " and ".join(names + ["keep_aspect_ratio_policy"] * has_policy)
    if operator(node) == "AveragePool" and integer("ceil_mode") and integer("count_include_pad"):
        is_padded = "pads" in given and any(given["pads"].ints)
        may_overhang = "strides" in given and max(given["strides"].ints) > 1
        return "ceil_mode with count_include_pad" if is_padded and may_overhang else ""
    return ""
