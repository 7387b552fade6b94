"""Sinks: whole files under their final names or none, and masks that are labels."""

from __future__ import annotations

import os
from collections import namedtuple

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.data.base import labels_from_file
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Frame
from fcn_edge.streaming.sinks import display, sink_from_uri, video
from fcn_edge.streaming.sinks.masks import png_from_class_map
from fcn_edge.streaming.sources import source_from_uri
from tests.refusals import assert_names, refused
from tests.streaming.conftest import Drawn, expected_class_map, picture, run_into


def _write(sink, engine, indices, size=(48, 64), source="drawn"):
    for index in indices:
        frame = Frame(picture(index, size), index, index * 40_000_000, source)
        sink.write(engine.segment(frame))


def _frames(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


@pytest.mark.parametrize("uri", ["out.gif", "out.avi", "newfolder", "", "ftp://u:secret@x/", "display://x"])
def test_unknown_sink_lists_the_known_ones(uri, engine):
    with refused(BadInput, "sink", "display://0", "FILE.mp4", "null:") as error:
        sink_from_uri(uri, engine, source=Drawn(1))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv"])
def test_video_appears_only_when_closed(tmp_path, engine, name):
    sink = sink_from_uri(str(tmp_path / "new" / name), engine, source=Drawn(9))
    _write(sink, engine, range(9))
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name.replace(".", ".recording.")]
    sink.close()
    sink.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    frames = _frames(tmp_path / "new" / name)
    assert len(frames) == 9 and frames[0].shape == (48, 64, 3)


def test_older_video_stays_until_the_new_one_is_whole(tmp_path, engine):
    older = b"a video written by fcn-edge"
    (tmp_path / "o.mp4").write_bytes(older)
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    _write(sink, engine, [0])
    assert (tmp_path / "o.mp4").read_bytes() == older
    sink.close()
    assert len(_frames(tmp_path / "o.mp4")) == 1 and len(list(tmp_path.iterdir())) == 1


def test_failing_sink_leaves_what_plays_up_to_there(tmp_path, engine, monkeypatch):
    class Breaks(video.Painter):
        def picture(self, result):
            if result.frame.index == 3:
                raise RuntimeError("drawing")
            return super().picture(result)

    monkeypatch.setattr("fcn_edge.streaming.sinks.Painter", Breaks)
    source = Drawn(9)
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    with pytest.raises(RuntimeError, match="drawing"):
        run_into(source, engine, [sink])
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"] and len(_frames(tmp_path / "o.mp4")) == 3


def test_video_without_frames_is_not_made(tmp_path, engine):
    sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1)).close()
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_other_sizes_are_fitted_with_a_note(tmp_path, engine):
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    _write(sink, engine, [0], (49, 65))
    _write(sink, engine, [1, 2], (100, 90))
    sink.close()
    assert [frame.shape for frame in _frames(tmp_path / "o.mp4")] == [(48, 64, 3)] * 3
    (note,) = sink.notes
    assert_names(note, "o.mp4", "64x48")


def test_stream_that_changes_its_size_goes_on_in_a_new_file_and_is_reported(tmp_path, engine):
    source = Drawn(1)
    source.is_live = True
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    _write(sink, engine, range(5))
    _write(sink, engine, range(5, 8), (100, 90))
    _write(sink, engine, range(8, 10))
    sink.close()
    names = ["o.2.mp4", "o.3.mp4", "o.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [len(_frames(tmp_path / name)) for name in names] == [3, 2, 5]
    assert _frames(tmp_path / "o.2.mp4")[0].shape == (100, 90, 3)
    larger, again = sink.notes
    assert_names(larger, "o.mp4", "90x100", "o.2.mp4")
    assert_names(again, "o.mp4", "64x48", "o.3.mp4")
    assert_names(sink.describe(), "o.2.mp4", "3 frames", "90x100")


def test_recording_of_a_killed_run_is_kept_and_one_under_way_is_not_written_over(tmp_path, engine):
    first = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    _write(first, engine, range(3))
    with refused(BadInput, "o.recording.mp4", "run"):
        sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    first.close()
    for _ in range(2):
        (tmp_path / "o.mp4").rename(tmp_path / "o.recording.mp4")
        second = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
        _write(second, engine, range(3))
        second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.killed-1.mp4", "o.killed-2.mp4", "o.mp4"]
    (note,) = second.notes
    assert_names(note, "o.mp4", "o.killed-2.mp4")


def test_recording_of_a_killed_run_may_be_the_source(tmp_path, engine, write_video):
    left = write_video(tmp_path / "o.recording.mp4", 2)
    with refused(BadInput, "o.recording.mp4", "read"):
        sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source_from_uri(str(left)))
    assert left.is_file()


