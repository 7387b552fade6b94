"""Recordings of any container, timing and cut: each frame at its own time, and losses reported."""

from __future__ import annotations

import http.server
import json
import re
import struct
import threading
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from fcn_edge.calibration.images import images_from_source
from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.streaming import capture
from fcn_edge.streaming.regions import rule_from_text
from fcn_edge.streaming.sinks import SinkOptions, sink_from_uri, sinks_of_sources
from fcn_edge.streaming.sources import source_from_uri, tracks
from fcn_edge.streaming.sources.pacing import PresentationClock
from tests.refusals import refused
from tests.shared_data import SHARED
from tests.streaming.conftest import run_into
from tests.streaming.videos import (
    COLOURS,
    CONTAINERS,
    COUNT,
    STEP_MS,
    TIMINGS,
    cut_at,
    cut_with_edit_list,
    times_by_ffprobe,
    with_hole,
    write_sound,
    write_video,
)

CASES = SHARED / "cases" / "video"
NOISE = [tuple(np.random.default_rng(n).integers(0, 255, 3).tolist()) for n in range(96)]
GREY_TOLERANCE = 4  # of 9 between neighbours; compression moves a grey by less
TOLERANCE_S = 0.0006  # half a tick of the containers that count milliseconds


def _read(path):
    """The frames of a source, and whether it was lost at its end."""
    source = source_from_uri(str(path))
    frames = []
    try:
        frames.extend(source.frames())
    except SourceLost:
        return source, frames, True
    return source, frames, False


