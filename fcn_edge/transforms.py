"""Frames to network input, scores to class maps, class maps to pictures.

The numpy code here is the reference: the native kernels must give the same class maps.
Where the native library is missing the same functions run slower and say so once.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from typing import Any

import cv2
import numpy as np

from fcn_edge.errors import BadInput
from fcn_edge.frame import Style, View
from fcn_edge.geometry import Axis, Sampling, frame_sampling, letterbox_content
from fcn_edge.spec import ModelSpec, Preprocess

log = logging.getLogger(__name__)
INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST}
ROWS_AT_ONCE = 32  # keeps the reference's working memory to a few megabytes at any frame size


@functools.cache
def native_kernels() -> Any:
    """The compiled `fcn_edge._native`, or None with one warning where it was not built."""
    if importlib.util.find_spec("fcn_edge._native") is None:
        log.warning("the native kernels are not built: class maps are drawn by numpy, which is slower")
        return None
    return importlib.import_module("fcn_edge._native")


def input_from_frame(image: np.ndarray, preprocess: Preprocess, out: np.ndarray | None = None) -> np.ndarray:
    """(1, height, width, 3) uint8 BGR for the network from a frame (H, W, 3) uint8 BGR.

    Raises:
        BadInput: the frame is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise BadInput(f"frame of shape {image.shape} and type {image.dtype}; expected (H, W, 3) uint8 BGR")
    size = preprocess.size
    batch = np.empty((1, *size, 3), np.uint8) if out is None else out
    method = INTERPOLATION[preprocess.interpolation]
    if preprocess.resize == "stretch":
        _resize_into(image, batch[0], method)
        return batch
    height, width, top, left = letterbox_content((image.shape[0], image.shape[1]), size)
    batch[0] = np.array(preprocess.mean[::-1]).round().clip(0, 255)
    batch[0, top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)
    return batch


def _resize_into(image: np.ndarray, out: np.ndarray, method: int) -> None:
    if image.shape == out.shape:
        out[...] = image
    else:
        cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=method)


def taps(axis: Axis, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of `axis`: lower cell (int32) and weight of the next one (float32), clamped.

    A pixel's value is `map[low] * (1 - weight) + map[min(low + 1, cells - 1)] * weight`.
    """
    position = np.clip(axis.scale * np.arange(axis.valid, dtype=np.float64) + axis.offset, 0, cells - 1)
    low = np.floor(position).astype(np.int32)
    return low, (position - low).astype(np.float32)


def class_map_from_scores(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(H, W) uint8 arg-max of bilinearly sampled scores (C, h, w) float32; ties go to the lower class.

    `sampling` maps each pixel of the wanted map to a cell of the score map.
    """
    check_scores(scores)
    y_low, y_weight = taps(sampling.y, scores.shape[1])
    x_low, x_weight = taps(sampling.x, scores.shape[2])
    scores = np.ascontiguousarray(scores, np.float32)
    out = np.empty(sampling.size, np.uint8)
    kernels = native_kernels()
    if kernels is not None:
        kernels.class_map(scores, y_low, y_weight, x_low, x_weight, out)
        return out
    return reference_class_map(scores, (y_low, y_weight), (x_low, x_weight), out)


def reference_class_map(
    scores: np.ndarray, y_taps: tuple[np.ndarray, np.ndarray], x_taps: tuple[np.ndarray, np.ndarray], out: np.ndarray
) -> np.ndarray:
    """The arithmetic that every kernel must reproduce: rows first, then columns, all in float32."""
    (y_low, y_weight), (x_low, x_weight) = y_taps, x_taps
    y_next = np.minimum(y_low + 1, scores.shape[1] - 1)
    x_next = np.minimum(x_low + 1, scores.shape[2] - 1)
    for start in range(0, len(y_low), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        down = y_weight[part, None]
        rows = scores[:, y_low[part]] * (1 - down) + scores[:, y_next[part]] * down  # (C, rows, w)
        pixels = rows[:, :, x_low] * (1 - x_weight) + rows[:, :, x_next] * x_weight  # (C, rows, W)
        out[part] = pixels.argmax(0)
    return out


def check_scores(scores: np.ndarray) -> None:
    """Raises BadInput unless scores are (C, h, w) with 1 to 255 classes."""
    if scores.ndim != 3 or not 1 <= scores.shape[0] <= 255:
        raise BadInput(f"scores of shape {scores.shape}; expected (C, h, w) with 1 to 255 classes")


def class_map_from_output(output: np.ndarray, spec: ModelSpec, frame_size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 at frame size from one network output: (C, h, w) scores or (h, w) classes."""
    to_network = frame_sampling(frame_size, spec.preprocess.size, spec.preprocess.resize)
    sampling = to_network.then(spec.head.sampling)
    if spec.head.kind != "classes":
        return class_map_from_scores(output, sampling)
    rows, columns = (nearest_cells(axis, cells) for axis, cells in zip((sampling.y, sampling.x), output.shape))
    return output[rows[:, None], columns[None, :]]


def nearest_cells(axis: Axis, cells: int) -> np.ndarray:
    """(valid,) int64 index of the nearest cell for each pixel; halves go to the lower cell."""
    position = axis.scale * np.arange(axis.valid, dtype=np.float64) + axis.offset
    return np.clip(np.ceil(position - 0.5), 0, cells - 1).astype(np.int64)


def view_from_scores(output: np.ndarray, image: np.ndarray, spec: ModelSpec, style: Style) -> View:
    """The view of one frame: `output` is the network's (C, h, w) scores or (h, w) classes for it."""
    class_map = class_map_from_output(output, spec, (image.shape[0], image.shape[1]))
    overlay = overlay_from_class_map(class_map, image, spec.palette, style) if style.overlay else None
    return View(class_map, overlay, np.bincount(class_map.ravel(), minlength=spec.num_classes))


def overlay_from_class_map(
    class_map: np.ndarray, image: np.ndarray, palette: tuple[tuple[int, int, int], ...], style: Style
) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the frame with each class's colour (palette is RGB) at `style.opacity`."""
    colours = colours_from_class_map(class_map, palette)
    blended = cv2.addWeighted(image, 1 - style.opacity, colours, style.opacity, 0)
    if style.hidden_classes:
        hidden = np.isin(class_map, style.hidden_classes)
        blended[hidden] = image[hidden]
    return blended


def colours_from_class_map(class_map: np.ndarray, palette: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """(H, W, 3) uint8 BGR picture of a class map; values beyond the palette are black."""
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(palette), 0] = np.array(palette, np.uint8)[:, ::-1]
    return cv2.LUT(cv2.merge([class_map] * 3), table)