def test_part_of_a_stream_replaces_no_file_of_the_users(tmp_path, engine):
    (tmp_path / "o.2.mp4").write_bytes(b"the user's own")
    source = Drawn(1)
    source.is_live = True
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    _write(sink, engine, range(2))
    _write(sink, engine, range(2, 4), (100, 90))
    _write(sink, engine, range(4, 6))
    sink.close()
    assert (tmp_path / "o.2.mp4").read_bytes() == b"the user's own"
    assert [len(_frames(tmp_path / name)) for name in ("o.mp4", "o.3.mp4", "o.4.mp4")] == [2, 2, 2]


def _moments_ms(path):
    capture, moments = cv2.VideoCapture(str(path)), []
    while capture.read()[0]:
        moments.append(round(capture.get(cv2.CAP_PROP_POS_MSEC)))
    return moments


def test_dropped_frames_leave_the_video_at_its_speed(tmp_path, engine):
    source = Drawn(1)
    source.fps = 25.0
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    _write(sink, engine, [0, 1, 5])
    sink.close()
    assert _moments_ms(tmp_path / "o.mp4") == [0, 40, 200]


def test_live_stream_keeps_the_time_of_the_world_and_long_gaps_are_cut(tmp_path, engine):
    source = Drawn(1)
    source.is_live = True
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    _write(sink, engine, [100, 101, 100_000])  # captured 40 ms an index
    sink.close()
    assert _moments_ms(tmp_path / "o.mp4") == [0, 40, 10_040]
    (note,) = sink.notes
    assert_names(note, "o.mp4", "3986 s")


def test_source_is_never_written_over(tmp_path, engine, write_video, write_images):
    path = write_video(tmp_path / "v.mp4", 2)
    with refused(BadInput, "v.mp4", "read"):
        sink_from_uri(str(path), engine, source=source_from_uri(str(path)))
    write_images(tmp_path / "a", 2)
    with refused(BadInput, tmp_path / "a", "source"):
        sink_from_uri(str(tmp_path / "a"), engine, source=source_from_uri(str(tmp_path / "a" / "*.png")))


@pytest.mark.parametrize("name", ["o.mp4", "masks/"])
def test_folder_that_cannot_be_written_is_reported_before_the_first_frame(tmp_path, engine, name):
    (tmp_path / "file").touch()
    for folder in ("/proc/nothing", tmp_path / "file"):  # also root may not write there
        with refused(BadInput, folder, "writable"):
            sink_from_uri(f"{folder}/{name}", engine, source=Drawn(1))


def test_missing_encoder_is_named(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(video, "CODECS", ("zzzz", "yyyy"))
    with refused(BackendMissing, "PyAV", "zzzz, yyyy"):
        sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    assert list(tmp_path.iterdir()) == []


def test_nearly_full_disk_ends_with_a_video_that_plays(tmp_path, engine, monkeypatch):
    usage = namedtuple("usage", "total used free")
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=Drawn(1))
    _write(sink, engine, range(4))
    monkeypatch.setattr(video.shutil, "disk_usage", lambda _: usage(1, 1, 0))
    with refused(BadInput, "o.mp4", "disk"):
        _write(sink, engine, [4])
    sink.discard()
    assert len(_frames(tmp_path / "o.mp4")) == 4


