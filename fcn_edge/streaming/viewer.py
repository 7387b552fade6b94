"""The annotated image: the overlay, a legend of its classes, and latencies.

Independent of windows and files. Text is scaled with the frame, and panels are cut to the lines that fit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fcn_edge.engines.base import Engine
from fcn_edge.frame import Frame, Result, Times
from fcn_edge.spec import ModelSpec

FONT = cv2.FONT_HERSHEY_SIMPLEX
WHITE, GREY = (255, 255, 255), (190, 190, 190)
DARKENED = 0.32  # opacity of the image behind a panel
SMALLEST_TEXT = 0.36  # OpenCV font scale; illegible below
WIDEST_PANEL = 0.48  # of the frame's width, so that two panels do not overlap
FRAMES_AVERAGED = 30


@dataclass(frozen=True)
class Figures:
    """Figures of the panel; times in milliseconds, averaged over the last frames."""

    model: str
    engine: str
    fps: float
    input_ms: float
    infer_ms: float
    view_ms: float
    age_ms: float
    index: int
    dropped: int


@dataclass(frozen=True)
class Cell:
    """Text in a row of a panel; column "right" is aligned with the right edge."""

    text: str
    colour: tuple[int, int, int] = WHITE
    column: str = "left"


@dataclass(frozen=True)
class Row:
    """One line of a panel; swatch: BGR of the square before the text."""

    cells: tuple[Cell, ...]
    swatch: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Measures:
    """Sizes of a text line in pixels for a frame size."""

    scale: float
    line: int
    letter: int
    margin: int


class Painter:
    """Draws successive frames; keeps the times of the last ones for its averages."""

    def __init__(self, engine: Engine, *, legend: bool = True) -> None:
        self._spec, self._legend = engine.spec, legend
        execution = " (bf16)" if engine.execution == "bf16" else ""
        self._engine = f"{engine.target} {engine.precision}{execution}"
        self._last: deque[Times] = deque(maxlen=FRAMES_AVERAGED)
        self._ready_ns: deque[int] = deque(maxlen=FRAMES_AVERAGED)
        self._count = 0

    def picture(self, result: Result) -> np.ndarray:
        """(H, W, 3) uint8 BGR for this frame."""
        frame, times = result.frame, result.times
        self._count += 1
        self._last.append(times)
        self._ready_ns.append(frame.captured_ns + times.age_ns)
        if not self._legend:
            return _picture_of(result)
        return annotated(result, self._spec, self.figures(frame))

    def figures(self, frame: Frame) -> Figures:
        """The figures after the last `picture`. dropped: missing indices."""
        passed_ns = self._ready_ns[-1] - self._ready_ns[0]
        return Figures(
            model=self._spec.name,
            engine=self._engine,
            fps=(len(self._ready_ns) - 1) * 1e9 / passed_ns if passed_ns > 0 else 0.0,
            input_ms=_mean_ms([times.input_ns for times in self._last]),
            infer_ms=_mean_ms([times.infer_ns for times in self._last]),
            view_ms=_mean_ms([times.view_ns for times in self._last]),
            age_ms=_mean_ms([times.age_ns for times in self._last]),
            index=frame.index,
            dropped=frame.index + 1 - self._count,
        )


def annotated(result: Result, spec: ModelSpec, figures: Figures) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the overlay (or the frame) with figures at the left and a legend at the right.

    Returns a new array; `result` is not changed.
    """
    picture = _picture_of(result).copy()
    measures = measures_for(picture.shape[0], picture.shape[1])
    _draw_panel(picture, _figure_rows(figures), measures, at_right=False)
    _draw_panel(picture, legend_rows(result.pixels_per_class, spec), measures, at_right=True)
    return picture


def _picture_of(result: Result) -> np.ndarray:
    return result.frame.image if result.overlay is None else result.overlay


def measures_for(height: int, width: int) -> Measures:
    """Text size from the shorter side: readable at 320x240 and not too large at 4K."""
    scale = max(SMALLEST_TEXT, min(height, 0.6 * width) * 0.0008)
    (_, letter), below = cv2.getTextSize("Ag", FONT, scale, _thickness(scale))
    return Measures(scale, round((letter + below) * 1.25), letter, max(4, round(letter * 0.8)))


