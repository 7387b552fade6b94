"""The annotated image: correct numbers, any size, inputs unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fcn_edge.frame import Frame, Style, Times
from fcn_edge.streaming.viewer import Figures, Painter, annotated, legend_rows, measures_for
from tests.streaming.conftest import picture

FIGURES = Figures("colours", "onnxruntime int8", 24.9, 1.2, 38.4, 2.1, 51.7, 1234, 7)
SIZES = [(240, 320), (360, 480), (540, 960), (1080, 1920), (640, 200), (60, 90), (7, 5), (1, 1)]


def _seen(engine, size=(48, 64), style=Style()):  # noqa: B008 - frozen
    return engine.segment(Frame(picture(2, size), 4, 0, "x"), style)


@pytest.mark.parametrize("size", SIZES)
def test_picture_has_the_frame_size_and_inputs_stay_untouched(engine, size):
    result = _seen(engine, size)
    image, overlay = result.frame.image.copy(), result.overlay.copy()
    drawn = annotated(result, engine.spec, FIGURES)
    assert drawn.shape == (*size, 3) and drawn.dtype == np.uint8
    assert np.array_equal(result.frame.image, image) and np.array_equal(result.overlay, overlay)


@pytest.mark.parametrize("size", [(240, 320), (1080, 1920)])
def test_panels_stand_in_the_upper_corners_and_leave_the_middle_free(engine, size):
    result = _seen(engine, size)
    changed = (annotated(result, engine.spec, FIGURES) != result.overlay).any(2)
    assert changed[: size[0] // 3, : size[1] // 4].any() and changed[: size[0] // 3, -size[1] // 4 :].any()
    assert not changed[size[0] * 3 // 4 :].any()
    assert not changed[:, size[1] // 2].any()


def test_without_an_overlay_the_frame_is_annotated(engine):
    result = _seen(engine, (240, 320), Style(overlay=False))
    drawn = annotated(result, engine.spec, FIGURES)
    assert np.array_equal(drawn[-20:], result.frame.image[-20:]) and not np.array_equal(drawn, result.frame.image)


def test_legend_lists_present_classes_by_frequency(engine):
    rows = legend_rows(np.array([1, 0, 2999]), engine.spec)
    assert [[cell.text for cell in row.cells] for row in rows] == [["red", "100.0 %"], ["blue", "<0.1 %"]]
    assert [row.swatch for row in rows] == [(0, 0, 255), (255, 0, 0)]  # BGR


def test_legend_of_many_classes_is_cut_to_what_fits(engine):
    names = tuple(f"a class with quite a long name {n}" for n in range(200))
    spec = replace(engine.spec, classes=names, palette=((1, 2, 3),) * 200)
    result = _seen(engine, (240, 320))
    result = replace(result, pixels_per_class=np.arange(200))
    drawn = annotated(result, spec, FIGURES)
    assert np.array_equal(drawn[-4:], result.overlay[-4:])
    assert np.array_equal(drawn[:, 160], result.overlay[:, 160])


def test_text_grows_with_the_frame():
    lines = [measures_for(*size).line for size in ((240, 320), (540, 960), (1080, 1920))]
    assert 10 <= lines[0] < lines[1] < lines[2]


def test_painter_averages_and_counts_what_never_came(engine):
    painter = Painter(engine)
    for index in (0, 1, 4):
        frame = Frame(picture(index), index, index * 100_000_000, "x")
        painter.picture(replace(engine.segment(frame), times=Times(1_000_000, 2_000_000, 3_000_000, 6_000_000)))
    figures = painter.figures(frame)
    assert (figures.index, figures.dropped, figures.infer_ms, figures.age_ms) == (4, 2, 2.0, 6.0)
    assert figures.fps == pytest.approx(5.0)  # three pictures in 0.4 s
    assert (figures.model, figures.engine) == ("colours", "onnxruntime fp32")


def test_painter_without_legend_gives_the_overlay(engine):
    result = _seen(engine)
    assert Painter(engine, legend=False).picture(result) is result.overlay
