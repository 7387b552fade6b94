"""Networks made elsewhere: one convolution to five classes, and whatever stands behind it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import open_engine
from fcn_edge.exporting import onnx_model

NORMALISED = "mean = [123.675, 116.28, 103.53]\nstd = [58.395, 57.12, 57.375]\n"
FIVE = 'classes = ["c0", "c1", "c2", "c3", "c4"]\n' + NORMALISED
TWO = 'classes = ["c0", "c1"]\n' + NORMALISED
AGREEMENT = 0.999
SIZE = (32, 48)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def converter(folder):
    """A function that writes model and spec, wraps them, and gives the contract's path."""

    def run(model, spec, **options):
        source = model if isinstance(model, Path) else folder / "net.onnx"
        if not isinstance(model, Path):
            source.write_bytes(model.SerializeToString())
        (folder / "spec.toml").write_text(spec)
        return onnx_model(source, spec=folder / "spec.toml", **options).save(folder / "out.onnx").path

    return run


def class_map_of(path, image, target="onnxruntime"):
    with open_engine(path, target=target) as engine:
        return engine.segment(image).class_map


def network(tail=(), outputs=(("scores", FLOAT, 4),), *, weights=(), classes=5, opset=17, element=FLOAT, shape=None):
    """A 1x1 convolution to `classes` random scores, `tail` behind it. outputs: (name, element, rank)."""
    random = np.random.default_rng(1)
    colours = 3 if shape is None else max(1, [n for n in shape if n in (1, 3)][-1])
    kernel = random.normal(size=(classes, colours, 1, 1)).astype(helper.tensor_dtype_to_np_dtype(element))
    shape = [1, 3, *SIZE] if shape is None else shape
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["scores"]), *tail],
        "net",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, kind, rank in outputs],
        [numpy_helper.from_array(kernel, "kernel"), *(numpy_helper.from_array(v, n) for n, v in dict(weights).items())],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def argmax(*more, axis=1):
    return [helper.make_node("ArgMax", ["scores"], ["best"], axis=axis, keepdims=0), *more]
