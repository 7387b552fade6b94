"""Rows of how a file is written: constants, branches, functions, names, weights beside the file, old IR versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.exporting.onnx_tables.case import (
    CLASSES,
    FLOAT,
    LAST,
    POOL4,
    STEM,
    Case,
    Net,
    conv,
    op,
    random_weights,
)

CLASS_FACTORS = np.array([1.0, -0.5, 0.8, 1.2, -1.0], np.float32).reshape(1, 5, 1, 1)


def constants() -> Iterator[Case]:
    """Constant nodes of every attribute, and initializers stored in every way."""
    factors = CLASS_FACTORS.ravel().tolist()
    rows: dict[str, tuple[str, list[str], dict[str, Any]]] = {
        "value": ("Mul", [], {"value": numpy_helper.from_array(CLASS_FACTORS)}),
        "value_float": ("Mul", [], {"value_float": -0.7}),
        "value_floats": ("Mul", ["columns"], {"value_floats": factors}),
        "value_int": ("Reshape", ["five"], {"value_int": 5}),
        "value_ints": ("Reshape", [], {"value_ints": [1, 5, 48, 32]}),
        "sparse_value": ("Mul", ["columns"], {"sparse_value": sparse(CLASS_FACTORS.ravel())}),
    }
    for name, (kind, behind, given) in rows.items():
        yield Case(f"Constant {name}", (STEM, constant(kind, behind, given), LAST), 13)
    for name, stored in {"raw": True, "typed": False}.items():
        yield Case(f"weights stored {name}", (STEM, LAST), change=lambda m, raw=stored: store(m, raw=raw))
    yield Case("weights of doubles, cast", (weights_cast(np.float64),))
    yield Case("weights of halves, cast", (weights_cast(np.float16),))
    yield Case("weights of int8, scaled", (weights_of_bytes,))
    yield Case(
        "weights are a sparse initializer", (STEM, op("Mul", CLASS_FACTORS.ravel()[:, None, None])), change=to_sparse
    )
    yield Case("weights computed from a shape", (STEM, by_shape, LAST), 13)
    yield Case("weights beside the file", (STEM, LAST), stored="beside")


def constant(kind: str, behind: list[str], given: dict[str, Any]) -> Any:
    """The chain and a Constant, which is brought into shape for `kind` by the steps in `behind`."""

    def step(net: Net) -> None:
        value = net.node("Constant", [], **given)
        if "columns" in behind:
            value = net.node("Reshape", [value, net.constant(np.array([1, 5, 1, 1]))])
        if "five" in behind:
            sizes = [net.constant(np.array([size])) for size in (1, 48, 32)]
            flat = net.node("Reshape", [value, net.constant(np.array([1]))])
            value = net.node("Concat", [sizes[0], flat, *sizes[1:]], axis=0)
        net.last = net.node(kind, [net.last, value])

    return step


def sparse(values: np.ndarray) -> Any:
    """The same values as a sparse tensor that stores each."""
    places = numpy_helper.from_array(np.arange(len(values)), "places")
    return helper.make_sparse_tensor(numpy_helper.from_array(values, "values"), places, list(values.shape))


def to_sparse(model: onnx.ModelProto) -> None:
    """The weights of the multiplication, as a sparse initializer of their own name."""
    dense = next(w for w in model.graph.initializer if list(w.dims) == [5, 1, 1])
    values = numpy_helper.to_array(dense)
    stored = numpy_helper.from_array(values.ravel(), dense.name)
    places = numpy_helper.from_array(np.arange(5), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(stored, places, [5, 1, 1]))
    model.graph.initializer.remove(dense)


def store(model: onnx.ModelProto, *, raw: bool) -> None:
    """Rewrite each initializer as raw bytes, or as a list of typed values."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        flat = values.tobytes() if raw else values.ravel().tolist()
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, values.shape, flat, raw=raw))


def weights_cast(kind: Any) -> Any:
    """A first convolution whose weights are stored in another type."""

    def step(net: Net) -> None:
        stored = net.constant(random_weights(CLASSES, 3, 3, 3).astype(kind))
        net.last = net.node("Conv", [net.last, net.node("Cast", [stored], to=FLOAT)], pads=[1] * 4)

    return step


def weights_of_bytes(net: Net) -> None:
    """A first convolution whose weights are dequantized in the graph."""
    stored = net.constant((100 * random_weights(CLASSES, 3, 3, 3)).clip(-127, 127).astype(np.int8))
    scale, zero = net.constant(np.float32(0.01)), net.constant(np.int8(3))
    net.last = net.node("Conv", [net.last, net.node("DequantizeLinear", [stored, scale, zero])], pads=[1] * 4)


def by_shape(net: Net) -> None:
    """Divided by width less height, minus 5 divided by 2 as integers divide."""
    shape = net.node("Shape", [net.last])
    rows, columns = (net.node("Gather", [shape, net.constant(np.array(axis))], axis=0) for axis in (2, 3))
    less = net.node("Sub", [rows, columns])  # -16
    half = net.node("Div", [net.node("Add", [less, net.constant(np.array(11))]), net.constant(np.array(2))])  # -5 / 2
    rest = net.node("Mod", [less, net.constant(np.array(5))])
    factor = net.node("Cast", [net.node("Add", [half, rest])], to=FLOAT)
    net.last = net.node("Sub", [net.last, net.node("Mul", [net.last, factor])])