def _numbers(frames):
    """Which frames of the generator these are, by their grey."""
    greys = np.array([float(frame.image[: len(frame.image) // 2].mean()) for frame in frames])
    numbers = np.round((greys - 20) / 9).astype(int)
    assert np.abs(greys - 9 * numbers - 20).max() < GREY_TOLERANCE
    return numbers.tolist()


def _times(frames):
    return [frame.presented_s for frame in frames]


def _expected_s(times_ms):
    return [(time - times_ms[0]) / 1000 for time in times_ms]


UNTIMED_ENDS = ("mpg",)  # no time for the last B-frames; they follow a frame's length apart
VARIED = [
    (kind, timing)
    for kind, form in CONTAINERS.items()
    for timing in TIMINGS
    if form.codec != "mpeg2video" or timing == "steady"
    if form.is_free or timing != "irregular"
]


@pytest.mark.parametrize(("kind", "timing"), VARIED)
def test_each_frame_has_its_own_time(tmp_path, kind, timing):
    path = write_video(tmp_path / f"v{CONTAINERS[kind].suffix}", kind, times_ms=TIMINGS[timing])
    source, frames, is_lost = _read(path)
    assert _numbers(frames) == list(range(COUNT)) and not is_lost and not source.skipped and not source.notes
    np.testing.assert_allclose(_times(frames), _expected_s(TIMINGS[timing]), atol=TOLERANCE_S)
    told = np.array(times_by_ffprobe(path))
    assert len(told) == COUNT and (kind in UNTIMED_ENDS or not np.isnan(told).any())
    np.testing.assert_allclose(np.array(_times(frames))[~np.isnan(told)], told[~np.isnan(told)], atol=TOLERANCE_S)


CUT = [
    (kind, share)
    for kind in ("faststart", "fragments", "segments", "mkv", "live mkv", "webm", "avi", "flv", "wmv")
    for share in (0.6, 0.9)
]


@pytest.mark.parametrize(("kind", "share"), CUT)
def test_file_that_was_cut_short_is_lost_after_what_it_has(tmp_path, kind, share):
    form = CONTAINERS[kind]
    whole = write_video(tmp_path / f"v{form.suffix}", kind, times_ms=TIMINGS["pause" if form.is_free else "steady"])
    _, frames, is_lost = _read(cut_at(whole, tmp_path / f"cut{form.suffix}", share))
    assert is_lost and 2 < len(frames) < COUNT
    assert _numbers(frames[:-1]) == list(range(len(frames) - 1))  # the last may be half a picture


@pytest.mark.parametrize("end", ["moof", "mdat"])
def test_fragments_cut_between_or_in_their_boxes_are_lost(tmp_path, end):
    data = write_video(tmp_path / "v.mp4", "fragments").read_bytes()
    for more in (-2, 5) if end == "moof" else (4, 12):  # in its head, and behind it
        (tmp_path / "cut.mp4").write_bytes(data[: data.rindex(end.encode()) + more])
        _, frames, is_lost = _read(tmp_path / "cut.mp4")
        assert is_lost and 8 <= len(frames) < COUNT


def test_index_of_segments_reports_of_those_that_are_not_there(tmp_path):
    data = write_video(tmp_path / "v.mp4", "segments").read_bytes()
    first_segment = data.index(b"moof") - 4
    size = len(data) - first_segment
    index = struct.pack(">IIIIIHHIII", 0, 1, 1000, 0, 0, 0, 1, size, 0, 0)
    whole = data[:first_segment] + struct.pack(">I4s", 8 + len(index), b"sidx") + index + data[first_segment:]
    (tmp_path / "whole.mp4").write_bytes(whole)
    (tmp_path / "cut.mp4").write_bytes(whole[: whole.rindex(b"moof") - 4])  # at the border of two fragments
    assert not _read(tmp_path / "whole.mp4")[2]
    _, frames, is_lost = _read(tmp_path / "cut.mp4")
    assert is_lost and 8 <= len(frames) < COUNT


@pytest.mark.parametrize("kind", ["ts", "mpg"])
def test_nothing_is_claimed_of_streams_that_tell_no_length(tmp_path, kind):
    whole = write_video(tmp_path / f"v{CONTAINERS[kind].suffix}", kind)
    source, frames, is_lost = _read(cut_at(whole, tmp_path / f"cut{CONTAINERS[kind].suffix}", 0.7))
    assert not is_lost and not source.skipped and 2 < len(frames) < COUNT


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "webm", "avi", "ts", "flv"])
def test_hole_in_a_file_is_counted_and_the_rest_comes(tmp_path, kind):
    form = CONTAINERS[kind]
    whole = write_video(tmp_path / f"v{form.suffix}", kind, times_ms=[STEP_MS * i for i in range(96)], colours=NOISE)
    source, frames, is_lost = _read(with_hole(whole, tmp_path / f"hole{form.suffix}"))
    assert not is_lost and 0 < source.skipped_count < 40 and 50 < len(frames) < 96
    assert _times(frames) == sorted(set(_times(frames)))
    if kind != "avi":  # which counts frames in place of time
        assert frames[-1].presented_s == pytest.approx(95 * STEP_MS / 1000, abs=1.5 * STEP_MS / 1000)


def test_fragments_behind_a_hole_are_lost_since_nothing_leads_to_them(tmp_path):
    whole = write_video(tmp_path / "v.mp4", "fragments", times_ms=[STEP_MS * i for i in range(96)], colours=NOISE)
    _, frames, is_lost = _read(with_hole(whole, tmp_path / "hole.mp4"))
    assert is_lost and 20 < len(frames) < 60


@pytest.mark.parametrize("kind", ["mp4", "fragments", "mkv", "webm", "avi", "ts", "flv", "mpg"])
def test_sound_that_is_longer_is_no_loss(tmp_path, kind):
    form = CONTAINERS[kind]
    path = write_video(tmp_path / f"v{form.suffix}", kind, sound_s=2.5)
    source, frames, is_lost = _read(path)
    assert _numbers(frames) == list(range(COUNT)) and not is_lost and not source.skipped
    np.testing.assert_allclose(_times(frames), _expected_s(TIMINGS["steady"]), atol=1.5e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("timing", ["steady", "pause"])
@pytest.mark.parametrize("has_av", [True, False])
def test_frames_that_an_edit_list_hides_are_no_loss(tmp_path, monkeypatch, suffix, timing, has_av):
    whole = write_video(tmp_path / f"v{suffix}", times_ms=TIMINGS[timing])
    path = cut_with_edit_list(whole, tmp_path / f"edit{suffix}", 0.2)
    if not has_av:
        monkeypatch.setattr(tracks, "find_spec", lambda name: None)
    source, frames, is_lost = _read(path)
    assert _numbers(frames) == list(range(5, COUNT)) and not is_lost and not source.skipped
    np.testing.assert_allclose(_times(frames), _expected_s(TIMINGS[timing][5:]), atol=TOLERANCE_S)
    if has_av:
        assert [image.name for image in images_from_source(str(path), COUNT).images][-1] == f"edit{suffix}#18"


@pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not on this machine")
@pytest.mark.parametrize(
    ("name", "count", "last_s"), [("vfr.mp4", 70, 5.8), ("vfr.mkv", 70, 5.8), ("edit.mp4", 52, 2.08)]
)
def test_videos_of_users_are_whole_and_their_frames_stand_where_ffprobe_says(name, count, last_s):
    source, frames, is_lost = _read(CASES / name)
    assert (len(frames), is_lost, source.skipped, source.notes) == (count, False, [], [])
    assert frames[51].presented_s == pytest.approx(2.2 if "vfr" in name else 2.08) and _times(frames)[-1] == last_s
    np.testing.assert_allclose(_times(frames), times_by_ffprobe(CASES / name), atol=TOLERANCE_S)


@pytest.mark.parametrize("has_cover", [False, True])
def test_sound_without_pictures_is_called_that(tmp_path, has_cover):
    with refused(BadInput, "v.mp4", "sound"):
        source_from_uri(str(write_sound(tmp_path / "v.mp4", cover=has_cover)))


@pytest.mark.parametrize(
    ("shape", "turned_by", "size"),
    [
        (Fraction(16, 11), 0, (48, 93)),
        (Fraction(8, 9), 0, (48, 57)),
        (Fraction(2), 90, (128, 48)),
        (Fraction(1), 90, (64, 48)),
    ],
)
@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_pixels_are_square_and_the_output_has_the_aspect_of_the_input(tmp_path, engine, kind, shape, turned_by, size):
    suffix = CONTAINERS[kind].suffix
    path = write_video(tmp_path / f"v{suffix}", kind, pixel_shape=shape, turned_by=turned_by)
    source = source_from_uri(str(path))
    sinks = [sink_from_uri(str(tmp_path / f"out{suffix}"), engine, source=source)]
    summary = run_into(source, engine, sinks, limit=3)
    assert source.size == summary.size == size
    assert bool(summary.notes) == (shape != 1) and all("square" in note for note in summary.notes)
    with av.open(str(tmp_path / f"out{suffix}")) as written:
        stream = written.streams.video[0]
        assert (stream.height, stream.width) == (size[0], size[1] & ~1) and stream.sample_aspect_ratio in (None, 1)
    assert images_from_source(str(path), 1).images[0].read().shape[:2] == size


def test_pixels_of_an_implausible_shape_are_refused(tmp_path):
    with refused(BadInput, "v.mp4", "10:1", "4:1"):
        source_from_uri(str(write_video(tmp_path / "v.mp4", pixel_shape=Fraction(10))))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("timing", ["slower", "pause", "irregular"])
def test_video_sink_shows_each_frame_at_its_time_and_lines_tell_it(tmp_path, engine, timing, suffix):
    source = source_from_uri(str(write_video(tmp_path / "v.mp4", times_ms=TIMINGS[timing])))
    names = [str(tmp_path / f"out{suffix}"), str(tmp_path / "out.jsonl")]
    run_into(source, engine, [sink_from_uri(name, engine, source=source) for name in names])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    expected = _expected_s(TIMINGS[timing])
    np.testing.assert_allclose([line["at_s"] for line in lines], expected, atol=0.001)
    with av.open(names[0]) as written:
        times = [frame.time for frame in written.decode(video=0)]
        np.testing.assert_allclose(times, expected, atol=0.001)
        shortest = min(after - before for before, after in zip(expected, expected[1:]))
        assert (written.duration or 0) / av.time_base == pytest.approx(expected[-1] + shortest, abs=0.005)


def test_pause_of_a_recording_is_kept_however_long(tmp_path, engine):
    source = source_from_uri(str(write_video(tmp_path / "v.mp4", times_ms=[0, 40, 60_040], colours=[(9, 9, 9)] * 3)))
    sink = sink_from_uri(str(tmp_path / "out.mp4"), engine, source=source)
    run_into(source, engine, [sink])
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert [frame.time for frame in written.decode(video=0)] == pytest.approx([0, 0.04, 60.04], abs=0.001)
    assert sink.notes == []


@pytest.mark.parametrize("times", [TIMINGS["slower"], TIMINGS["pause"], [3000 * index for index in range(COUNT)]])
def test_rules_hold_for_seconds_of_the_recording(tmp_path, engine, times):
    red_from = 6
    colours = [(250, 0, 0)] * red_from + [(0, 0, 250)] * (COUNT - red_from)
    source = source_from_uri(str(write_video(tmp_path / "v.mp4", times_ms=times, colours=colours)))
    options = SinkOptions(rules=(rule_from_text("red > 50% for 0.5s", engine.spec, ()),), events=tmp_path / "e.jsonl")
    with ExitStack() as ends:
        run_into(source, engine, sinks_of_sources([], engine, [source], ends, options=options)[0])
    event = json.loads((tmp_path / "e.jsonl").read_text())
    begun = next(time for time in times if time >= times[red_from] + 500)
    assert (event["since_s"], event["at_s"]) == (times[red_from] / 1000, begun / 1000)


def test_recording_taken_newest_is_played_at_its_own_times(tmp_path, engine, monkeypatch):
    due = []
    monkeypatch.setattr(capture.Capture, "_wait_until", lambda self, at: due.append(at))
    source = source_from_uri(str(write_video(tmp_path / "v.mp4", times_ms=TIMINGS["pause"])))
    run_into(source, engine, [], policy="newest")
    np.testing.assert_allclose(np.diff(due), np.diff(_expected_s(TIMINGS["pause"])), atol=TOLERANCE_S)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "flv", "wmv", "mpg"])
@pytest.mark.parametrize("has_av", [True, False])
def test_calibration_takes_each_video_and_reads_the_frames_that_run_reads(tmp_path, monkeypatch, kind, has_av):
    form = CONTAINERS[kind]
    path = write_video(tmp_path / f"v{form.suffix}", kind, times_ms=TIMINGS["slower" if form.is_free else "steady"])
    frames = _read(path)[1]
    if not has_av:
        monkeypatch.setattr(tracks, "find_spec", lambda name: None)
    images = images_from_source(str(path), COUNT).images
    assert [image.name for image in images] == [f"{path.name}#{index}" for index in range(COUNT)]
    for index in (20, 3, 4, 23, 0):  # in any order
        assert np.array_equal(images[index].read(), frames[index].image)


def test_clock_of_a_recording_rises_whatever_its_container_says():
    clock = PresentationClock(25.0)
    positions = [0.24, 0.28, 0.26, 0.32, 90.0, 0.5, 0.54, 0.0, 0.0]  # late, a jump, begun again, then no times
    seconds = [clock.seconds(position) for position in positions]
    assert seconds == pytest.approx([0, 0.04, 0.041, 0.08, 89.76, 89.8, 89.84, 89.88, 89.92])


@pytest.mark.parametrize("second_ms", [0, 3_000_000])
def test_recordings_that_were_appended_to_each_other_follow_without_a_pause(tmp_path, second_ms):
    first, last_s = write_video(tmp_path / "v.ts", "ts", times_ms=TIMINGS["slower"]), TIMINGS["slower"][-1] / 1000
    second = write_video(tmp_path / "w.ts", "ts", times_ms=[second_ms, second_ms + STEP_MS], colours=COLOURS[:2])
    first.write_bytes(first.read_bytes() + second.read_bytes())
    times = _times(_read(first)[1])
    period_s = 1 / source_from_uri(str(first)).fps
    assert times[COUNT - 1 :] == pytest.approx([last_s, last_s + period_s, last_s + period_s + 0.04], abs=0.002)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a range of a file if asked, as most servers do and Python's does not."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        data = Path(self.translate_path(self.path)).read_bytes()
        start, end = (int(wanted[1]), int(wanted[2] or len(data) - 1)) if wanted else (0, len(data) - 1)
        part = data[start : end + 1]
        self.send_response(206 if wanted else 200)
        self.send_header("content-length", str(len(part)))
        self.send_header("content-type", "video/mp4")
        self.send_header("accept-ranges", "bytes")
        if wanted:
            self.send_header("content-range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
        self.end_headers()
        with suppress(OSError):  # FFmpeg hangs up in the middle
            self.wfile.write(part)


class _Plain(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def _served(folder, handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("handler", [_Ranges, _Plain])
def test_files_on_a_server_end_as_files_here_do(tmp_path, handler):
    whole = write_video(tmp_path / "whole.mp4", "faststart")
    cut_at(whole, tmp_path / "cut.mp4", 0.8)
    cut_with_edit_list(whole, tmp_path / "edit.mp4", 0.2)
    with _served(tmp_path, handler) as server:
        _, frames, is_lost = _read(f"{server}/whole.mp4")
        assert _numbers(frames) == list(range(COUNT)) and not is_lost
        _, frames, is_lost = _read(f"{server}/cut.mp4")
        assert is_lost and 2 < len(frames) < COUNT
        if handler is _Ranges:  # its index is behind the frames
            _, frames, is_lost = _read(f"{server}/edit.mp4")
            assert _numbers(frames) == list(range(5, COUNT)) and not is_lost
