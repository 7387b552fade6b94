"""Rows of layers on feature maps: convolutions, pooling, padding, normalisation and activations by opset."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.exporting.onnx_tables.case import (
    CLASSES,
    LAST,
    STEM,
    Case,
    Net,
    Op,
    Step,
    conv,
    op,
    random_weights,
)

BILINEAR2 = np.outer(*[np.array([0.25, 0.75, 0.75, 0.25], np.float32)] * 2)
TWO = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
HALF_SIZE = conv(3, CLASSES, strides=[2, 2])
UNSCALED = np.array([0.5, 2.0, 1.0, 3.0, 1.5], np.float32)
SHIFTS = np.array([0.3, -0.2, 0.1, 0.0, -0.4], np.float32)


def grouped(kernel: np.ndarray) -> np.ndarray:
    """The same kernel for each class, as weights of a grouped ConvTranspose."""
    return np.repeat(kernel[None, None], CLASSES, 0)


def diagonal(kernel: np.ndarray) -> np.ndarray:
    """The same, as weights without groups."""
    return (np.eye(CLASSES)[..., None, None] * kernel).astype(np.float32)


def deconvolutions() -> Iterator[Case]:
    """ConvTranspose: bilinear and learned, with every way to say its size."""
    learned = random_weights(CLASSES, CLASSES, 4, 4, seed=2)
    depthwise = random_weights(CLASSES, 1, 4, 4, seed=3)
    rows: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "bilinear grouped": ((grouped(BILINEAR2),), {**TWO, "group": CLASSES}),
        "bilinear diagonal": ((diagonal(BILINEAR2),), TWO),
        "bilinear, equal biases": ((diagonal(BILINEAR2), np.full(CLASSES, 0.5, np.float32)), TWO),
        "bilinear, other biases": ((diagonal(BILINEAR2), SHIFTS), TWO),
        "bilinear, negative": ((diagonal(-BILINEAR2),), TWO),
        "bilinear, scaled by class": ((diagonal(BILINEAR2) * UNSCALED[:, None, None, None],), TWO),
        "bilinear, classes permuted": ((diagonal(BILINEAR2)[[1, 0, 2, 3, 4]],), TWO),
        "bilinear, no pads": ((grouped(BILINEAR2),), {"strides": [2, 2], "group": CLASSES}),
        "bilinear, pads of one side": ((grouped(BILINEAR2),), {**TWO, "pads": [2, 0, 0, 2], "group": CLASSES}),
        "bilinear SAME_UPPER": ((grouped(BILINEAR2),), {"strides": [2, 2], "auto_pad": "SAME_UPPER", "group": CLASSES}),
        "bilinear SAME_LOWER": ((grouped(BILINEAR2),), {"strides": [2, 2], "auto_pad": "SAME_LOWER", "group": CLASSES}),
        "learned": ((learned,), TWO),
        "learned, grouped": ((depthwise, SHIFTS), {**TWO, "group": CLASSES}),
        "learned SAME_UPPER": ((learned[..., :3, :3],), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        "learned SAME_LOWER": ((learned[..., :3, :3],), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        "learned VALID": ((learned,), {"strides": [2, 2], "auto_pad": "VALID"}),
        "learned, output_padding": ((learned[..., :3, :3],), {**TWO, "output_padding": [1, 1]}),
        "learned, output_shape": ((learned,), {"strides": [2, 2], "output_shape": [32, 48]}),
        "learned, dilated": ((learned,), {"strides": [2, 2], "pads": [2, 2, 3, 3], "dilations": [2, 2]}),
    }
    for name, (constants, attributes) in rows.items():
        yield Case(f"ConvTranspose {name}", (HALF_SIZE, op("ConvTranspose", *constants, **attributes)), 11)
    step = op("ConvTranspose", grouped(BILINEAR2), strides=[2, 2], group=CLASSES)
    crop = op("Slice", np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))
    yield Case("ConvTranspose bilinear, cropped", (HALF_SIZE, step, crop), 13)
    off = op("Slice", np.array([0, 2]), np.array([32, 50]), np.array([-2, -1]))
    yield Case("ConvTranspose bilinear, cropped off centre", (HALF_SIZE, step, off), 13)


def convolutions() -> Iterator[Case]:
    """Conv with every padding, grouped, dilated and with odd kernels."""
    for auto_pad, opset in product(("SAME_UPPER", "SAME_LOWER", "VALID"), (7, 11, 22)):
        step = conv(CLASSES, CLASSES, 4, auto_pad=auto_pad, strides=[2, 2])
        yield Case(f"Conv-{opset} {auto_pad}", (STEM, step), opset)
    yield Case("Conv-11 pads of one side", (conv(3, CLASSES, 3, pads=[2, 0, 0, 2]),), 11)
    yield Case("Conv-11 dilated", (conv(3, CLASSES, 3, pads=[2] * 4, dilations=[2, 2]),), 11)
    yield Case("Conv-11 first one grouped", (conv(1, 3, 3, group=3), conv(3, CLASSES, 1)), 11)
    yield Case("Conv-11 of 1x5", (conv(3, CLASSES, 3), op("Conv", random_weights(5, 5, 1, 5), pads=[0, 2, 0, 2])), 11)
    quarter = op("DeformConv", random_weights(5, 5, 3, 3), np.full((1, 18, 32, 48), 0.25, np.float32), pads=[1] * 4)
    deformed: tuple[Step, ...] = (STEM, quarter)
    yield Case("DeformConv-19", deformed, 19)


def poolings() -> Iterator[Case]:
    """Windows at the border: rounded up, padded, counted or not."""
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    for kind, opset, ceil in product(("MaxPool", "AveragePool"), (10, 19, 22), (0, 1)):
        yield Case(f"{kind}-{opset} ceil_mode {ceil}", (STEM, op(kind, **window, ceil_mode=ceil), LAST), opset)
    for kind, auto_pad, opset in product(("MaxPool", "AveragePool"), ("SAME_UPPER", "SAME_LOWER", "VALID"), (7, 19)):
        yield Case(f"{kind}-{opset} {auto_pad}", (STEM, op(kind, **window, auto_pad=auto_pad), LAST), opset)
    for opset, counted in product((7, 11, 19), (0, 1)):
        step = op("AveragePool", **window, pads=[1, 1, 1, 1], count_include_pad=counted)
        yield Case(f"AveragePool-{opset} count_include_pad {counted}", (STEM, step, LAST), opset)
    both = op("AveragePool", **window, pads=[0, 1, 0, 1], ceil_mode=1, count_include_pad=1)
    yield Case("AveragePool-19 ceil_mode and count_include_pad", (STEM, both, LAST), 19)
    yield Case("AveragePool-19 dilated", (STEM, op("AveragePool", **window, dilations=[2, 2]), LAST), 19)
    yield Case("MaxPool-11 dilated", (STEM, op("MaxPool", **window, dilations=[2, 2]), LAST), 11)
    yield Case("LpPool-11", (STEM, op("LpPool", **window, p=2), LAST), 11)
    yield Case("MaxPool-8 with MaxUnpool-9", (STEM, unpooled), 11)
    for opset in (7, 22):
        yield Case(f"GlobalAveragePool-{opset} added back", (STEM, lambda net: pooled(net, "GlobalAveragePool")), opset)
    yield Case("GlobalMaxPool-7 added back", (STEM, lambda net: pooled(net, "GlobalMaxPool")), 7)


def unpooled(net: Net) -> None:
    """2x2 maxima, put back where they were."""
    top = net.node("MaxPool", [net.last], ["top", "places"], kernel_shape=[2, 2], strides=[2, 2])
    net.last = net.node("MaxUnpool", [top, "places"], kernel_shape=[2, 2], strides=[2, 2])


def pooled(net: Net, kind: str) -> None:
    """The maps plus what they are on the whole."""
    net.last = net.node("Add", [net.last, net.node(kind, [net.last])])


def pad(opset: int, sides: list[int], mode: str = "constant", value: float | None = None) -> Op:
    """sides: before and after of each axis, in ONNX's order."""
    if opset < 11:
        return op("Pad", pads=sides, mode=mode, **({"value": value} if value else {}))
    return op("Pad", np.array(sides), *([] if value is None else [np.float32(value)]), mode=mode)


