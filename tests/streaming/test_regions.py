"""Regions and rules: class shares of a polygon, and durations of rules."""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Result, Style
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.regions import Cover, Region, Watch, region_from_text, rule_from_text
from fcn_edge.streaming.sinks import SinkOptions, jsonl, sink_from_uri, sinks_of_sources
from tests.refusals import assert_names, refused
from tests.streaming.conftest import Drawn, picture, result_of, run_into

LEFT = Region("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
ROUNDING = 1e-6  # pixels


def shown(class_map) -> Result:
    return result_of(Frame(np.zeros((*class_map.shape, 3), np.uint8), 0, 0, "x"), class_map)


@pytest.mark.parametrize(
    ("text", "classes", "region", "is_above", "share", "seconds"),
    [
        ("car > 5%", (2,), None, True, 0.05, 0),
        ("car>5%@2s", (2,), None, True, 0.05, 2),
        ("road+car in left < 12.5 % for 0.5 s", (1, 2), "left", False, 0.125, 0.5),
    ],
)
def test_rules_are_read_as_people_write_them(make_spec, text, classes, region, is_above, share, seconds):
    found = rule_from_text(text, make_spec(), [LEFT])
    assert (found.classes, found.region, found.is_above) == (classes, region, is_above)
    assert (found.share, found.seconds, found.text) == (share, seconds, text)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("car", ("rule", "CLASS > PERCENT%")),
        ("car > 5", ("rule", "CLASS > PERCENT%")),
        ("car > 500%", ("rule", "car > 500%", "100 %")),
        ("cra > 5%", ("class", "cra", "car")),
        ("car in lef > 5%", ("region", "lef", "left")),
    ],
)
def test_rule_that_is_none_says_what_one_is(make_spec, text, facts):
    with refused(BadInput, *facts):
        rule_from_text(text, make_spec(), [LEFT])


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("left", ("region", "NAME=x,y x,y x,y")),
        ("a b=0,0 1,0 1,1", ("region", "NAME=x,y x,y x,y")),
        ("a=0,0 1,0 x,1", ("region", "NAME=x,y x,y x,y")),
        ("a=0,0 1,0", ("region a", "2 corners")),
        ("a=0,0,0 1,0 1,1", ("region a", "x,y")),
        ("a=0,0 1,0 1,200", ("region a", "1,200", "0..1")),
        ("a=0,0 1,0 1,nan", ("region a", "1,nan", "0..1")),
        ("a=0,0 1,1 0.5,0.5", ("region a",)),
    ],
)
def test_region_that_is_none_says_what_one_is(text, facts):
    with refused(BadInput, *facts):
        region_from_text(text)


@given(st.integers(4, 90), st.integers(4, 90), st.tuples(*[st.floats(0, 1)] * 4))
def test_region_covers_the_pixels_that_its_corners_say(height, width, corners):
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    mask = Region("r", ((left, top), (right, top), (right, bottom), (left, bottom))).mask((height, width))
    rows, columns = np.mgrid[:height, :width] + 0.5
    beyond = [left * width - columns, columns - right * width, top * height - rows, rows - bottom * height]
    away = np.max(beyond, axis=0)  # from the rectangle, in pixels; inside it is below 0
    assert mask[away < -ROUNDING].all() and not mask[away > ROUNDING].any()


