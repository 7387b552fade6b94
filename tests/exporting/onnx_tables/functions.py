"""Rows of local functions, whatever they are called, and of operators of other domains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.exporting.onnx_tables.case import CLASSES, LAST, STEM, Case, Net, Op, conv, op

MINE = "mine"


def functions() -> Iterator[Case]:
    """Local functions, among them some whose names are those of ONNX operators."""
    for name in ("Identity", "Conv", "BatchNormalization", "Pad", "Dropout", "Resize", "Softmax", "Shape", "If"):
        yield Case(f"function named {name}", (STEM, call(name, negated(name)), LAST))
    yield Case("function named ArgMax at the end", (STEM, call("ArgMax", negated("ArgMax"))))
    yield Case("function named Softmax at the end", (STEM, call("Softmax", negated("Softmax"))))
    yield Case("function is the first operator", (call("Conv", negated("Conv")), STEM))
    yield Case("function with an attribute", (STEM, call("Leaky", leaky(), slope=0.4), LAST))
    yield Case(
        "function called twice with other attributes",
        (STEM, call("Leaky", leaky(), slope=0.4), call("Leaky", leaky(), slope=-0.3), LAST),
    )
    inner, outer = (
        negated("Inner"),
        helper.make_function(
            MINE,
            "Outer",
            ["x"],
            ["y"],
            [helper.make_node("Inner", ["x"], ["t"], domain=MINE), helper.make_node("Exp", ["t"], ["y"])],
            [helper.make_opsetid("", 17), helper.make_opsetid(MINE, 1)],
        ),
    )
    yield Case("function in a function", (STEM, call("Outer", inner, outer), LAST))
    for opset in (11, 17):
        name = f"domain ai.onnx spelled out at opset {opset}"
        yield Case(name, (STEM, op("Relu", domain="ai.onnx"), LAST), opset)
        yield Case(f"{name}, opset too", (STEM, op("Relu", domain="ai.onnx"), LAST), opset, change=spell_domain)
    yield Case(
        "operator of another domain",
        (STEM, op("Sharpen", domain="com.example")),
        expected="refused",
        facts=("Sharpen",),
    )
    yield Case("operator of ONNX Runtime's own", (STEM, op("QuickGelu", domain="com.microsoft", alpha=1.5), LAST))
    border = op("Pad", np.array([0, 0, 2, 2, 0, 0, 2, 2]), np.float32(0), domain="com.microsoft", mode="constant")
    yield Case("Pad of ONNX Runtime's own", (STEM, border, conv(CLASSES, CLASSES, 5, pads=[0] * 4)))
    yield Case("other opset stated first", (STEM, op("QuickGelu", domain="com.microsoft"), LAST), change=reverse_opsets)
    yield Case(
        "other opset stated first, below 13",
        (STEM, op("QuickGelu", domain="com.microsoft"), LAST),
        11,
        change=reverse_opsets,
    )


def call(name: str, *definitions: Any, **attributes: Any) -> Any:
    """A call of a local function, defined with it."""

    def step(net: Net) -> None:
        known = {function.name for function in net.functions}
        net.functions += [function for function in definitions if function.name not in known]
        net.then(Op(name, attributes=attributes, domain=MINE))

    return step


def negated(name: str) -> Any:
    """A function that negates, and then lifts what is small."""
    nodes = [helper.make_node("Neg", ["x"], ["t"]), helper.make_node("Elu", ["t"], ["y"])]
    return helper.make_function(MINE, name, ["x"], ["y"], nodes, [helper.make_opsetid("", 17)])


def leaky() -> Any:
    """A function whose attribute becomes that of its node."""
    node = helper.make_node("LeakyRelu", ["x"], ["y"])
    node.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    return helper.make_function(MINE, "Leaky", ["x"], ["y"], [node], [helper.make_opsetid("", 17)], ["slope"])


def spell_domain(model: onnx.ModelProto) -> None:
    """The opset of ONNX's own domain by its other name."""
    model.opset_import[0].domain = "ai.onnx"


def reverse_opsets(model: onnx.ModelProto) -> None:
    """The opset of another domain first."""
    stated = [helper.make_opsetid(o.domain, o.version) for o in reversed(model.opset_import)]
    del model.opset_import[:]
    model.opset_import.extend(stated)


CASES = tuple(functions())
