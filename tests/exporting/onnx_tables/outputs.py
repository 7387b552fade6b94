"""Rows of what a file gives back: scores, class maps and masks in every layout and type, and what is no such thing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from tests.exporting.onnx_tables.case import (
    BOOL,
    CLASSES,
    DOUBLE,
    FLOAT,
    HALF,
    INT32,
    INT64,
    LAST,
    POOL4,
    STEM,
    UINT8,
    Case,
    Net,
    Step,
    class_map,
    conv,
    mask,
    op,
    scores,
)

INT8, UINT16 = 3, 4
TO_NHWC = op("Transpose", perm=[0, 2, 3, 1])
LARGER = op("Resize", None, np.array([1, 1, 4, 4], np.float32), mode="linear")
BEST = op("ArgMax", axis=1, keepdims=0)
CORNERS = "align_corners = true\n"
FIRST_IS_1 = "first_class = 1\n"


def score_layouts() -> Iterator[Case]:
    """Scores with and without batch, channels first and last, flattened, and in other types."""
    squeeze, rows = op("Squeeze", np.array([0])), np.array([1, CLASSES, 32 * 48])
    yield Case("scores (1, C, h, w)", (STEM,))
    yield Case("scores (1, h, w, C)", (STEM, TO_NHWC), reads=scores("NHWC"))
    yield Case("scores (C, h, w)", (STEM, squeeze), reads=scores("CHW"), rank=3)
    yield Case("scores (h, w, C)", (STEM, TO_NHWC, squeeze), reads=scores("HWC"), rank=3, expected="same or refused")
    yield Case("scores (1, C, h*w)", (STEM, op("Reshape", rows)), reads=scores("NCL"), rank=3)
    flat = op("Reshape", np.array([1, 32 * 48, CLASSES]))
    yield Case("scores (1, h*w, C)", (STEM, TO_NHWC, flat), reads=scores("NLC"), rank=3)
    yield Case("scores (C, h, w), two classes", (conv(3, 2), squeeze), reads=scores("CHW"), rank=3, classes=2)
    small = {"rank": 3, "expected": "same or refused"}
    quarter = op("Reshape", np.array([1, CLASSES, 8 * 12]))
    yield Case("scores (1, C, h*w), smaller", (STEM, POOL4, quarter), reads=scores("NCL", size=(8, 12)), **small)
    yield Case("scores (C, h, w), smaller", (STEM, POOL4, squeeze), reads=scores("CHW"), rank=3)
    yield Case("scores smaller", (STEM, POOL4))
    yield Case("scores smaller, align_corners", (STEM, POOL4), reads=scores(corners=True), spec=CORNERS)
    yield Case("scores smaller (1, h, w, C)", (STEM, POOL4, TO_NHWC), reads=scores("NHWC"))
    for kind, name in ((HALF, "float16"), (DOUBLE, "float64")):
        yield Case(f"scores of {name}", (STEM, op("Cast", to=kind)), expected="same or refused")
    for count in (3, 6):
        yield Case(f"scores of {count} for 5 classes", (conv(3, count),), expected="refused", facts=("5", str(count)))
    line = (STEM, op("ReduceMean", axes=[2, 3]), op("Reshape", np.array([5])))
    yield Case("one vector", line, 13, rank=1, expected="refused")


def choices() -> Iterator[Case]:
    """Softmax and arg-max at the end, by opset; below 13 Softmax flattens what follows its axis."""
    for opset in (7, 11, 12):
        yield Case(f"Softmax-{opset} of all values", (STEM, op("Softmax", axis=1)), opset)
        yield Case(f"Softmax-{opset} without an axis", (STEM, op("Softmax")), opset)
        across = op("Softmax", axis=2)
        yield Case(f"Softmax-{opset} of each map", (STEM, op("Mul", np.float32(9)), across), opset)
        rowwise = (STEM, TO_NHWC, op("Softmax", axis=3))
        yield Case(f"Softmax-{opset} of the last axis", rowwise, opset, reads=scores("NHWC"))
        yield Case(f"LogSoftmax-{opset}", (STEM, op("LogSoftmax", axis=1)), opset)
    for axis in (1, -3, 2, -1):
        yield Case(f"Softmax-13 axis {axis}", (STEM, op("Mul", np.float32(9)), op("Softmax", axis=axis)), 13)
        yield Case(f"Softmax-13 axis {axis} behind Resize", (STEM, POOL4, LARGER, op("Softmax", axis=axis)), 13)
        yield Case(f"Softmax-13 axis {axis} before Resize", (STEM, POOL4, op("Softmax", axis=axis), LARGER), 13)
    yield Case("Softmax-13 without an axis", (STEM, op("Softmax")), 13)
    yield Case("Sigmoid of classes", (STEM, POOL4, LARGER, op("Sigmoid")), 13)
    yield Case("Hardmax-13", (STEM, op("Hardmax", axis=1)), 13)
    yield Case(
        "Hardmax-11 of all values",
        (STEM, op("Hardmax", axis=1)),
        11,
        expected="same or refused",
    )
    for opset, axis, keepdims in ((7, 1, 1), (11, -3, 0), (12, 1, 0), (13, -3, 1)):
        step = op("ArgMax", axis=axis, keepdims=keepdims)
        name = f"ArgMax-{opset} axis {axis} keepdims {keepdims}"
        yield Case(name, (STEM, step), opset, reads=class_map(), rank=3 + keepdims)
        yield Case(f"{name} behind Resize", (STEM, POOL4, LARGER, step), 13, reads=class_map(), rank=3 + keepdims)
    rounded = (STEM, op("Round"))
    for last in (0, 1):
        step = op("ArgMax", axis=1, select_last_index=last)
        yield Case(f"ArgMax-13 select_last_index {last} of ties", (*rounded, step), 13, reads=class_map())
    yield Case("ArgMin-13", (STEM, op("ArgMin", axis=1)), 13, reads=class_map())
    yield Case(
        "ArgMax-13 of Softmax", (STEM, POOL4, LARGER, op("Softmax", axis=1), BEST), 13, reads=class_map(), rank=3
    )
    last = op("ArgMax", axis=3, keepdims=0)
    yield Case("ArgMax-13 of NHWC", (STEM, TO_NHWC, last), 13, reads=class_map(), rank=3)
    first = op("TopK", np.array([1]), axis=1, outputs=2, take=1)
    yield Case("TopK-11 of one", (STEM, first, op("Cast", to=INT64)), 13, reads=class_map())


def class_maps() -> Iterator[Case]:
    """Class maps of every integer type, of floats, and in every shape."""
    usual = {"int64": INT64, "int32": INT32, "uint8": UINT8, "float": FLOAT}
    rare = {"int8": INT8, "uint16": UINT16, "half": HALF}
    for name, kind in (usual | rare).items():
        given = {"reads": class_map(), "rank": 3}
        expected = "same or refused" if name in rare else "same"
        yield Case(f"class map of {name}", (STEM, BEST, op("Cast", to=kind)), expected=expected, **given)
        steps = (STEM, POOL4, LARGER, BEST, op("Cast", to=kind))
        yield Case(f"class map of {name} behind Resize", steps, expected=expected, **given)
    shapes = {"(1, 1, h, w)": [1, 1, 32, 48], "(1, h, w, 1)": [1, 32, 48, 1], "(h, w)": [32, 48]}
    for name, shape in shapes.items():
        steps: tuple[Step, ...] = (STEM, BEST, op("Reshape", np.array(shape)))
        yield Case(f"class map {name}", steps, reads=class_map(), rank=len(shape))
        yield Case(f"class map {name} of floats", (*steps, op("Cast", to=FLOAT)), reads=class_map(), rank=len(shape))
        two = (conv(3, 2), *steps[1:])
        yield Case(f"class map {name} of two classes", two, reads=class_map(), rank=len(shape), classes=2)
    yield Case("class map smaller", (STEM, POOL4, BEST), reads=class_map(), rank=3)
    yield Case(
        "class map of booleans",
        (conv(3, 2), BEST, op("Cast", to=BOOL)),
        reads=class_map(),
        rank=3,
        classes=2,
        expected="same or refused",
    )
    halves = (STEM, BEST, op("Cast", to=FLOAT), op("Mul", np.float32(0.5)))
    yield Case("floats of rank 3 that are no whole numbers", halves, rank=3, expected="refused")
    single = (conv(3, 1), op("Squeeze", np.array([1])))
    yield Case("one channel of floats for 5 classes", single, rank=3, expected="refused")
    yield Case("one channel (1, 1, h, w) for 3 classes", (conv(3, 1),), classes=3, expected="refused")
    yield Case("one channel for one class", (conv(3, 1),), classes=1, expected="refused")


def class_values() -> Iterator[Case]:
    """Maps whose values are not 0 to classes - 1, with the keys of the spec that say so and without."""
    shifted = (STEM, BEST, op("Add", np.array(1)))
    yield Case("map from 1", shifted, rank=3, expected="refused", facts=("first_class",))
    yield Case("map from 1, first_class 1", shifted, rank=3, reads=class_map(first=1), spec=FIRST_IS_1)
    yield Case("map from 0, first_class 1", (STEM, BEST), rank=3, spec=FIRST_IS_1, expected="refused")
    small = (STEM, BEST, op("Add", np.array(1)), op("Cast", to=UINT8))
    yield Case("map from 1 of uint8, first_class 1", small, rank=3, reads=class_map(first=1), spec=FIRST_IS_1)
    for value, kind in ((-1, INT64), (-1, FLOAT), (255, UINT8), (7, INT32)):
        steps = (STEM, lambda net, v=value: unsure(net, v), op("Cast", to=kind))
        name = f"map of {value} for none, of type {TensorProto.DataType.Name(kind)}"
        expected = "same or refused" if value == 255 else "refused"
        read = class_map(ignored=value)
        yield Case(name, steps, rank=3, reads=read, expected=expected)
        yield Case(f"{name}, ignore_value", steps, rank=3, reads=read, spec=f"ignore_value = {value}\n")
    both = (STEM, lambda net: unsure(net, -1), op("Add", np.array(1)))
    spec = FIRST_IS_1 + "ignore_value = 0\n"
    yield Case("map from 1, 0 for none", both, rank=3, reads=class_map(first=1, ignored=0), spec=spec)
    for factor in (6, 300):
        spread = (STEM, BEST, op("Mul", np.array(factor)))
        yield Case(f"map of values up to {4 * factor}", spread, rank=3, expected="refused")


def unsure(net: Net, value: int) -> None:
    """The class map, and `value` where the best score is below 0.4."""
    best = net.node("ReduceMax", [net.last], axes=[1], keepdims=0)
    certain = net.node("Greater", [best, net.constant(np.float32(0.4))])
    classes = net.node("ArgMax", [net.last], axis=1, keepdims=0)
    net.last = net.node("Where", [certain, classes, net.constant(np.array(value))])
    net.element = INT64


def masks() -> Iterator[Case]:
    """One channel that tells two classes apart, in every range and shape."""
    one, squash, bytes_ = conv(3, 1), op("Sigmoid"), op("Mul", np.float32(255))
    given = {"classes": 2}
    shapes = {"(1, 1, h, w)": [1, 1, 32, 48], "(1, h, w)": [1, 32, 48], "(1, h, w, 1)": [1, 32, 48, 1]}
    for name, shape in shapes.items():
        steps: tuple[Step, ...] = (one, squash, op("Reshape", np.array(shape)))
        yield Case(f"mask {name}", steps, reads=mask(0.5), rank=len(shape), **given)
    yield Case(
        "mask (h, w)",
        (one, squash, op("Reshape", np.array([32, 48]))),
        reads=mask(0.5),
        rank=2,
        expected="same or refused",
        **given,
    )
    half = "threshold = 0.5\n"
    yield Case("mask smaller", (one, squash, POOL4), reads=mask(0.5), spec=half, **given)
    yield Case("mask smaller, no threshold", (one, squash, POOL4), reads=mask(0.5), expected="same or refused", **given)
    yield Case("mask, threshold 0.7", (one, squash), reads=mask(0.7), spec="threshold = 0.7\n", **given)
    yield Case("logit, threshold 0", (one,), reads=mask(0.0), spec="threshold = 0.0\n", **given)
    middle = "threshold = 127.5\n"
    yield Case("mask 0..255, threshold 127.5", (one, squash, bytes_), reads=mask(127.5), spec=middle, **given)
    refused = {"expected": "refused", "facts": ("threshold",), **given}
    loud = (one, op("Mul", np.float32(8)))
    yield Case("logit, threshold 0.5", loud, **refused)
    yield Case("mask 0..255, threshold 0.5", (one, squash, bytes_), **refused)
    yield Case("mask 0..1, threshold 127.5", (one, squash), spec=middle, **refused)
    yield Case("mask behind Resize", (one, squash, POOL4, LARGER), reads=mask(0.5), spec=half, **given)
    yield Case(
        "mask of halves", (one, squash, op("Cast", to=HALF)), reads=mask(0.5), expected="same or refused", **given
    )


def several() -> Iterator[Case]:
    """More outputs than one, of which the spec names one or does not."""
    two = (STEM, lambda net: also(net, "Neg"), LAST)
    yield Case("two scores", two, expected="refused", facts=("t1", "t2"))
    yield Case("two scores, the last named", two, spec='output = "t2"\n')
    yield Case("two scores, another named", two, spec='output = "t3"\n', expected="refused", facts=("t3", "t1", "t2"))
    small = (STEM, lambda net: also(net, "GlobalAveragePool"), LAST)
    yield Case("scores and what cannot be classes", small, spec='output = "t2"\n')
    chosen = (STEM, lambda net: also(net, "Identity"), op("ArgMax", axis=1))
    yield Case("scores and their class map", chosen, expected="refused", facts=("t1", "t2"))
    yield Case("scores and their class map, the map named", chosen, spec='output = "t2"\n', reads=class_map())
    inside = (STEM, also_itself, LAST)
    yield Case("a tensor inside is an output too", inside, spec='output = "t1"\n')


def also(net: Net, kind: str) -> None:
    """One more output, before the last."""
    net.more_outputs.append((net.node(kind, [net.last]), FLOAT, 4))


def also_itself(net: Net) -> None:
    """The chain's tensor is given back and read on."""
    net.more_outputs.append((net.last, FLOAT, 4))


def broken() -> Iterator[Case]:
    """Scores that are no numbers."""
    nothing = np.array([0, 1, 1, 1, 1], np.float32).reshape(5, 1, 1)
    yield Case("NaN everywhere", (STEM, op("Mul", np.float32(np.nan))), expected="refused")
    yield Case("NaN in places", (STEM, op("Sqrt")), expected="refused")
    yield Case("infinity in places", (STEM, op("Div", nothing)), expected="refused")
    yield Case("logarithm of zero", (STEM, op("Relu"), op("Log")), expected="refused")
    yield Case("mask of NaN", (conv(3, 1), op("Sqrt")), classes=2, expected="refused")


CASES = (*score_layouts(), *choices(), *class_maps(), *class_values(), *masks(), *several(), *broken())
