"""Rows of Upsample and Resize: every opset that redefines them, mode, coordinates, rounding, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from tests.exporting.onnx_tables.case import LAST, POOL4, SIZE, STEM, Case, Op, Step, op

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
ROI = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.8], np.float32)
SCORES = (STEM, POOL4)  # (1, 5, 8, 12)


def resize(opset: int, by: str, height: float, width: float, **attributes: Any) -> Op:
    """by: "scales" or "sizes"; height and width: scales of the score map, which has 8x12 cells."""
    absent = np.zeros(0, np.float32) if opset < 13 else None
    roi = ROI if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize" else absent
    if by == "scales":
        return op("Resize", roi, np.array([1, 1, height, width], np.float32), **attributes)
    return op("Resize", roi, absent, np.array([1, 5, round(8 * height), round(12 * width)]), **attributes)


def old_resizes() -> Iterator[Case]:
    """Upsample and Resize below opset 11: asymmetric, nearest takes the floor."""
    places: dict[str, tuple[Step, ...]] = {"last": (), "inside": (LAST,)}
    factors = ((4.0, 4.0), (2.5, 1.75))
    for opset, mode, (place, behind), factor in product((7, 8, 9, 10), ("nearest", "linear"), places.items(), factors):
        scales = [1.0, 1.0, *factor]
        if opset < 9:
            step = op("Upsample", mode=mode, scales=scales)
        else:
            step = op("Upsample" if opset == 9 else "Resize", np.array(scales, np.float32), mode=mode)
        yield Case(f"{step.kind}-{opset} {mode} x{factor[0]} {place}", (*SCORES, step, *behind), opset)
    for mode in ("nearest", "linear"):
        down = op("Resize", np.array([1, 1, 0.4, 0.4], np.float32), mode=mode)
        yield Case(f"Resize-10 {mode} smaller", (STEM, down, LAST), 10)


def interpolating_resizes() -> Iterator[Case]:
    """linear and cubic, to the image's size by scales and to a size that is no multiple by sizes."""
    for opset, mode, coordinates in product((11, 13, 18, 19), ("linear", "cubic"), COORDINATES):
        given = {"mode": mode, "coordinate_transformation_mode": coordinates}
        name = f"Resize-{opset} {mode} {coordinates}"
        yield Case(f"{name} scales", (*SCORES, resize(opset, "scales", 4, 4, **given)), opset)
        if opset in (11, 19):
            yield Case(f"{name} sizes", (*SCORES, resize(opset, "sizes", 21 / 8, 31 / 12, **given)), opset)
    given = {"coordinate_transformation_mode": "half_pixel_symmetric"}
    for mode in ("linear", "cubic", "nearest"):
        steps = (*SCORES, resize(19, "scales", 2.7, 2.3, mode=mode, **given))
        yield Case(f"Resize-19 {mode} half_pixel_symmetric", steps, 19)


def nearest_resizes() -> Iterator[Case]:
    """Each rounding of each kind of coordinates, by factors where they differ."""
    for opset, coordinates, rounding in product((11, 19), COORDINATES, ROUNDINGS):
        given = {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        yield Case(
            f"Resize-{opset} {coordinates} {rounding}", (*SCORES, resize(opset, "sizes", 2.5, 1.75, **given)), opset
        )
    for rounding in ROUNDINGS:
        given = {"mode": "nearest", "coordinate_transformation_mode": "tf_half_pixel_for_nn"}
        step = resize(11, "scales", 2.5, 2.5, nearest_mode=rounding, **given)
        yield Case(f"Resize-11 tf_half_pixel_for_nn {rounding}", (*SCORES, step), 11)


def special_resizes() -> Iterator[Case]:
    """What opset 11 added for cubic, and opset 18 for all."""
    for opset in (11, 18):
        given = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
        yield Case(f"Resize-{opset} cubic exclude_outside", (*SCORES, resize(opset, "scales", 4, 4, **given)), opset)
    for opset, mode in product((18, 19), ("linear", "cubic")):
        down = resize(opset, "scales", 0.6, 0.6, mode=mode, antialias=1)
        yield Case(f"Resize-{opset} {mode} antialias smaller", (STEM, down, LAST), opset)
    yield Case(
        "Resize-18 linear antialias larger", (*SCORES, resize(18, "scales", 4, 4, mode="linear", antialias=1)), 18
    )
    for policy in ("stretch", "not_larger", "not_smaller"):
        step = op("Resize", None, None, np.array([30, 40]), mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
        yield Case(f"Resize-18 sizes of two axes {policy}", (*SCORES, step), 18)
    step = op("Resize", None, np.array([4, 4], np.float32), mode="linear", axes=[-1, -2])
    yield Case("Resize-18 scales of two negative axes", (*SCORES, step), 18)
    outside = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    wide = np.array([0, 0, -0.2, -0.1, 1, 1, 1.2, 1.1], np.float32)
    step = op("Resize", wide, None, np.array([1, 5, *SIZE]), mode="linear", **outside)
    yield Case("Resize-13 roi beyond the map", (*SCORES, step), 13)
    interleaved = op("Resize", None, np.array([1, 4, 4, 1], np.float32), mode="linear")
    steps = (*SCORES, op("Transpose", perm=[0, 2, 3, 1]), interleaved, op("Transpose", perm=[0, 3, 1, 2]))
    yield Case("Resize-13 linear of interleaved scores", steps, 13)
    twice = (resize(13, "scales", 2, 2, mode="linear"), resize(13, "scales", 2, 2, mode="linear"))
    yield Case("Resize-13 linear twice", (*SCORES, *twice), 13)


CASES = (*old_resizes(), *interpolating_resizes(), *nearest_resizes(), *special_resizes())
