"""The loop: what goes in comes out, what is dropped is counted, errors surface, files stay whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.frame import Frame, Style
from fcn_edge.schema import to_mapping
from fcn_edge.streaming import stream
from fcn_edge.streaming.capture import DEPTH
from fcn_edge.streaming.sinks import sink_from_uri
from fcn_edge.streaming.sinks.base import Null, Sink
from fcn_edge.streaming.sources import source_from_uri
from fcn_edge.streaming.window import quantiles_ms
from tests.refusals import refused
from tests.shared_data import SHARED
from tests.streaming.conftest import SIZE, AfterEach, ColourEngine, Drawn, expected_class_map, picture, run_into

REAL_VIDEO = SHARED / "video" / "solidWhiteRight.mp4"


class Collect(Sink):
    def __init__(self, uri: str = "collect:") -> None:
        super().__init__(uri)
        self.indices: list[int] = []
        self.closed = 0

    def write(self, result):
        self.indices.append(result.frame.index)

    def close(self):
        self.closed += 1


def _played(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


@pytest.mark.slow
@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason=f"{REAL_VIDEO} is not on this machine")
def test_real_video_221_frames_in_221_out(tmp_path, engine):
    source = source_from_uri(str(REAL_VIDEO))
    sink = sink_from_uri(str(tmp_path / "out.mp4"), engine, source=source)
    summary = run_into(source, engine, [sink])
    assert (summary.frames_in, summary.frames_out, summary.dropped, summary.lost) == (221, 221, 0, "")
    assert _played(tmp_path / "out.mp4") == 221
    assert summary.size == (540, 960) and "221 frames, 960x540" in summary.outputs[0]


def test_segment_gives_the_class_map_and_times_of_each_step(engine):
    result = engine.segment(Frame(picture(2), 0, 0, "x", capture_ns=9), Style())
    assert np.array_equal(result.class_map, expected_class_map(2))
    assert result.overlay is not None and result.overlay.shape == (48, 64, 3)
    times = result.times
    assert min(times.input_ns, times.infer_ns, times.view_ns) > 0
    assert times.age_ns > times.input_ns + times.infer_ns + times.view_ns and times.capture_ns == 9


def test_stream_yields_frames_in_order_without_overlay_if_not_wanted(engine):
    shown = list(stream(engine, source=Drawn(5), style=Style(overlay=False)))
    assert [result.frame.index for result in shown] == [0, 1, 2, 3, 4]
    assert all(result.overlay is None and result.times.capture_ns > 0 for result in shown)


class Overlapping(ColourEngine):
    """Takes three frames at once and notes how many it had."""

    in_flight = 3

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def _begin_input(self, x, place):
        self.most = max(self.most, len(self._started) + 1)
        return super()._begin_input(x, place)


def test_recording_keeps_as_many_frames_in_flight_as_the_engine_takes():
    engine = Overlapping()
    for index, result in enumerate(stream(engine, source=Drawn(7))):
        assert result.frame.index == index
        np.testing.assert_array_equal(result.class_map, expected_class_map(index))
    assert index == 6 and engine.most == 3


def test_newest_frame_waits_behind_no_other():
    engine = Overlapping()
    assert [result.frame.index for result in stream(engine, source=Drawn(3), policy="newest")][-1] == 2
    assert engine.most == 1


def test_frames_in_flight_come_out_before_the_loss_of_the_source_is_reported():
    class Lost(Drawn):
        def frames(self):
            yield from super().frames()
            raise SourceLost("gone")

    shown, engine = [], Overlapping()
    with pytest.raises(SourceLost, match="gone"):
        shown.extend(result.frame.index for result in stream(engine, source=Lost(5)))
    assert shown == [0, 1, 2, 3, 4]


def test_stream_left_early_leaves_no_frame_in_flight():
    engine = Overlapping()
    for _ in stream(engine, source=Drawn(5)):
        break
    engine.infer(np.zeros((1, *SIZE, 3), np.uint8))


def test_stream_carries_labels(engine):
    source = source_from_uri("synthetic:street,images=2,size=32x48")
    assert all(result.frame.labels is not None for result in stream(engine, source=source))


def test_stream_left_early_stops_the_capture(engine):
    source = Drawn(1000)
    for _ in stream(engine, source=source):
        break
    assert source.given <= 2 + DEPTH
    assert not [thread for thread in threading.enumerate() if thread.name == "capture" and thread.is_alive()]


def test_every_never_drops_and_never_reads_far_ahead(engine):
    source, ahead = Drawn(50), []

    class Slow(Collect):
        def write(self, result):
            super().write(result)
            ahead.append(source.given - len(self.indices))

    sink = Slow()
    summary = run_into(source, engine, [sink], policy="every")
    assert sink.indices == list(range(50))
    assert (summary.frames_in, summary.frames_out, summary.dropped) == (50, 50, 0)
    assert max(ahead) <= 2 * DEPTH + 3


def test_newest_drops_and_counts_while_the_engine_is_slow():
    exhausted = threading.Event()

    class Fast(Drawn):
        def frames(self):
            yield from super().frames()
            exhausted.set()

    class Slow(ColourEngine):
        def _run(self, x, place):
            assert exhausted.wait(10)
            return super()._run(x, place)

    sink = Collect()
    summary = run_into(Fast(20), Slow(), [sink], policy="newest")
    assert sink.indices[-1] == 19
    assert summary.frames_in == 20 == summary.frames_out + summary.dropped
    assert summary.dropped >= 18


def test_live_sources_take_the_newest_by_default(engine):
    source = Drawn(3)
    source.is_live = True
    assert run_into(source, engine, []).policy == "newest"
    assert run_into(Drawn(3), engine, []).policy == "every"


def test_recording_taken_newest_is_played_at_its_own_speed(engine, monkeypatch):
    due = []
    from fcn_edge.streaming import capture

    monkeypatch.setattr(capture.Capture, "_wait_until", lambda self, at: due.append(at))
    source = Drawn(4)
    source.fps = 50.0
    run_into(source, engine, [], policy="newest")
    assert np.allclose(np.diff(due), 0.02)


def test_limit_reads_no_more_than_asked(engine):
    source = Drawn(50)
    summary = run_into(source, engine, [], limit=7)
    assert (summary.frames_in, summary.frames_out, source.given) == (7, 7, 7)
    with refused(BadInput, "limit", 0, 1):
        run_into(source, engine, [], limit=0)


def test_repeated_pictures_are_counted(engine):
    class Stuck(Drawn):
        def frames(self):
            for frame in super().frames():
                yield Frame(picture(frame.index // 2), frame.index, frame.captured_ns, frame.source)

    assert run_into(Stuck(6), engine, []).duplicated == 3
    assert run_into(Drawn(6), engine, []).duplicated == 0


def test_picture_of_one_pixel_has_a_class(tmp_path, engine):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((1, 1, 3), (0, 250, 0), np.uint8))
    (result,) = stream(engine, source=source_from_uri(str(tmp_path / "a.png")))
    assert result.class_map.shape == (1, 1) and result.class_map[0, 0] == 1


def test_broken_images_are_in_the_summary(tmp_path, engine, write_images):
    paths = write_images(tmp_path / "a", 4)
    paths[2].write_bytes(b"junk")
    summary = run_into(source_from_uri(str(tmp_path / "a")), engine, [])
    assert summary.frames_out == 3 and "image02.png" in summary.skipped[0]


def test_lost_source_finishes_the_files_and_is_reported(tmp_path, engine, write_video):
    data = write_video(tmp_path / "v.avi", 40).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    source = source_from_uri(str(tmp_path / "cut.avi"))
    sink = sink_from_uri(str(tmp_path / "out.mp4"), engine, source=source)
    summary = run_into(source, engine, [sink])
    assert "40 frames expected" in summary.lost
    assert _played(tmp_path / "out.mp4") == summary.frames_out > 5


def test_source_lost_before_its_first_frame_is_raised(engine):
    class Gone(Drawn):
        def frames(self):
            raise SourceLost("gone")
            yield

    with pytest.raises(SourceLost, match="gone"):
        run_into(Gone(1), engine, [])


def test_error_in_source_surfaces_after_the_frames_before_it(engine):
    class Bad(Drawn):
        def frames(self):
            yield from super().frames()
            raise ValueError("driver")

    sink = Collect()
    with pytest.raises(ValueError, match="driver"):
        run_into(Bad(3), engine, [sink])
    assert sink.indices == [0, 1, 2] and sink.closed == 1


def test_error_in_engine_surfaces_and_keeps_the_video_so_far(tmp_path):
    class Breaks(ColourEngine):
        def _run(self, x, place):
            if x[0, -1, 0, 1] == 5:
                raise BadInput("frame 5")
            return super()._run(x, place)

    engine, source = Breaks(), Drawn(9)
    sink = sink_from_uri(str(tmp_path / "out.mp4"), engine, source=source)
    with pytest.raises(BadInput, match="frame 5"):
        run_into(source, engine, [sink])
    assert _played(tmp_path / "out.mp4") == 5


@pytest.mark.parametrize("in_caller", [False, True])
def test_error_in_sink_surfaces_and_the_others_are_closed(engine, in_caller):
    class Breaks(Collect):
        needs_caller_thread = in_caller

        def write(self, result):
            super().write(result)
            if result.frame.index == 2:
                raise RuntimeError("sink")

    good, bad = Collect("good:"), Breaks("bad:")
    with pytest.raises(RuntimeError, match="sink"):
        run_into(Drawn(100), engine, [good, bad])
    assert good.closed == bad.closed == 1 and bad.indices == [0, 1, 2]


def test_error_in_the_last_frame_of_a_sink_surfaces(engine):
    class Breaks(Collect):
        def write(self, result):
            raise RuntimeError("sink")

    with pytest.raises(RuntimeError, match="sink"):
        run_into(Drawn(1), engine, [Breaks()])


def test_interrupt_closes_the_sinks_and_gives_a_summary(tmp_path, engine):
    source = Drawn(1000)
    sink = sink_from_uri(str(tmp_path / "out.mp4"), engine, source=source)

    def interrupt(index):
        if index == 5:
            raise KeyboardInterrupt

    summary = run_into(source, engine, [sink], progress=AfterEach(interrupt))
    assert summary.interrupted and summary.frames_out == 6
    assert _played(tmp_path / "out.mp4") == 6


def test_sink_may_end_the_run(engine):
    class Window(Collect):
        needs_caller_thread = True

        def write(self, result):
            super().write(result)
            self.is_done = result.frame.index == 2

    sink = Window()
    assert run_into(Drawn(100), engine, [sink]).frames_out == 3
    assert sink.indices == [0, 1, 2]


def test_same_sink_twice_is_refused(engine):
    with refused(BadInput, "null:", "sink"):
        run_into(Drawn(1), engine, [Null("null:"), Null("null:")])


def test_summary_is_json_with_the_documented_keys(engine):
    text = json.dumps(to_mapping(run_into(Drawn(4), engine, [Null("null:")])), allow_nan=False)
    keys = (
        "frames_in frames_out dropped duplicated reconnects fps stages_ms frame_age_ms end_to_end_ms peak_rss_mb"
        " target precision execution skipped source seconds size first_frame_ms interrupted lost"
    )
    assert set(keys.split()) <= set(json.loads(text))
    assert list(json.loads(text)["stages_ms"]) == ["capture", "input", "infer", "view", "sink"]
    assert set(json.loads(text)["end_to_end_ms"]) == {"p50", "p99"}


def test_summary_of_no_frames_has_null_percentiles(engine):
    summary = run_into(Drawn(0), engine, [])
    assert summary.frames_out == 0 and summary.fps == 0 and summary.frame_age_ms.p50 is None


def test_percentiles_are_measured_values():
    quantiles = quantiles_ms([n * 1_000_000 for n in range(1, 101)])
    assert (quantiles.p50, quantiles.p99) == (50.0, 99.0)
    assert quantiles_ms([5_000_000]).p99 == 5.0