def test_shares_are_of_the_region_and_follow_the_size_of_the_stream():
    cover = Cover([LEFT], [])
    for size in ((20, 40), (30, 20)):
        class_map = np.ones(size, np.uint8)
        class_map[:, : size[1] // 2] = 2
        class_map[: size[0] // 2, : size[1] // 2] = 0
        shares = cover.shares(shown(class_map))
        assert np.allclose(shares[None], [0.25, 0.5, 0.25])
        assert np.allclose(shares["left"], [0.5, 0, 0.5])


def test_ignored_classes_are_counted_nowhere():
    class_map = np.array([[0, 1], [0, 2]], np.uint8)
    assert np.allclose(Cover([], [0]).shares(shown(class_map))[None], [0, 0.5, 0.5])
    assert np.allclose(Cover([], [0, 1, 2]).shares(shown(class_map))[None], 0)


def changes(watch, shares, fps=10.0):
    found = [(index, watch.see(share, index / fps)) for index, share in enumerate(shares)]
    return [(index, change.has_begun, change.since_s) for index, change in found if change]


def test_rule_begins_after_its_seconds_and_ends_after_as_many_without_it(make_spec):
    watch = Watch(rule_from_text("car > 10% for 0.5s", make_spec(), []))
    shares = [0.0] * 5 + [0.2] * 10 + [0.0] * 3 + [0.2] * 5 + [0.1] * 10
    assert changes(watch, shares) == [(10, True, 0.5), (28, False, 2.3)]


def test_one_frame_below_starts_the_wait_again(make_spec):
    watch = Watch(rule_from_text("car > 10% for 0.5s", make_spec(), []))
    assert changes(watch, ([0.2] * 4 + [0.0]) * 5) == []


def test_rule_without_seconds_reports_at_once(make_spec):
    watch = Watch(rule_from_text("car < 10%", make_spec(), []))
    assert changes(watch, [0.5, 0.0, 0.5]) == [(1, True, 0.1), (2, False, 0.2)]


def test_time_without_frames_does_not_count_as_holding(make_spec):
    watch = Watch(rule_from_text("car > 10% for 1s", make_spec(), []))
    assert watch.see(0.2, 0.0) is None
    assert watch.see(0.2, 60.0) is None
    assert watch.see(0.2, 61.0).since_s == 60.0


def run_with(engine, tmp_path, sources, **options):
    options = SinkOptions(events=tmp_path / "events.jsonl", **options)
    with ExitStack() as ends:
        sinks = sinks_of_sources(["null:"], engine, sources, ends, options=options)
        return run_feeds([Feed(source, own) for source, own in zip(sources, sinks)], engine)


def test_events_of_a_run_stand_on_lines_with_their_frame_and_time(tmp_path, engine):
    upper = region_from_text("upper=0,0 1,0 1,0.4 0,0.4")
    rules = (rule_from_text("green in upper > 90%", engine.spec, [upper]),)
    summary = run_with(engine, tmp_path, [Drawn(6)], regions=(upper,), rules=rules)
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(event["frame"], event["state"], event["at_s"]) for event in told] == [
        (1, "began", 0.1),
        (2, "ended", 0.2),
        (4, "began", 0.4),
        (5, "ended", 0.5),
    ]
    assert told[0]["event"] == "green in upper > 90%" and told[0]["share"] == 1.0 and told[0]["source"] == "drawn"
    assert_names(" ".join(summary.outputs), f"{tmp_path}/events.jsonl", "2 events", "drawn")


def test_several_streams_have_rules_of_their_own_and_one_file(tmp_path, engine):
    rules = (rule_from_text("green > 40%", engine.spec, []),)
    run_with(engine, tmp_path, [Drawn(2), Drawn(2)], rules=rules)
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert sorted(event["stream"] for event in told) == [0, 1]


def test_events_go_to_standard_error_where_no_file_is_named(engine, caplog):
    rules = (rule_from_text("green > 40%", engine.spec, []),)
    with ExitStack() as ends:
        sinks = sinks_of_sources([], engine, [source := Drawn(2)], ends, options=SinkOptions(rules=rules))
        run_into(source, engine, sinks[0])
    assert json.loads(caplog.messages[0])["event"] == "green > 40%"


def test_statistics_have_a_line_a_frame_with_shares_of_picture_and_regions(tmp_path, engine):
    upper = region_from_text("upper=0,0 1,0 1,0.4 0,0.4")
    options = SinkOptions(regions=(upper,))
    source = Drawn(5)
    sink = sink_from_uri(str(tmp_path / "s.jsonl"), engine, source=source, options=options)
    assert run_into(source, engine, [sink]).outputs == (f"{tmp_path}/s.jsonl: 5 lines",)
    told = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in told] == list(range(5))
    assert told[1]["shares"] == {"blue": 0.5, "green": 0.5} and told[1]["regions"] == {"upper": {"green": 1.0}}
    assert told[1]["at_s"] == 0.1 and told[1]["time"].endswith("+00:00")
    assert [path.name for path in tmp_path.iterdir()] == ["s.jsonl"]


def test_statistics_of_hidden_classes_are_left_out(tmp_path, engine):
    options = SinkOptions(style=Style(hidden_classes=(0,)))
    sink = sink_from_uri(str(tmp_path / "s.jsonl"), engine, source=Drawn(2), options=options)
    run_into(Drawn(2), engine, [sink])
    assert json.loads((tmp_path / "s.jsonl").read_text().splitlines()[1])["shares"] == {"green": 1.0}


def test_lines_of_a_live_stream_do_not_grow_without_end(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(jsonl, "FILE_BYTES", 2000)
    source = Drawn(200)
    source.is_live = True
    path = tmp_path / "s.jsonl"
    path.write_text('{"time": "2026-01-01T00:00:00.000+00:00", "stream": 0, "frame": 0, "at_s": 0.0}\n')
    run_into(source, engine, [sink_from_uri(str(path), engine, source=source)], policy="every")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["s.jsonl", "s.jsonl.1", "s.jsonl.2", "s.jsonl.3", "s.jsonl.4"]
    assert all(file.stat().st_size <= 2000 for file in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["frame"] == 199


def test_lines_that_cannot_be_written_end_the_run_with_a_word(tmp_path, engine, largest_file):
    source = Drawn(200)
    sink = sink_from_uri(str(tmp_path / "s.jsonl"), engine, source=source)
    with largest_file(3000):
        summary = run_into(source, engine, [sink])
    assert_names(summary.failed, f"{tmp_path}/s.jsonl", os.strerror(errno.EFBIG))
    whole = (tmp_path / "s.jsonl").read_text().splitlines()[:-1]
    assert len(whole) > 5 and all(json.loads(line) for line in whole)


def test_frames_of_pictures_count_as_ten_a_second_and_live_ones_by_the_clock(engine):
    from fcn_edge.streaming.clock import StreamClock

    recorded, live = Drawn(1), Drawn(1)
    live.is_live = True
    frame = Frame(picture(0), 25, 3_000_000_000, "x")
    assert StreamClock(recorded).seconds(frame) == 2.5 and StreamClock(live).seconds(frame) == 3.0
    recorded.fps = 50.0
    assert StreamClock(recorded).seconds(frame) == 0.5
