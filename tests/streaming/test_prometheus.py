"""Figures in Prometheus' format: one line per figure, no credentials, no broken labels."""

from __future__ import annotations

import re

from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.prometheus import metrics_text
from fcn_edge.streaming.sources.base import Source
from tests.streaming.conftest import Drawn

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*\})? -?[0-9.e+-]+')


def _text(engine, *sources):
    return metrics_text(run_feeds([Feed(source, []) for source in sources], engine).streams)


def test_each_source_has_its_counters(engine):
    text = _text(engine, Drawn(4), Drawn(7))
    assert 'fcn_edge_frames_out_total{stream="0",source="drawn"} 4' in text.splitlines()
    assert 'fcn_edge_frames_out_total{stream="1",source="drawn"} 7' in text.splitlines()
    assert 'fcn_edge_source_state{stream="0",source="drawn",state="ended"} 1' in text.splitlines()
    assert re.search(r'fcn_edge_frame_age_seconds\{stream="0",source="drawn",quantile="0.99"\} 0\.0\d+', text)
    assert re.search(r'fcn_edge_stage_seconds\{stream="1",source="drawn",stage="infer",quantile="0.5"\} ', text)


def test_every_line_is_in_the_format_and_every_figure_has_its_type(engine):
    lines = _text(engine, Drawn(2)).splitlines()
    figures = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in figures)
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.match(r"\w+", line).group() for line in figures} == typed


def test_figure_without_a_value_has_no_line(engine):
    text = _text(engine, Drawn(0))
    assert "fcn_edge_last_frame_seconds{" not in text and "nan" not in text.lower() and "None" not in text


def test_labels_are_escaped_and_credentials_hidden(engine):
    class Named(Drawn):
        def __init__(self, uri):
            super().__init__(1)
            self.uri = Source(uri).uri

    text = _text(engine, Named('C:\\a "b"\nc'), Named("rtsp://admin:hunter2@camera/1"))
    assert 'source="C:\\\\a \\"b\\"\\nc"' in text
    assert "hunter2" not in text and 'source="rtsp://***@camera/1"' in text
