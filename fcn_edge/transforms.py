"""Frames to network input, scores to class maps, class maps to overlays.

The numpy code is the reference: the native kernels must give the same class maps. Without the native library the same
functions run in numpy, which is slower and logged once.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from fcn_edge.buffers import Buffers
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.geometry import Axis, Sampling, frame_sampling, letterbox_content
from fcn_edge.spec import ModelSpec, Preprocess

INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST}
ROWS_AT_ONCE = 32  # limits the reference's working memory to a few megabytes at any frame size
Palette = tuple[tuple[int, int, int], ...]


class View(NamedTuple):
    """Output of the last stage for one frame; the fields have the names of those of `Result`."""

    class_map: np.ndarray
    overlay: np.ndarray | None
    pixels_per_class: np.ndarray
    is_finite: bool


def use_threads(count: int | None) -> None:
    """Set OpenCV's number of threads in this process; None leaves it unchanged."""
    if count is not None:
        cv2.setNumThreads(count)


def input_from_frame(
    image: np.ndarray, preprocess: Preprocess, out: np.ndarray | None = None, workspace: Buffers | None = None
) -> np.ndarray:
    """(1, height, width, 3) uint8 BGR for the network from a frame (H, W, 3) uint8 BGR, or from a view of one.

    Raises:
        BadInput: the frame is not (H, W, 3) uint8.
    """
    require_image(image)
    size = preprocess.size
    batch = np.empty((1, *size, 3), np.uint8) if out is None else out
    if image.shape == batch.shape[1:]:
        batch[0] = image
        return batch
    height, width, top, left = (*size, 0, 0)
    if preprocess.resize == "letterbox":
        height, width, top, left = letterbox_content((image.shape[0], image.shape[1]), size)
    kernels = (workspace or _workspace()).kernels if preprocess.interpolation == "bilinear" else None
    if kernels is None:
        batch[0] = _border(preprocess)
        method = INTERPOLATION[preprocess.interpolation]
        batch[0, top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)
    else:
        rows = image if image.strides[1:] == (3, 1) else np.ascontiguousarray(image)
        y, x = fixed_taps(image.shape[0], height), fixed_taps(image.shape[1], width)
        kernels.resize(rows, *y, *x, batch[0], top, left, _border(preprocess))
    return batch


def require_image(image: np.ndarray, name: str = "the image") -> None:
    """Raises BadInput, with its name, unless `image` is (H, W, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise BadInput(f"{name} is {type(image).__name__}; expected a numpy array (H, W, 3) uint8 BGR")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise BadInput(f"{name} is {image.dtype}{image.shape}; expected uint8 (H, W, 3) BGR")


def _border(preprocess: Preprocess) -> np.ndarray:
    """(3,) uint8 BGR, the mean colour."""
    return np.array(preprocess.mean[::-1]).round().clip(0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def fixed_taps(source: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Taps of an axis resized from `source` to `pixels` like OpenCV on uint8: lower pixel (n,) and weights (n, 2).

    Both int32, read-only; weights are 2048ths of the lower pixel and of the next one. Indices are clamped to the image:
    after the last pixel the next one is the last, and before the first (-1) the lower one is the first.
    """
    position = ((np.arange(pixels) + 0.5) * (1 / (pixels / source)) - 0.5).astype(np.float32)
    low = np.floor(position)
    weight = position - low
    weights = np.rint(np.stack([1 - weight, weight], 1) * np.float32(2048)).astype(np.int32)
    lower = low.clip(-1, source - 1).astype(np.int32)
    for array in (lower, weights):
        array.flags.writeable = False
    return lower, weights


@functools.lru_cache(maxsize=64)
def taps(axis: Axis, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of `axis`: lower cell (int32) and weight of the next one (float32), clamped; read-only.

    A pixel's value is `map[low] * (1 - weight) + map[min(low + 1, cells - 1)] * weight`.
    """
    position = np.clip(axis.scale * np.arange(axis.valid, dtype=np.float64) + axis.offset, 0, cells - 1)
    low = np.floor(position).astype(np.int32)
    weight = (position - low).astype(np.float32)
    low.flags.writeable = weight.flags.writeable = False
    return low, weight


def class_map_from_scores(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(H, W) uint8 arg-max of bilinearly sampled scores (C, h, w) float32; ties go to the lower class.

    `sampling` maps each pixel of the wanted map to a cell of the score map.
    """
    check_scores(scores)
    class_map = np.empty(sampling.size, np.uint8)
    _draw_scores(scores, sampling, class_map, None, _workspace())
    return class_map


def reference_class_map(
    scores: np.ndarray, y_taps: tuple[np.ndarray, np.ndarray], x_taps: tuple[np.ndarray, np.ndarray], out: np.ndarray
) -> np.ndarray:
    """The reference for all kernels: rows first, then columns, all in float32."""
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


def is_finite(output: np.ndarray) -> bool:
    """Whether no value is NaN or infinite. Tests the sum first, and each value only if the sum overflows."""
    if output.dtype.kind != "f":
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(output.sum(dtype=output.dtype))) or bool(np.isfinite(output).all())