def branches() -> Iterator[Case]:
    """If with a condition that is known, computed from shapes, or not known; Identity in every place."""
    known = lambda value: lambda net: branch(net, net.constant(np.array(value)))  # noqa: E731
    yield Case("If true", (STEM, known(True), LAST), 13)
    yield Case("If false", (STEM, known(False), LAST), 13)
    yield Case("If twice with the same names inside", (STEM, known(True), known(False), known(True), LAST), 13)
    yield Case("If by a shape", (STEM, lambda net: branch(net, wider(net)), LAST), 13)
    yield Case("If by the image", (STEM, lambda net: branch(net, brighter(net)), LAST), 13)
    yield Case("If by the image reads the image", (lambda net: branch(net, brighter(net)), STEM), 13)
    yield Case("If beside the first convolution reads the image", (image_in_branch,), 13)
    yield Case("If in If", (STEM, nested, LAST), 13)
    yield Case("If weights in a branch", (STEM, lambda net: branch(net, net.constant(np.array(True)), stored=True)), 13)
    yield Case("Loop of three rounds", (STEM, looped, LAST), 13)
    yield Case("Identity before, between and behind", (op("Identity"), STEM, op("Identity"), op("Identity")), 13)
    yield Case("Identity is the end", (STEM, POOL4, op("Identity")), 13)
    yield Case("Identity of weights", (weights_through_identity,), 13)
    yield Case("Identity of what is also read", (STEM, read_beside_identity, LAST), 13)
    yield Case(
        "Identity in a branch", (STEM, lambda net: branch(net, brighter(net), kinds=("Identity", "Neg")), LAST), 13
    )


def branch(net: Net, condition: str, *, kinds: tuple[str, str] = ("Neg", "Abs"), stored: bool = False) -> None:
    """Then one operator, else another; both read the chain from outside. stored: a weight lies in the branch."""
    graphs = []
    for side, kind in zip(("then", "else"), kinds):
        nodes = [helper.make_node(kind, [net.last], ["inner"])]
        nodes.append(
            helper.make_node("Mul" if stored else "Identity", ["inner", *["w"][: int(stored)]], [f"{side}_out"])
        )
        weights = [numpy_helper.from_array(CLASS_FACTORS, "w")] if stored else []
        out = helper.make_tensor_value_info(f"{side}_out", FLOAT, None)
        graphs.append(helper.make_graph(nodes, side, [], [out], weights))
    net.last = net.node("If", [condition], then_branch=graphs[0], else_branch=graphs[1])


def wider(net: Net) -> str:
    """Whether the maps are wider than high, computed from their shape."""
    shape = net.node("Shape", [net.last])
    rows, columns = (net.node("Gather", [shape, net.constant(np.array(axis))], axis=0) for axis in (2, 3))
    return net.node("Less", [rows, columns])


def brighter(net: Net) -> str:
    """Whether the values are above -9 on average: true of every picture, but not known before."""
    mean = net.node("ReduceMean", [net.last], keepdims=0)
    return net.node("Greater", [mean, net.constant(np.float32(-9))])


def image_in_branch(net: Net) -> None:
    """Scores plus the first colour times three, taken from the image inside a branch."""
    image = net.last
    condition = brighter(net)
    net.then(STEM)
    scored = net.last
    net.last = image
    branch(net, condition)
    net.then(op("Slice", np.array([0]), np.array([1]), np.array([1])), op("Mul", 3 * CLASS_FACTORS))
    net.last = net.node("Add", [scored, net.last])


def nested(net: Net) -> None:
    """A branch that holds the same decision again."""
    condition = net.constant(np.array(True))
    inner = [helper.make_node("Neg", [net.last], ["deep"]), helper.make_node("Abs", [net.last], ["flat"])]
    sides = [
        helper.make_graph([node], "inner", [], [helper.make_tensor_value_info(node.output[0], FLOAT, None)])
        for node in inner
    ]
    decision = helper.make_node("If", [condition], ["decided"], then_branch=sides[0], else_branch=sides[1])
    out = helper.make_tensor_value_info("decided", FLOAT, None)
    other = helper.make_tensor_value_info("other", FLOAT, None)
    outer = helper.make_graph([decision], "outer", [], [out])
    idle = helper.make_graph([helper.make_node("Exp", [net.last], ["other"])], "idle", [], [other])
    net.last = net.node("If", [condition], then_branch=outer, else_branch=idle)


def looped(net: Net) -> None:
    """Three times x + x * factors."""
    factors = net.constant(0.3 * CLASS_FACTORS)
    nodes = [
        helper.make_node("Mul", ["x", factors], ["step"]),
        helper.make_node("Add", ["x", "step"], ["x_out"]),
        helper.make_node("Identity", ["go"], ["go_out"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "go_out")]
    maps = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("x", "x_out")]
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    body = helper.make_graph(nodes, "body", [count, ends[0], maps[0]], [ends[1], maps[1]])
    net.last = net.node("Loop", [net.constant(np.array(3)), net.constant(np.array(True)), net.last], body=body)


def weights_through_identity(net: Net) -> None:
    """One initializer, passed on to two convolutions."""
    shared = net.node("Identity", [net.constant(random_weights(3, 3, 3, 3))])
    for _ in range(2):
        net.last = net.node("Conv", [net.last, shared], pads=[1] * 4)
    net.then(conv(3, CLASSES, 1))


def read_beside_identity(net: Net) -> None:
    """x plus a copy of x scaled by class."""
    copy = net.node("Identity", [net.last])
    net.last = net.node("Add", [net.last, net.node("Mul", [copy, net.constant(CLASS_FACTORS)])])


CASES = (*constants(), *branches())