def legend_rows(pixels_per_class: np.ndarray, spec: ModelSpec) -> list[Row]:
    """A row per class present, most frequent first: colour, name, percentage of pixels."""
    total = max(1, int(pixels_per_class.sum()))
    order = np.argsort(-pixels_per_class, kind="stable")
    rows = []
    for index in (int(i) for i in order if pixels_per_class[i] > 0 and i < spec.num_classes):
        percent = 100 * int(pixels_per_class[index]) / total
        share = f"{percent:.1f} %" if percent >= 0.1 else "<0.1 %"
        red, green, blue = spec.palette[index]
        name = spec.classes[index].replace("_", " ")
        rows.append(Row((Cell(name), Cell(share, GREY, "right")), (blue, green, red)))
    return rows


def _figure_rows(figures: Figures) -> list[Row]:
    values = [
        ("fps", f"{figures.fps:.1f}"),
        ("input", f"{figures.input_ms:.1f} ms"),
        ("infer", f"{figures.infer_ms:.1f} ms"),
        ("view", f"{figures.view_ms:.1f} ms"),
        ("age", f"{figures.age_ms:.1f} ms"),
        ("frame", f"{figures.index}"),
    ]
    if figures.dropped > 0:
        values.append(("dropped", f"{figures.dropped}"))
    titles = [Row((Cell(figures.model),)), Row((Cell(figures.engine, GREY),))]
    return titles + [Row((Cell(label, GREY), Cell(value, WHITE, "right"))) for label, value in values]


def _draw_panel(picture: np.ndarray, rows: list[Row], measures: Measures, *, at_right: bool) -> None:
    """Darken a box in a top corner of `picture` and draw the rows that fit."""
    height, width = picture.shape[:2]
    pad = measures.margin
    rows = rows[: max(0, (height - 4 * pad) // measures.line)]
    room = int(width * WIDEST_PANEL) - 4 * pad
    if not rows or room < 4 * measures.line:
        return
    if max(_row_width(row, measures) for row in rows) > room:  # names are more important than shares
        rows = [row if row.swatch is None else replace(row, cells=row.cells[:1]) for row in rows]
    inner = min(room, max(_row_width(row, measures) for row in rows))
    left = width - inner - 3 * pad if at_right else pad
    box = picture[pad : 3 * pad + len(rows) * measures.line, left : left + inner + 2 * pad]
    box[...] = cv2.convertScaleAbs(box, alpha=DARKENED)
    for number, row in enumerate(rows):
        baseline = 2 * pad + number * measures.line + (measures.line + measures.letter) // 2
        _draw_row(picture, row, measures, (left + pad, left + pad + inner), baseline)


def _draw_row(picture: np.ndarray, row: Row, measures: Measures, columns: tuple[int, int], baseline: int) -> None:
    left, right = columns
    if row.swatch is not None:
        top = baseline - measures.letter
        corners = (left, top), (left + measures.letter, baseline)
        cv2.rectangle(picture, *corners, row.swatch, cv2.FILLED)
        cv2.rectangle(picture, *corners, GREY, 1)
        left += 2 * measures.letter
    for cell in sorted(row.cells, key=lambda cell: cell.column == "left"):  # the right one first: it is not cut
        text = _cut(cell.text, right - left, measures)
        start = right - _text_width(text, measures) if cell.column == "right" else left
        thickness = _thickness(measures.scale)
        cv2.putText(picture, text, (start, baseline), FONT, measures.scale, cell.colour, thickness, cv2.LINE_AA)
        if cell.column == "right":
            right = start - measures.letter


def _row_width(row: Row, measures: Measures) -> int:
    gaps = 2 * measures.letter * (len(row.cells) - 1)
    swatch = 0 if row.swatch is None else 2 * measures.letter
    return swatch + gaps + sum(_text_width(cell.text, measures) for cell in row.cells)


def _cut(text: str, room: int, measures: Measures) -> str:
    """`text`, cut to `room` pixels with two dots if necessary."""
    if _text_width(text, measures) <= room:
        return text
    while text and _text_width(text + "..", measures) > room:
        text = text[:-1]
    return text + ".." if text else ""


def _text_width(text: str, measures: Measures) -> int:
    return int(cv2.getTextSize(text, FONT, measures.scale, _thickness(measures.scale))[0][0])


def _thickness(scale: float) -> int:
    return max(1, round(scale * 1.1))


def _mean_ms(durations_ns: list[int]) -> float:
    return sum(durations_ns) / len(durations_ns) / 1e6