def class_map_from_output(output: np.ndarray, spec: ModelSpec, frame_size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 at frame size from one network output: (C, h, w) scores or (h, w) classes."""
    sampling = output_sampling(spec, frame_size)
    return classes_at(output, sampling) if spec.head.kind == "classes" else class_map_from_scores(output, sampling)


def output_sampling(spec: ModelSpec, frame_size: tuple[int, int]) -> Sampling:
    """Mapping from pixels of a frame to cells of the network's output."""
    return frame_sampling(frame_size, spec.preprocess.size, spec.preprocess.resize).then(spec.head.sampling)


def classes_at(classes: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(H, W) uint8: the nearest cell of a class map (h, w) for each pixel."""
    rows, columns = (nearest_cells(axis, cells) for axis, cells in zip((sampling.y, sampling.x), classes.shape))
    return classes[rows[:, None], columns[None, :]]


def nearest_cells(axis: Axis, cells: int) -> np.ndarray:
    """(valid,) int64 index of the nearest cell for each pixel; halves go to the lower cell."""
    position = axis.scale * np.arange(axis.valid, dtype=np.float64) + axis.offset
    return np.clip(np.ceil(position - 0.5), 0, cells - 1).astype(np.int64)


def view_from_scores(
    output: np.ndarray, image: np.ndarray, spec: ModelSpec, style: Style, workspace: Buffers | None = None
) -> View:
    """The view of one frame: `output` is the network's (C, h, w) scores or (h, w) classes for it.

    The caller owns the view's arrays; `workspace` reuses their memory after they are freed.
    """
    workspace = workspace or _workspace()
    sampling = output_sampling(spec, (image.shape[0], image.shape[1]))
    ink = None
    if style.overlay:
        ink = _Ink(np.ascontiguousarray(image), ink_table(spec.palette, style), workspace.take(image.shape, np.uint8))
    if spec.head.kind == "classes":
        class_map = classes_at(output, sampling)
        counts = _draw_classes(class_map, ink, workspace)
    else:
        check_scores(output)
        class_map = workspace.take(sampling.size, np.uint8)
        counts = _draw_scores(output, sampling, class_map, ink, workspace)
    return View(class_map, ink.overlay if ink else None, counts[: spec.num_classes], is_finite(output))


class _Ink(NamedTuple):
    """A frame (H, W, 3), the blending table, and the output overlay."""

    image: np.ndarray
    table: np.ndarray
    overlay: np.ndarray


def _draw_scores(
    scores: np.ndarray, sampling: Sampling, class_map: np.ndarray, ink: _Ink | None, workspace: Buffers
) -> np.ndarray:
    """Fill `class_map` and the overlay; returns (256,) int64, pixels per class."""
    scores = np.ascontiguousarray(scores, np.float32)
    y, x = taps(sampling.y, scores.shape[1]), taps(sampling.x, scores.shape[2])
    if workspace.kernels is None:
        return _draw_classes(reference_class_map(scores, y, x, class_map), ink, workspace)
    counts = np.empty(256, np.int64)
    workspace.kernels.view(scores, *y, *x, class_map, counts, *(ink or ()))
    return counts


def _draw_classes(class_map: np.ndarray, ink: _Ink | None, workspace: Buffers) -> np.ndarray:
    """Fill the overlay; returns (256,) int64, pixels per class."""
    if workspace.kernels is None:
        if ink is not None:
            reference_overlay(class_map, ink.image, ink.table, ink.overlay)
        return np.bincount(class_map.ravel(), minlength=256)
    counts = np.empty(256, np.int64)
    workspace.kernels.draw(class_map, counts, *(ink or ()))
    return counts


def reference_overlay(class_map: np.ndarray, image: np.ndarray, table: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The reference for all kernels: `(pixel * weight + bias) >> 8` in 16 bits."""
    for start in range(0, len(class_map), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        inks = table[class_map[part]]  # (rows, W, 4)
        out[part] = (image[part] * inks[..., :1] + inks[..., 1:]) >> 8
    return out


@functools.lru_cache(maxsize=16)
def ink_table(palette: Palette, style: Style) -> np.ndarray:
    """(256, 4) uint16, one row per class: weight of the frame in 256ths, then the terms added for B, G and R.

    palette is RGB. Hidden classes show the unchanged frame; values outside the palette are black.
    """
    colours = np.zeros((256, 3), np.uint16)
    colours[: len(palette)] = np.array(palette, np.uint16)[:, ::-1]
    weight = np.full((256, 1), 256 - round(256 * style.opacity), np.uint16)
    weight[list(style.hidden_classes)] = 256
    table = np.hstack([weight, colours * (256 - weight) + np.uint16(128)])
    table.flags.writeable = False
    return table


@functools.cache
def _workspace() -> Buffers:
    """Shared default for callers without their own."""
    return Buffers()


def colours_from_class_map(class_map: np.ndarray, palette: Palette) -> np.ndarray:
    """(H, W, 3) uint8 BGR image of a class map; values outside the palette are black."""
    table = np.zeros((256, 1, 3), np.uint8)
    table[: len(palette), 0] = np.array(palette, np.uint8)[:, ::-1]
    return cv2.LUT(cv2.merge([class_map] * 3), table)