def paddings() -> Iterator[Case]:
    """A border before the first convolution, whose colours may be swapped, and before a later one."""
    around, uneven, crop = [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 2, 0, 0, 2, 0], [0, 0, -1, 0, 0, 0, 2, -1]
    first, later = conv(3, CLASSES, 3, pads=[0] * 4), conv(CLASSES, CLASSES, 3, pads=[0] * 4, seed=4)
    rows = {
        "zeros": (around, "constant", None),
        "uneven": (uneven, "constant", None),
        "a value": (around, "constant", 1.5),
        "reflect": (around, "reflect", None),
        "edge": (around, "edge", None),
        "cut and widened": (crop, "constant", None),
    }
    for opset, (name, (sides, mode, value)) in product((7, 11, 18), rows.items()):
        border = pad(opset, sides, mode, value)
        yield Case(f"Pad-{opset} {name} first", (border, first), opset)
        yield Case(f"Pad-{opset} {name} later", (STEM, border, later), opset)
    yield Case("Pad-19 wrap", (STEM, pad(19, around, "wrap"), later), 19)
    yield Case("Pad-18 of two axes", (STEM, op("Pad", np.array([1, 2, 1, 0]), None, np.array([-2, -1])), later), 18)
    wide = pad(13, [0, 0, 3, 3, 0, 0, 3, 3])
    yield Case("Pad-13 as wide as the kernel", (STEM, wide, later), 13)
    yield Case("Pad-13 before pads", (STEM, pad(13, around), conv(CLASSES, CLASSES, 5, pads=[1, 0, 2, 1])), 13)
    same = conv(CLASSES, CLASSES, 3, auto_pad="SAME_UPPER", strides=[2, 2])
    yield Case("Pad-13 before SAME_UPPER", (STEM, pad(13, around), same), 13)
    yield Case("Pad-13 of channels", (pad(13, [0, 1, 0, 0, 0, 1, 0, 0]), conv(5, CLASSES)), 13)
    moved = (pad(13, [0, -1, 0, 0, 0, 1, 0, 0]), conv(3, CLASSES))
    yield Case("Pad-13 moves the channels", moved, 13)  # OpenVINO swaps colours behind the Pad
    average = op("AveragePool", kernel_shape=[3, 3], strides=[2, 2])
    yield Case("Pad-13 before AveragePool", (STEM, pad(13, around), average), 13)
    yield Case("Pad-13 read twice", (STEM, pad(13, around), lambda net: read_twice(net, later)), 13)


def read_twice(net: Net, step: Op) -> None:
    """The convolution of the padded map, plus the map cut to its size again."""
    border = net.last
    net.then(step)
    cut = [net.constant(np.array(value)) for value in ([1, 1], [-1, -1], [2, 3])]
    net.last = net.node("Add", [net.last, net.node("Slice", [border, *cut])])


CASES = (*deconvolutions(), *convolutions(), *poolings(), *paddings())
