"""The output of a foreign graph: which one holds the classes, and how it is read.

Nothing is guessed: an output that can be read in two ways, or whose values do not fit the spec, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import ModelProto

from fcn_edge.errors import BadInput
from fcn_edge.exporting.foreign_range import argmax_channels, mask_top
from fcn_edge.exporting.foreign_spec import ForeignSpec

Kind = Literal["scores", "mask", "classes"]
ASPECT_CELLS = 1.5  # a map's sides may be this far from the input's proportions: ceil, floor and align_corners sizes
USUAL_THRESHOLD = 0.5  # the threshold that everybody writes; for logits and 0..255 it is wrong


@dataclass(frozen=True)
class OutputForm:
    """How one output is read.

    kind: "scores" of all classes, a "mask" of one channel for two classes, or a map of "classes". shape: as the
    graph gives it. rows, columns: of the map. channels_last: of scores. threshold: of a mask. first_class: a map's
    value of class 0. is_certain: whether a map can hold nothing but classes, counted from 0.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    rows: int
    columns: int
    classes: int
    ignore_index: int
    channels_last: bool = False
    threshold: float = 0.5
    first_class: int = 0
    is_certain: bool = False

    def read(self, output: np.ndarray) -> np.ndarray:
        """(C, h, w) float32 scores, or (h, w) uint8 classes, of what the graph gave, computed by numpy alone."""
        size = (self.rows, self.columns)
        if self.kind == "scores":
            planes = output.reshape(*size, -1).transpose(2, 0, 1) if self.channels_last else output.reshape(-1, *size)
            return np.ascontiguousarray(planes, np.float32)
        if self.kind == "mask":
            mask = output.reshape(size).astype(np.float32)
            return np.stack([np.float32(2 * self.threshold) - mask, mask])
        values = output.reshape(size).astype(np.int64) - self.first_class
        return np.where((values >= 0) & (values < self.classes), values, self.ignore_index).astype(np.uint8)


@dataclass(frozen=True)
class OutputQuery:
    """What an output is judged by: the graph with its input fixed, the input's size, the number of classes."""

    path: Path
    model: ModelProto
    size: tuple[int, int]
    classes: int
    ignore_index: int


def output_form(outputs: Mapping[str, np.ndarray], given: ForeignSpec, query: OutputQuery) -> OutputForm:
    """How the one output that holds the classes is read. outputs: name -> what the graph gave, (pictures, *shape).

    Raises:
        BadInput: none or several of them could be classes, or the chosen one cannot be read for certain.
    """
    if given.output is not None:
        if given.output not in outputs:
            raise BadInput(f"{query.path}: no output {given.output!r}; it has {', '.join(outputs)}")
        return _form_of(given.output, outputs[given.output], given, query)
    if len(outputs) == 1:
        ((name, output),) = outputs.items()
        return _form_of(name, output, given, query)
    fits = {}
    for name, output in outputs.items():
        try:
            fits[name] = _form_of(name, output, given, query)
        except BadInput:
            continue
    shapes = ", ".join(f"{name} {list(output.shape[1:])}" for name, output in outputs.items())
    if len(fits) != 1:
        many = f"{len(fits)} could be classes ({', '.join(fits)})" if fits else "none fits the spec's classes"
        raise BadInput(
            f'{query.path}: {len(outputs)} outputs ({shapes}), {many}; choose one with output = "NAME" in the spec'
        )
    return next(iter(fits.values()))


def _form_of(name: str, output: np.ndarray, given: ForeignSpec, query: OutputQuery) -> OutputForm:
    if not np.isfinite(output.astype(np.float64)).all():
        raise BadInput(
            f"{query.path}: output {name} holds NaN or infinity for a picture; a network that overflows is not built"
        )
    scores = _score_form(name, output, query)
    if scores is not None:
        return scores
    size = _map_size(output.shape[1:], query)
    if size is None:
        shape = list(output.shape[1:])
        raise BadInput(
            f"{query.path}: the spec names {query.classes} classes, the output {name} has shape {shape};"
            " expected (1, classes, h, w), (1, h, w, classes), a class map (1, h, w) or, of two classes, a float mask"
        )
    if query.classes == 2 and output.dtype.kind == "f" and not given.has_map_values:
        return _mask_form(name, output, size, given, query)
    return _map_form(name, output, size, given, query)


def _score_form(name: str, output: np.ndarray, query: OutputQuery) -> OutputForm | None:
    """Scores with or without batch, channels first or last, rows and columns apart or in one axis."""
    shape, classes = output.shape[1:], query.classes

    def of(rows: int, columns: int, *, last: bool) -> OutputForm:
        return OutputForm(name, "scores", shape, rows, columns, classes, query.ignore_index, channels_last=last)

    if output.dtype.kind != "f" and len(shape) != 4:
        return None
    if len(shape) == 4 and shape[0] == 1:
        if shape[1] == classes:
            return of(shape[2], shape[3], last=False)
        if shape[3] == classes and shape[1] != 1:
            return of(shape[1], shape[2], last=True)
        return None
    if len(shape) != 3:
        return None
    fits = []
    if shape[0] == classes and _has_aspect(shape[1:], query.size):
        fits.append(of(shape[1], shape[2], last=False))
    if shape[2] == classes and _has_aspect(shape[:2], query.size):
        fits.append(of(shape[0], shape[1], last=True))
    for axis in (1, 2):
        cells = _flat_size(shape[3 - axis], query.size)
        if shape[0] == 1 and shape[axis] == classes and cells is not None:
            fits.append(of(*cells, last=axis == 2))
    return fits[0] if len(fits) == 1 else None


