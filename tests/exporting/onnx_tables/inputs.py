"""Rows of what a file is fed: layouts, types, free sizes, one colour, and what no image is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.exporting.onnx_tables.case import (
    CLASSES,
    DOUBLE,
    FLOAT,
    HALF,
    INT32,
    SIZE,
    STEM,
    UINT8,
    Case,
    Source,
    Step,
    conv,
    op,
)

INT8 = 3
TO_NCHW, FLOATS = op("Transpose", perm=[0, 3, 1, 2]), op("Cast", to=FLOAT)
SIZED = f"height = {SIZE[0]}\nwidth = {SIZE[1]}\n"
SMALLER = op("Mul", np.float32(0.01))


def layouts() -> Iterator[Case]:
    """Channels first and last, both orders of colours, bytes and floats of every width."""
    for order in ("rgb", "bgr"):
        yield Case(f"NCHW floats, {order}", (STEM,), source=Source(order=order))
        yield Case(f"NHWC floats, {order}", (TO_NCHW, STEM), source=Source("NHWC", order=order))
        given = {"order": order, "is_normalised": False}
        yield Case(f"NCHW bytes, {order}", (FLOATS, SMALLER, STEM), source=Source("NCHW", UINT8, **given))
        yield Case(f"NHWC bytes, {order}", (FLOATS, SMALLER, TO_NCHW, STEM), source=Source("NHWC", UINT8, **given))
        for name, kind in (("float16", HALF), ("float64", DOUBLE)):
            yield Case(f"NCHW {name}, {order}", (FLOATS, STEM), source=Source("NCHW", kind, order=order))
            yield Case(f"NHWC {name}, {order}", (FLOATS, TO_NCHW, STEM), source=Source("NHWC", kind, order=order))
        yield Case(f"0..255 floats, {order}", (SMALLER, STEM), source=Source(**given))
    grey = (conv(1, CLASSES),)
    yield Case("NCHW grey", grey, source=Source(shape=(1, 1, *SIZE), order="grey"))
    yield Case("NHWC grey", (TO_NCHW, *grey), source=Source("NHWC", shape=(1, *SIZE, 1), order="grey"))
    half = conv(3, CLASSES)
    weights = op("Conv", *(value.astype(np.float16) for value in half.inputs), **half.attributes)
    yield Case("float16 throughout", (weights, FLOATS), source=Source("NCHW", HALF))
    bytes_ = Source("NCHW", UINT8)
    yield Case("bytes with a mean", (FLOATS, STEM), source=bytes_, expected="refused", facts=("mean",))
    for name, kind in (("int32", INT32), ("int8", INT8)):
        source = Source("NCHW", kind, is_normalised=False)
        yield Case(f"NCHW {name}", (FLOATS, SMALLER, STEM), source=source, expected="same or refused")


def sizes() -> Iterator[Case]:
    """Free sizes, with and without the spec's height and width."""
    rows: dict[str, tuple[int | str, ...]] = {
        "free batch": ("N", 3, *SIZE),
        "free batch named None": ("None", 3, *SIZE),
        "free height": (1, 3, "h", SIZE[1]),
        "free size": (1, 3, "h", "w"),
        "free size of one name": ("d", 3, "d", "d"),
        "unknown size": ("?", 3, -1, -1),
    }
    for name, shape in rows.items():
        spec = SIZED if len(set(shape) & set(SIZE)) < 2 else ""
        yield Case(name, (STEM,), source=Source(shape=shape), spec=spec)
    yield Case("free NHWC size", (TO_NCHW, STEM), source=Source("NHWC", shape=("b", "h", "w", 3)), spec=SIZED)
    unsized = Source(shape=(1, 3, "h", "w"))
    yield Case("free size, none in the spec", (STEM,), source=unsized, expected="refused", facts=("height",))
    first, last = (Source(layout, shape=("b", "c", "h", "w")) for layout in ("NCHW", "NHWC"))
    yield Case("all free, layout NCHW", (STEM,), source=first, spec=SIZED + 'layout = "NCHW"\n')
    yield Case("all free, layout NHWC", (TO_NCHW, STEM), source=last, spec=SIZED + 'layout = "NHWC"\n')
    yield Case("all free, no layout", (STEM,), source=first, spec=SIZED, expected="refused", facts=("layout",))
    yield Case("layout against the shape", (STEM,), spec='layout = "NHWC"\n', expected="refused", facts=("NHWC",))
    yield Case("another size in the spec", (STEM,), spec="height = 64\n", expected="refused", facts=("32x48", "64"))
    yield Case("batches of 4", (STEM,), source=Source(shape=(4, 3, *SIZE)), expected="refused", facts=("4",))
    steps: tuple[Step, ...] = (op("Unsqueeze", np.array([0])), STEM)
    yield Case("an image without batch", steps, source=Source(shape=(3, *SIZE)), expected="refused", facts=("3",))
    four = Source(shape=(1, 4, *SIZE))
    yield Case("four channels", (conv(4, CLASSES),), source=four, expected="refused", facts=("4",))


CASES = (*layouts(), *sizes())