def test_full_disk_leaves_a_video_that_plays_up_to_its_last_second(tmp_path, engine, largest_file):
    source = Drawn(1)
    source.fps = 25.0
    sink = sink_from_uri(str(tmp_path / "o.mp4"), engine, source=source)
    noise = np.random.default_rng(0).integers(0, 255, (200, 48, 64, 3), np.uint8)
    shown = [Frame(image, index, 0, "drawn") for index, image in enumerate(noise)]
    results = [engine.segment(frame) for frame in shown]
    with largest_file(150_000), refused(BadInput, "o.mp4", "disk"):
        [sink.write(result) for result in results]
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]
    assert len(_frames(tmp_path / "o.mp4")) >= sink.count - source.fps > 0  # a second


def test_mask_that_could_not_be_written_leaves_nothing(tmp_path, engine, largest_file):
    sink = sink_from_uri(f"{tmp_path}/m/", engine, source=Drawn(1))
    frame = Frame(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8), 0, 0, "drawn")
    with largest_file(600):
        with refused(BadInput, tmp_path / "m", "written"):
            sink.write(engine.segment(frame))
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_masks_of_images_carry_their_names_and_class_indices(tmp_path, engine, write_images):
    write_images(tmp_path / "a", 3)
    source = source_from_uri(str(tmp_path / "a"))
    summary = run_into(source, engine, [sink_from_uri(f"{tmp_path}/masks/", engine, source=source)])
    for index in range(3):
        labels = labels_from_file(tmp_path / f"masks/image{index:02d}.png")
        assert np.array_equal(labels, expected_class_map(index))
    assert summary.outputs == (f"{tmp_path}/masks/: 3 class maps",)


def test_masks_of_a_video_are_numbered(tmp_path, engine):
    sink = sink_from_uri(f"{tmp_path}/masks/", engine, source=Drawn(2))
    _write(sink, engine, [0, 7])
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["000000.png", "000007.png"]


def test_masks_of_two_images_of_one_name_are_both_kept(tmp_path, engine):
    sink = sink_from_uri(f"{tmp_path}/masks/", engine, source=Drawn(2))
    _write(sink, engine, [0], source="a/x.png")
    _write(sink, engine, [1], source="b/x.png")
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["x.png", "x_000001.png"]


def test_mask_has_the_palette_for_people(tmp_path):
    (tmp_path / "a.png").write_bytes(
        png_from_class_map(np.array([[0, 1, 2]], np.uint8), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    )
    assert cv2.imread(str(tmp_path / "a.png"))[0, :, ::-1].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_class_map_survives_the_png(tmp_path_factory, height, width, seed):
    class_map = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    path = tmp_path_factory.getbasetemp() / f"mask{os.getpid()}.png"
    path.write_bytes(png_from_class_map(class_map, ((9, 9, 9),)))
    assert np.array_equal(labels_from_file(path), class_map)


def test_display_without_a_screen_is_refused_clearly(engine, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with refused(BackendMissing, "DISPLAY", "out.mp4"):
        sink_from_uri("display://0", engine, source=Drawn(1))


def test_display_that_does_not_answer_does_not_abort_the_process(engine, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with refused(BackendMissing, "OpenCV", "window", "DISPLAY"):
        sink_from_uri("display://0", engine, source=Drawn(1))


@pytest.mark.parametrize("key", [ord("q"), 27])
def test_q_or_escape_in_the_window_ends_the_run(engine, monkeypatch, key):
    keys = iter([-1, -1, key])
    monkeypatch.setattr(display, "require_display", lambda: None)
    monkeypatch.setattr(display.cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(display.cv2, "waitKey", lambda _: next(keys))
    monkeypatch.setattr(display.cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(display.cv2, "destroyWindow", lambda _: None)
    source = Drawn(50)
    assert run_into(source, engine, [sink_from_uri("display://0", engine, source=source)]).frames_out == 3