def _flat_size(cells: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns behind one axis of `cells`: the input's, divided by one whole step; None where none fits."""
    step = round((size[0] * size[1] / cells) ** 0.5)
    if step < 1 or size[0] % step or size[1] % step or size[0] * size[1] != cells * step * step:
        return None
    return size[0] // step, size[1] // step


def _has_aspect(found: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether (h, w) has the input's proportions."""
    rows, columns = found
    by_rows = columns * size[0] / size[1]  # rows that these columns go with
    by_columns = rows * size[1] / size[0]
    return abs(rows - by_rows) <= ASPECT_CELLS or abs(columns - by_columns) <= ASPECT_CELLS


def _map_size(shape: tuple[int, ...], query: OutputQuery) -> tuple[int, int] | None:
    """(h, w) of a map of one value a pixel: (h, w), (1, h, w), (1, 1, h, w) or (1, h, w, 1)."""
    if len(shape) not in (2, 3, 4) or np.prod(shape) < 1:
        return None
    extra = len(shape) - 2
    fits = [shape[i : i + 2] for i in range(extra + 1) if all(n == 1 for n in (*shape[:i], *shape[i + 2 :]))]
    fits = [size for size in fits if _has_aspect(size, query.size)]
    return (fits[0][0], fits[0][1]) if len(fits) == 1 else None


def _mask_form(
    name: str, output: np.ndarray, size: tuple[int, int], given: ForeignSpec, query: OutputQuery
) -> OutputForm:
    """A mask with a threshold that can be right for its range."""
    low, high, top = float(output.min()), float(output.max()), mask_top(query.model, name)
    threshold = given.threshold
    where = f"{query.path}: mask {name} holds {low:.4g} to {high:.4g}"
    if top is not None:
        if threshold is None and top == 1:
            threshold = 0.5
        if threshold is None or not 0 < threshold < top or (threshold == USUAL_THRESHOLD and top > 1):
            raise BadInput(
                f"{where} of 0 to {top:g}; a threshold of {_said(threshold)} cannot be right: threshold = {top / 2:g}"
            )
    elif low < 0 or high > 1:
        likely = 0.0 if low < 0 else 255 / 2
        if threshold is None or threshold == USUAL_THRESHOLD or (low >= 0 and not threshold > 0):
            raise BadInput(f"{where}; a threshold of {_said(threshold)} cannot be right: threshold = {likely:g}")
    elif threshold is None:
        raise BadInput(
            f"{where} and does not end in a sigmoid; say where its second class begins: threshold = 0.5 for a"
            " probability, threshold = 0.0 before a sigmoid"
        )
    return OutputForm(name, "mask", output.shape[1:], *size, 2, query.ignore_index, threshold=threshold)


def _said(threshold: float | None) -> str:
    return f"{USUAL_THRESHOLD} (the default)" if threshold is None else f"{threshold:g}"


def _map_form(
    name: str, output: np.ndarray, size: tuple[int, int], given: ForeignSpec, query: OutputQuery
) -> OutputForm:
    """A class map whose values are certain: by an arg-max over the classes, by the spec, or because all are seen."""
    values = np.unique(output)
    if output.dtype.kind == "f" and (values != np.round(values)).any():
        raise BadInput(
            f"{query.path}: output {name} of shape {list(output.shape[1:])} holds {_broken(values):.4g}, which is no"
            f" class; the spec names {query.classes}"
        )
    first = given.first_class or 0
    known = [v for v in values.tolist() if v != given.ignore_value]
    outside = sorted(int(v) for v in known if not first <= v < first + query.classes)
    if outside:
        raise BadInput(
            f"{query.path}: class map {name} holds {_listed(outside)}; expected {first} to {first + query.classes - 1}."
            " Say what it holds: first_class = N for the value of the first class, ignore_value = N for those without"
        )
    channels = argmax_channels(query.model, name)
    if channels is not None and channels != query.classes:
        raise BadInput(f"{query.path}: {name} chooses among {channels} classes, the spec names {query.classes}")
    are_all_seen = bool(known) and min(known) == 0 and max(known) == query.classes - 1
    if channels is None and not given.has_map_values and not are_all_seen:
        raise BadInput(
            f"{query.path}: class map {name} holds {_listed([int(v) for v in known])} for the pictures tried, which"
            f" does not tell where its {query.classes} classes begin; say it with first_class = 0 (or 1)"
        )
    is_certain = channels == query.classes and not given.has_map_values
    return OutputForm(
        name,
        "classes",
        output.shape[1:],
        *size,
        query.classes,
        query.ignore_index,
        first_class=first,
        is_certain=is_certain,
    )


def _broken(values: np.ndarray) -> float:
    return float(values[values != np.round(values)][0])


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:8])) + (" …" if len(values) > 8 else "")
