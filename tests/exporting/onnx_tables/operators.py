"""Rows of operators that were redefined from opset to opset: norms, activations, shapes, reductions, products."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from tests.exporting.onnx_tables.case import CLASSES, FLOAT, HALF, LAST, POOL4, STEM, Case, Net, Op, Step, conv, op
from tests.exporting.onnx_tables.case import random_weights as random

GAMMA = np.array([1.5, -0.7, 0.4, 2.0, 1.0], np.float32)
BETA = np.array([0.2, -0.1, 0.3, 0.0, -0.5], np.float32)
MEANS = np.array([0.1, -0.4, 0.2, 0.0, 0.3], np.float32)
VARIANCES = np.array([0.5, 2.0, 1.0, 0.1, 3.0], np.float32)
NORM = (GAMMA, BETA, MEANS, VARIANCES)
TO_LAST, TO_FIRST = op("Transpose", perm=[0, 2, 3, 1]), op("Transpose", perm=[0, 3, 1, 2])
SIX = np.float32(6)


def norms() -> Iterator[Case]:
    """Stored statistics, which become part of a convolution, and those of the image, which do not."""
    for opset in (7, 9, 14, 15):
        yield Case(f"BatchNormalization-{opset}", (STEM, op("BatchNormalization", *NORM), LAST), opset)
    wide = op("BatchNormalization", *NORM, epsilon=0.5)
    yield Case("BatchNormalization-15 wide epsilon", (STEM, wide), 15)
    yield Case("BatchNormalization-15 without a bias", (conv(3, CLASSES, bias=False), wide), 15)
    yield Case("BatchNormalization-15 behind ReLU", (STEM, op("Relu"), wide), 15)
    yield Case("BatchNormalization-15 twice", (STEM, wide, wide), 15)
    yield Case("BatchNormalization-15 of the image", (op("BatchNormalization", *(v[:3] for v in NORM)), STEM), 15)
    yield Case("BatchNormalization-15 behind a scale", (STEM, lambda net: scaled_beside(net, wide)), 15)
    whole = op("ConvTranspose", random(5, 5, 2, 2), strides=[2, 2])
    single = op("ConvTranspose", random(5, 1, 2, 2), strides=[2, 2], group=CLASSES)
    small = conv(3, CLASSES, strides=[2, 2])
    yield Case("BatchNormalization-15 behind ConvTranspose", (small, whole, wide), 15)
    yield Case("BatchNormalization-15 behind grouped ConvTranspose", (small, single, wide), 15)
    yield Case("BatchNormalization-15 behind grouped Conv", (STEM, conv(1, CLASSES, group=CLASSES), wide), 15)
    for opset in (7, 17, 22):
        yield Case(f"InstanceNormalization-{opset}", (STEM, op("InstanceNormalization", GAMMA, BETA), LAST), opset)
    six, grouping = conv(3, 6), {"num_groups": 3, "epsilon": 1e-3}
    by_group = op("GroupNormalization", GAMMA[:3], BETA[:3], **grouping)
    by_channel = op("GroupNormalization", np.resize(GAMMA, 6), np.resize(BETA, 6), **grouping)
    yield Case("GroupNormalization-18", (six, by_group, conv(6, CLASSES, 1)), 18)
    yield Case("GroupNormalization-21", (six, by_channel, conv(6, CLASSES, 1)), 21)
    for axis in (-1, 3):
        inner = op("LayerNormalization", GAMMA, BETA, axis=axis)
        yield Case(f"LayerNormalization-17 axis {axis}", (STEM, TO_LAST, inner, TO_FIRST, LAST), 17)
    yield Case("LpNormalization-11", (STEM, op("LpNormalization", axis=1, p=2), LAST), 11)
    yield Case("LRN-7", (STEM, op("LRN", size=3, alpha=0.5), LAST), 7)
    for opset in (9, 13):
        yield Case(f"MeanVarianceNormalization-{opset}", (STEM, op("MeanVarianceNormalization"), LAST), opset)


def scaled_beside(net: Net, norm: Op) -> None:
    """The norm reads a convolution that another node reads too."""
    beside = net.last
    net.then(norm)
    net.last = net.node("Mul", [net.last, beside])


def activations() -> Iterator[Case]:
    """What stands behind a convolution, by the opset that defined it last."""
    rows = {
        ("Clip", 6): op("Clip", min=0.0, max=1.0),
        ("Clip", 11): op("Clip", np.float32(0), np.float32(1)),
        ("Clip", 12): op("Clip", None, np.float32(0.5)),
        ("Clip", 13): op("Clip", np.float32(-0.5)),
        ("Elu", 7): op("Elu", alpha=0.7),
        ("Selu", 7): op("Selu"),
        ("Celu", 12): op("Celu", alpha=0.5),
        ("LeakyRelu", 16): op("LeakyRelu", alpha=0.3),
        ("PRelu", 9): op("PRelu", GAMMA.reshape(5, 1, 1)),
        ("PRelu of one slope", 16): op("PRelu", np.array([0.3], np.float32)),
        ("HardSigmoid", 7): op("HardSigmoid", alpha=0.3, beta=0.4),
        ("HardSwish", 14): op("HardSwish"),
        ("Mish", 18): op("Mish"),
        ("Gelu", 20): op("Gelu"),
        ("Gelu tanh", 20): op("Gelu", approximate="tanh"),
        ("ThresholdedRelu", 10): op("ThresholdedRelu", alpha=0.2),
        ("Softplus", 7): op("Softplus"),
        ("Softsign", 7): op("Softsign"),
        ("Erf", 9): op("Erf"),
        ("Pow", 7): op("Pow", np.float32(2)),
        ("Pow by an integer", 13): op("Pow", np.array(2)),
        ("Max of three", 8): op("Max", np.float32(-0.2), GAMMA.reshape(1, 5, 1, 1)),
        ("Sum of three", 8): op("Sum", np.float32(-0.2), GAMMA.reshape(1, 5, 1, 1)),
        ("Mean of two", 13): op("Mean", BETA.reshape(5, 1, 1)),
        ("Mod fmod", 13): op("Mod", np.float32(0.7), fmod=1),
        ("Dropout", 7): op("Dropout"),
        ("Dropout ratio", 10): op("Dropout", ratio=0.5),
        ("Dropout ratio input", 12): op("Dropout", np.float32(0.5)),
        ("Dropout not training", 13): op("Dropout", np.float32(0.5), np.array(False)),
        ("Dropout with its mask", 22): op("Dropout", np.float32(0.5), outputs=2),
    }
    for (name, opset), step in rows.items():
        yield Case(f"{name} at opset {opset}", (STEM, step, LAST), opset)


def attributes_that_became_inputs() -> Iterator[Case]:
    """The same meaning before and after an attribute became an input."""
    axes = {name: np.array(value) for name, value in {"one": [1], "two": [2, 3]}.items()}
    for opset in (11, 13):
        drop = op("Squeeze", axes=[0]) if opset < 13 else op("Squeeze", np.array([0]))
        back = op("Unsqueeze", axes=[0]) if opset < 13 else op("Unsqueeze", np.array([0]))
        yield Case(f"Squeeze-{opset}, Unsqueeze-{opset}", (STEM, drop, back, LAST), opset)
    yield Case(
        "Squeeze-13 of negative axis", (STEM, op("Squeeze", np.array([-4])), op("Unsqueeze", axes["one"] - 1)), 13
    )
    yield Case("Slice-9", (STEM, op("Slice", starts=[1, -40], ends=[31, 47], axes=[2, 3]), LAST), 9)
    yield Case("Slice-10", (STEM, op("Slice", np.array([1, -40]), np.array([31, 47]), np.array([2, 3])), LAST), 10)
    flip = op("Slice", np.array([-1]), np.array([-1000]), np.array([3]), np.array([-1]))
    yield Case("Slice-13 backwards", (STEM, flip, LAST), 13)
    strided = op("Slice", np.array([0, 1]), np.array([1000, 1000]), np.array([-2, -1]), np.array([2, 2]))
    yield Case("Slice-13 of steps", (STEM, strided, LAST), 13)
    yield Case("Slice-13 of steps at the end", (STEM, strided), 13)
    for opset, kind in product((11, 13, 18), ("ReduceMean", "ReduceMax", "ReduceMin")):
        step = op(kind, axes=[2, 3]) if opset < 18 else op(kind, axes["two"])
        yield Case(f"{kind}-{opset}", (STEM, lambda net, step=step: taken_off(net, step), LAST), opset)
    for opset in (11, 13):
        step = op("ReduceSum", axes=[1]) if opset < 13 else op("ReduceSum", axes["one"])
        yield Case(f"ReduceSum-{opset}", (STEM, lambda net, step=step: taken_off(net, step), LAST), opset)
    empty = op("ReduceSum", np.zeros(0, np.int64), noop_with_empty_axes=1)
    yield Case("ReduceSum-13 of no axes", (STEM, empty, LAST), 13)
    halves = {"outputs": 2, "take": 1, "axis": 1}
    yield Case("Split-11", (STEM, op("Split", split=[2, 3], **halves), conv(3, CLASSES, 1)), 11)
    yield Case("Split-13", (STEM, op("Split", np.array([2, 3]), **halves), conv(3, CLASSES, 1)), 13)
    yield Case("Split-18 num_outputs", (STEM, op("Split", num_outputs=2, **halves), conv(2, CLASSES, 1)), 18)
    yield Case("Split-11 of negative axis", (STEM, op("Split", outputs=2, take=1, axis=-2), LAST), 11)


def taken_off(net: Net, step: Op) -> None:
    """The maps less their own reduction."""
    maps = net.last
    net.then(step)
    net.last = net.node("Sub", [maps, net.last])


def rearrangements() -> Iterator[Case]:
    """Values moved, not changed."""
    many = conv(3, 4 * CLASSES)
    yield Case("DepthToSpace-7", (many, op("DepthToSpace", blocksize=2), LAST), 7)
    for opset, mode in product((11, 13), ("DCR", "CRD")):
        yield Case(f"DepthToSpace-{opset} {mode}", (many, op("DepthToSpace", blocksize=2, mode=mode), LAST), opset)
    yield Case("SpaceToDepth-13", (STEM, op("SpaceToDepth", blocksize=2), conv(4 * CLASSES, CLASSES, 1)), 13)
    for axis, opset in product((1, -3), (7, 13)):
        yield Case(f"Concat-{opset} axis {axis}", (STEM, lambda net, a=axis: joined(net, a), conv(10, 5)), opset)
    yield Case("Gather-13 of channels", (STEM, op("Gather", np.array([4, -5, 2, 1, -2]), axis=-3), LAST), 13)
    yield Case("Gather-13 at the end", (STEM, op("Gather", np.array([4, 3, 2, 1, 0]), axis=1)), 13)
    rows = np.arange(31, -1, -1)[None, None, :, None] * np.ones((1, 5, 1, 48), np.int64)
    yield Case("GatherElements-13", (STEM, op("GatherElements", rows.astype(np.int64), axis=2), LAST), 13)
    for opset in (7, 14):
        yield Case(f"Reshape-{opset} of 0 and -1", (STEM, op("Reshape", np.array([0, -1, 48, 32])), LAST), opset)
    yield Case("Flatten, Reshape", (STEM, op("Flatten", axis=2), op("Reshape", np.array([1, 5, 32, 48])), LAST), 13)
    yield Case("Expand of a row", (STEM, op("ReduceMean", axes=[2]), op("Expand", np.array([1, 5, 32, 48])), LAST), 13)
    yield Case("Tile", (conv(3, 5, strides=[2, 2]), op("Tile", np.array([1, 1, 2, 2])), LAST), 13)
    yield Case("CumSum backwards", (STEM, op("CumSum", np.array(3), exclusive=1, reverse=1), LAST), 14)
    yield Case("Where", (STEM, lambda net: chosen(net), LAST), 16)
    yield Case("CenterCropPad-18", (STEM, op("CenterCropPad", np.array([28, 52]), axes=[2, 3]), LAST), 18)
    grid = (1.6 * np.random.default_rng(3).random((1, 32, 48, 2)) - 0.8).astype(np.float32)
    for opset, mode in ((16, "bilinear"), (20, "linear")):
        yield Case(f"GridSample-{opset}", (STEM, op("GridSample", grid, mode=mode), LAST), opset)


def joined(net: Net, axis: int) -> None:
    """The maps beside their own negatives."""
    net.last = net.node("Concat", [net.last, net.node("Neg", [net.last])], axis=axis)


def chosen(net: Net) -> None:
    """The maps where they are above 0.3, else a constant."""
    above = net.node("Greater", [net.last, net.constant(np.float32(0.3))])
    net.last = net.node("Where", [above, net.last, net.constant(BETA.reshape(5, 1, 1))])


def products() -> Iterator[Case]:
    """Class scores by other products than a convolution."""
    weights = random(CLASSES, CLASSES, seed=4)
    rows = (op("Reshape", np.array([-1, 5])),)
    back = (op("Reshape", np.array([1, 32, 48, 5])), TO_FIRST)
    yield Case("MatMul", (STEM, TO_LAST, op("MatMul", weights), op("Add", BETA), TO_FIRST), 13)
    yield Case("MatMul of flat maps", (STEM, *flat(), op("MatMul", weights), *unflat()), 13)
    for transposed in (0, 1):
        gemm = op("Gemm", weights, BETA, transB=transposed, alpha=0.5, beta=2.0)
        yield Case(f"Gemm transB {transposed}", (STEM, TO_LAST, *rows, gemm, *back), 11)
    yield Case("Gemm-7 broadcast", (STEM, TO_LAST, *rows, op("Gemm", weights, BETA), *back), 7)
    yield Case("Einsum", (STEM, op("Einsum", weights, equation="nchw,cd->ndhw")), 12)
    for opset in (7, 14):
        yield Case(
            f"Div, Add at opset {opset}", (STEM, op("Div", GAMMA.reshape(5, 1, 1)), op("Add", np.float32(1))), opset
        )
    yield Case("Cast to half and back", (STEM, op("Cast", to=HALF), op("Cast", to=FLOAT), LAST), 13)
    yield Case("Attention of pixels", (STEM, POOL4, attention), 13)


def flat() -> tuple[Step, ...]:
    """(1, C, H, W) to (1, H*W, C)."""
    return op("Reshape", np.array([1, 5, -1])), op("Transpose", perm=[0, 2, 1])


def unflat() -> tuple[Step, ...]:
    """(1, H*W, C) to (1, C, H, W)."""
    return op("Transpose", perm=[0, 2, 1]), op("Reshape", np.array([1, 5, 32, 48]))


def attention(net: Net) -> None:
    """softmax(x^T x) applied to x, as transformers do it."""
    maps = net.then(op("Reshape", np.array([1, 5, 96]))).last
    weights = net.then(op("Transpose", perm=[0, 2, 1])).last
    weights = net.node("Softmax", [net.node("MatMul", [weights, maps])], axis=-1)
    net.last = net.node("MatMul", [maps, weights])
    net.then(op("Reshape", np.array([1, 5, 8, 12])))


CASES = (*norms(), *activations(), *attributes_that_became_inputs(), *rearrangements(), *products())
