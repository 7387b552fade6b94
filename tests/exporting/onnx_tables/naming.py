"""Rows of names that the contract's own tensors have, of IR versions and opsets, and of what leads nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper

from tests.exporting.onnx_tables.case import (
    FLOAT,
    LAST,
    POOL4,
    STEM,
    UINT8,
    Case,
    Change,
    Net,
    Source,
    class_map,
    conv,
    mask,
    op,
    scores,
)

NAMES = (
    "planar",
    "bytes",
    "interleaved",
    "frames",
    "frames_float",
    "frames_planar",
    "frames_centred",
    "frames_ready",
    "frames_mean",
    "frames_scale",
    "frames_rgb",
)


def names() -> Iterator[Case]:
    """Tensors, weights and nodes of the file that are called as the contract's are."""
    for name in NAMES:
        yield Case(f"tensor named {name}", (STEM, LAST), change=renamed("t0", name))
    for name in ("planar", "frames", "frames_ready", "frames_mean"):
        yield Case(f"weights named {name}", (STEM, LAST), change=renamed("c0", name))
        yield Case(f"input named {name}", (STEM, LAST), source=Source(name=name))
    for name in ("interleaved", "planar", "frames_rgb", "frames_ready_bgr"):
        yield Case(
            f"NHWC tensor named {name}",
            (op("Transpose", perm=[0, 3, 1, 2]), STEM),
            source=Source("NHWC"),
            change=renamed("t0", name),
        )
    raw = Source("NHWC", UINT8, is_normalised=False)
    first = (op("Cast", to=FLOAT), op("Mul", np.float32(0.01)), op("Transpose", perm=[0, 3, 1, 2]), STEM)
    for name in ("bytes", "interleaved", "planar"):
        yield Case(f"NHWC bytes, tensor named {name}", first, source=raw, change=renamed("t1", name))
    one = (conv(3, 1), op("Sigmoid"))
    for name in ("foreign_twice", "foreign_rest", "foreign_scores", "foreign_shape", "t1_reshape"):
        yield Case(f"mask, tensor named {name}", one, reads=mask(0.5), classes=2, change=renamed("t0", name))
        yield Case(f"mask, weights named {name}", one, reads=mask(0.5), classes=2, change=renamed("c0", name))
    best = (STEM, op("ArgMax", axis=1))
    for name in ("foreign_axis", "t1_squeeze", "t1_cast", "t1_squeeze_cast"):
        yield Case(f"class map, tensor named {name}", best, reads=class_map(), change=renamed("t0", name))
        yield Case(f"class map, weights named {name}", best, reads=class_map(), change=renamed("c0", name))
    last = (STEM, op("Transpose", perm=[0, 2, 3, 1]))
    yield Case(
        "NHWC scores, tensor named t1_transpose", last, reads=scores("NHWC"), change=renamed("t0", "t1_transpose")
    )
    norm = op(
        "BatchNormalization", *(np.linspace(a, b, 5, dtype=np.float32) for a, b in ((1, 2), (-1, 1), (0, 1), (1, 3)))
    )
    for place, name in (("c2", "bn_weight"), ("c3", "bn_bias"), ("c4", "bn_weight"), ("t0", "bn_bias")):
        change = both(renamed("t1", "bn"), renamed(place, name))
        yield Case(f"BatchNormalization bn, {place} named {name}", (STEM, norm, LAST), change=change)
    yield Case("output named frames", (STEM,), change=renamed("t0", "frames"))
    yield Case("output named planar", (STEM, POOL4), change=renamed("t1", "planar"))
    for name in ("foreign_cast", "frames_cast", "foreign_transpose", "frames_swap"):
        yield Case(f"node named {name}", (STEM, LAST), change=lambda model, name=name: name_nodes(model, name, count=1))
    yield Case("nodes without names", (STEM, op("Relu"), LAST), change=lambda model: name_nodes(model, ""))
    yield Case(
        "names of spaces, slashes and letters",
        (STEM, LAST),
        change=both(renamed("t0", "a b/c:0"), renamed("c0", "Gewicht ü")),
    )


def renamed(old: str, new: str) -> Change:
    """A tensor under another name, wherever it is made, read or given back."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for value in (*graph.initializer, *graph.output, *graph.input):
            value.name = new if value.name == old else value.name

    return change


def both(*changes: Change) -> Change:
    """One change after the other."""

    def change(model: onnx.ModelProto) -> None:
        for one in changes:
            one(model)

    return change


def name_nodes(model: onnx.ModelProto, name: str, *, count: int | None = None) -> None:
    """Give all nodes this name, or the first `count`."""
    for node in list(model.graph.node)[:count]:
        node.name = name


def headers() -> Iterator[Case]:
    """IR versions, metadata and what leads nowhere."""
    for opset, ir in ((7, 3), (8, 3), (9, 4), (11, 6), (12, 7), (22, 10)):
        yield Case(
            f"IR {ir} at opset {opset}", (STEM, POOL4, LAST), opset, change=lambda m, v=ir: set_ir(m, v, listed=v < 4)
        )
    for opset in (8, 11, 13, 17):
        yield Case(
            f"weights listed as inputs at opset {opset}",
            (STEM, LAST),
            opset,
            change=lambda m: set_ir(m, 8, listed=True),
        )
    for opset in (8, 9):
        scales = [1.0, 1.0, 4.0, 4.0]
        larger = op("Upsample", mode="linear", scales=scales) if opset < 9 else op("Upsample", scales, mode="linear")
        steps = (STEM, POOL4, larger)
        yield Case(f"IR 3 Upsample-{opset}", steps, opset, change=lambda model: set_ir(model, 3, listed=True))
    for opset in range(7, 23):
        yield Case(f"opset {opset}", (STEM, op("Relu"), POOL4, LAST, op("Sigmoid")), opset)
    yield Case("node that leads nowhere", (STEM, leads_nowhere, LAST))
    yield Case("metadata of another tool", (STEM,), change=lambda m: helper.set_model_props(m, {"author": "somebody"}))
    yield Case("shapes stated wrongly inside", (STEM, POOL4, LAST), change=misstate)


def set_ir(model: onnx.ModelProto, version: int, *, listed: bool) -> None:
    """An IR version; listed: weights are inputs as well, as they had to be below 4."""
    model.ir_version = version
    if listed:
        values = [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in model.graph.initializer]
        model.graph.input.extend(values)


def leads_nowhere(net: Net) -> None:
    """A node whose result nobody reads."""
    net.node("Exp", [net.last])


def misstate(model: onnx.ModelProto) -> None:
    """A shape with free sizes of misleading names for a tensor inside."""
    model.graph.value_info.append(helper.make_tensor_value_info("t0", FLOAT, ["batch", "c", "width", "height"]))


CASES = (*names(), *headers())
