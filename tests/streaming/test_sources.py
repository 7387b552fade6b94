"""Sources: every address opens its source or fails with the reason in one sentence."""

from __future__ import annotations

import json
import struct

import cv2
import numpy as np
import pytest

from fcn_edge.data.pictures import MAX_SIDE, TURNED, picture_from_bytes
from fcn_edge.errors import BackendMissing, BadInput, FcnEdgeError, SourceLost
from fcn_edge.streaming.sources import cameras, recordings_of, source_from_uri
from tests.labelfiles import GREY, RGB, png_from_samples
from tests.refusals import assert_names, refused
from tests.shared_data import SHARED

REAL_VIDEO = SHARED / "video" / "solidWhiteRight.mp4"


def _with_index_first(mp4: bytes) -> bytes:
    """The same MP4 with `moov` before `mdat`, as cameras that stream write it."""
    boxes, at = [], 0
    while at < len(mp4):
        size, kind = struct.unpack(">I4s", mp4[at : at + 8])
        boxes.append((kind, mp4[at : at + size]))
        at += size
    moov = bytearray(next(box for kind, box in boxes if kind == b"moov"))
    table = moov.find(b"stco") + 8
    (count,) = struct.unpack(">I", moov[table : table + 4])
    for entry in range(table + 4, table + 4 + 4 * count, 4):
        (offset,) = struct.unpack(">I", moov[entry : entry + 4])
        moov[entry : entry + 4] = struct.pack(">I", offset + len(moov))
    head = [box for kind, box in boxes if kind == b"ftyp"]
    return b"".join([*head, bytes(moov), *(box for kind, box in boxes if kind not in (b"ftyp", b"moov"))])


def _frames_until_lost(source):
    came = []
    with pytest.raises(SourceLost) as error:
        came.extend(source.frames())
    return came, str(error.value)


@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason=f"{REAL_VIDEO} is not on this machine")
def test_real_video_reports_size_speed_and_length():
    source = source_from_uri(str(REAL_VIDEO))
    assert (source.size, source.fps, source.length, source.is_live) == ((540, 960), 25.0, 221, False)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_gives_all_frames_twice(tmp_path, write_video, suffix):
    source = source_from_uri(str(write_video(tmp_path / f"v{suffix}", 12)))
    for _ in range(2):
        frames = list(source.frames())
        assert [frame.index for frame in frames] == list(range(12))
        assert frames[0].image.shape == (120, 160, 3) and frames[0].image.dtype == np.uint8
    assert not source.notes


def test_timestamps_rise(tmp_path, write_video):
    stamps = [frame.captured_ns for frame in source_from_uri(str(write_video(tmp_path / "v.mp4", 5))).frames()]
    assert stamps == sorted(stamps) and len(set(stamps)) == 5


def test_truncated_mp4_gives_what_it_has_and_then_is_lost(tmp_path, write_video):
    whole = _with_index_first(write_video(tmp_path / "v.mp4").read_bytes())
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    source = source_from_uri(str(tmp_path / "cut.mp4"))
    came, message = _frames_until_lost(source)
    assert 5 < len(came) < 35  # the encoder spends more on its first frames
    assert_names(message, 40, len(came))


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_other_truncated_containers_are_lost_too(tmp_path, write_video, suffix):
    data = write_video(tmp_path / f"v{suffix}", 60).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    came, _ = _frames_until_lost(source_from_uri(str(tmp_path / f"cut{suffix}")))
    assert 5 < len(came) < 55


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_video_with_a_broken_middle_goes_on_behind_it_and_counts(tmp_path, write_video, suffix):
    whole = write_video(tmp_path / f"v{suffix}", 80)
    data, middle = bytearray(whole.read_bytes()), whole.stat().st_size // 2
    data[middle : middle + len(data) // 12] = bytes(len(data) // 12)
    (tmp_path / f"broken{suffix}").write_bytes(data)
    source = source_from_uri(str(tmp_path / f"broken{suffix}"))
    came = list(source.frames())
    assert source.skipped_count == 80 - len(came) > 1
    assert_names(source.skipped[0], f"{source.skipped_count} of 80 frames")
    last = list(source_from_uri(str(whole)).frames())[-1]
    assert np.array_equal(came[-1].image, last.image)
    assert [frame.index for frame in came] == sorted({frame.index for frame in came})


def test_mp4_without_its_index_is_reported(tmp_path, write_video):
    data = write_video(tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with refused(BadInput, "cut.mp4", "MP4", "index"):
        source_from_uri(str(tmp_path / "cut.mp4"))


def test_text_file_named_mp4_is_refused(tmp_path, capfd):
    (tmp_path / "a.mp4").write_text("not a film\n" * 100)
    with refused(BadInput, "a.mp4", "video"):
        source_from_uri(str(tmp_path / "a.mp4"))
    assert capfd.readouterr().err == ""


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.mp4").touch()
    with refused(BadInput, "a.mp4", "empty"):
        source_from_uri(str(tmp_path / "a.mp4"))


def test_text_file_is_no_video_of_letters(tmp_path):
    (tmp_path / "notes.txt").write_text("hello\n" * 1000)
    with refused(BadInput, "notes.txt", ".mp4", ".png"):
        source_from_uri(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    ("uri", "facts"),
    [
        ("nowhere.mp4", ("nowhere.mp4",)),
        ("", ("source", "empty")),
        ("rstp://camera/1", ("rstp", "rtsp")),
        ("camvd:/data#val", ("camvd", "camvid")),
        ("nothing/*.png", ("nothing/*.png", "image")),
        ("v4l2:///dev/video987", ("v4l2:///dev/video987", "camera")),
        ("987", ("/dev/video987", "camera")),
        ("synthetic:forest", ("synthetic:street",)),
        ("0?sice=640x480", ("sice", "size")),
        ("v4l2:///dev/video0?size=640", ("size=WIDTHxHEIGHT",)),
        ("v4l2:///dev/video0?format=H264", ("H264", "MJPG, YUYV")),
        ("csi://0?format=MJPG", ("csi://0", "format")),
        ("rtsp:///live", ("rtsp:///live", "host")),
    ],
)
def test_wrong_address_is_reported_in_one_sentence(uri, facts):
    with refused(BadInput, *facts):
        source_from_uri(uri)


def test_gstreamer_sources_name_what_is_missing(monkeypatch):
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: False)
    for uri in ("csi://0", "gst:videotestsrc ! appsink"):
        with refused(BackendMissing, uri, "GStreamer"):
            source_from_uri(uri)


def test_pipeline_without_appsink_is_completed_in_the_message(monkeypatch):
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
    with refused(BadInput, "gst:videotestsrc", "! videoconvert ! video/x-raw,format=BGR ! appsink"):
        source_from_uri("gst:videotestsrc")


def test_unreachable_stream_hides_credentials_and_stays_quiet(capfd):
    with pytest.raises(SourceLost, match=r"rtsp://\*\*\*@127.0.0.1:9/live") as error:
        source_from_uri("rtsp://admin:hunter2@127.0.0.1:9/live")
    assert "hunter2" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_folder_of_images_of_any_size(tmp_path, write_images):
    write_images(tmp_path / "a", 2)
    cv2.imwrite(str(tmp_path / "a/larger.jpg"), np.zeros((90, 70, 3), np.uint8))
    source = source_from_uri(str(tmp_path / "a"))
    assert [frame.image.shape[:2] for frame in source.frames()] == [(48, 64), (48, 64), (90, 70)]
    assert source.length == 3


def test_folder_or_pattern_of_videos_is_each_of_them_and_all_else_itself(tmp_path):
    archive = tmp_path / "drives [2024]"
    archive.mkdir()
    for name in ("b.mp4", "a.MKV", "notes.txt", ".hidden.mp4"):
        (archive / name).touch()
    videos = [str(archive / "a.MKV"), str(archive / "b.mp4")]
    assert recordings_of(f"{archive}/") == videos
    assert recordings_of(f"{tmp_path}/*/*") == videos and recordings_of(f"{tmp_path}/**/b.*") == videos[1:]
    for uri in (videos[1], f"{tmp_path}/*.png", str(tmp_path), "0", "synthetic:street,seed=1", "rtsp://host/a.mp4?udp"):
        assert recordings_of(uri) == [uri]


def test_glob_and_file_uri_and_single_image(tmp_path, write_images):
    paths = write_images(tmp_path / "with space", 3)
    assert len(list(source_from_uri(str(tmp_path / "*" / "*1.png")).frames())) == 1
    escaped = str(paths[0]).replace(" ", "%20")
    assert next(source_from_uri(f"file://{escaped}").frames()).source == str(paths[0])
    assert source_from_uri(str(paths[0])).length == 1


def test_broken_image_is_named_and_the_rest_goes_on(tmp_path, write_images, capfd):
    paths = write_images(tmp_path / "a", 5, (200, 200), ".jpg")
    paths[1].write_bytes(paths[1].read_bytes()[:700])
    paths[2].write_bytes(b"not a picture")
    paths[3].touch()
    paths[3].write_bytes(b"")
    source = source_from_uri(str(tmp_path / "a"))
    assert [frame.index for frame in source.frames()] == [0, 4]
    assert [line.split(": ")[0] for line in source.skipped] == [str(path) for path in paths[1:4]]
    assert "cut off" in source.skipped[0] and "empty" in source.skipped[2]
    assert capfd.readouterr().err == ""


def test_cut_png_is_skipped_without_noise(tmp_path, write_images, capfd):
    paths = write_images(tmp_path / "a", 2)
    paths[0].write_bytes(paths[0].read_bytes()[:-30])
    source = source_from_uri(str(tmp_path / "a"))
    assert [frame.index for frame in source.frames()] == [1]
    assert "cut off" in source.skipped[0]
    assert capfd.readouterr().err == ""


def test_all_images_broken_is_bad_input(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"junk")
    with refused(BadInput, "2 images", "a.png"):
        list(source_from_uri(str(tmp_path)).frames())


def test_folder_without_images_points_to_the_folder_inside(tmp_path, write_images):
    write_images(tmp_path / "val" / "images", 1)
    with refused(BadInput, "val", "val/images"):
        source_from_uri(str(tmp_path / "val"))
    with refused(BadInput, tmp_path, ".png"):
        source_from_uri(str(tmp_path))


def test_grey_and_deep_images_become_bgr_with_a_note(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8), 257 * 100, np.uint16))
    cv2.imwrite(str(tmp_path / "b.png"), np.full((8, 8), 70, np.uint8))
    cv2.imwrite(str(tmp_path / "c.png"), np.full((8, 8), 71, np.uint8))
    source = source_from_uri(str(tmp_path))
    images = [frame.image for frame in source.frames()]
    assert [int(image[0, 0, 0]) for image in images] == [100, 70, 71]
    assert all(image.shape == (8, 8, 3) and image.dtype == np.uint8 for image in images)
    deep, grey = source.notes
    assert_names(deep, "a.png", "16 bits", 8, "grey", "BGR")
    assert_names(grey, "b.png and 1 more", "grey", "BGR")


def test_pictures_are_turned_upright_and_hidden_ones_passed_over_with_a_note(tmp_path):
    for name, orientation in (("a", 6), ("b", None)):
        data = png_from_samples(np.zeros((4, 6, 3), int), 8, RGB, orientation)
        (tmp_path / f"{name}.png").write_bytes(data)
    (tmp_path / "._a.png").write_bytes(b"of another system")
    source = source_from_uri(str(tmp_path))
    for _ in range(2):
        assert [frame.image.shape[:2] for frame in source.frames()] == [(6, 4), (4, 6)]
        hidden, turned = source.notes
        assert_names(hidden, "._a.png", "hidden")
        assert_names(turned, "a.png", TURNED)
    assert source.skipped == []


def test_12_bit_pictures_are_skipped_with_their_largest_value(tmp_path, write_images):
    write_images(tmp_path, 1)
    cv2.imwrite(str(tmp_path / "raw.png"), np.full((8, 8), 4095, np.uint16))
    source = source_from_uri(str(tmp_path))
    assert len(list(source.frames())) == 1
    assert len(source.skipped) == 1 and "raw.png: 16 bits" in source.skipped[0] and "4095" in source.skipped[0]


def test_notes_of_a_data_set_are_those_of_its_source(tmp_path):
    for part, samples, kind in (("images", np.zeros((4, 6, 3), int), RGB), ("labels", np.zeros((4, 6), int), GREY)):
        (tmp_path / part).mkdir()
        orientation = 6 if part == "images" else None
        (tmp_path / part / "a.png").write_bytes(png_from_samples(samples, 8, kind, orientation))
    (tmp_path / "classes.json").write_text('{"names": ["a", "b", "c"]}')
    source = source_from_uri(f"folder:{tmp_path}")
    (frame,) = source.frames()
    assert frame.image.shape[:2] == frame.labels.shape == (6, 4)
    of_image, of_labels = source.notes
    assert_names(of_image, TURNED)
    assert_names(of_labels, "turned")


def test_smallest_and_widest_pictures(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((1, 1, 3), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((2, 20_000, 3), np.uint8))
    source = source_from_uri(str(tmp_path))
    assert [frame.image.shape for frame in source.frames()] == [(1, 1, 3)]
    assert_names(source.skipped[0], "b.png", "20000x2", "100 megapixels", 16384)


def test_float_image_is_refused_by_name(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.zeros((8, 8), np.float32))
    with refused(BadInput, "a.tiff", "float32"):
        list(source_from_uri(str(tmp_path)).frames())


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_huge_image_is_refused_from_its_header(suffix):
    data = cv2.imencode(suffix, np.zeros((2, MAX_SIDE + 1, 3), np.uint8))[1].tobytes()
    with refused(BadInput, "16385x2", "100 megapixels", 16384):
        picture_from_bytes(data[:800] if suffix == ".jpg" else data[:33])


def test_huge_image_without_a_known_header_is_refused(tmp_path):
    data = cv2.imencode(".bmp", np.zeros((2, MAX_SIDE + 1, 3), np.uint8))[1].tobytes()
    with refused(BadInput, "16385x2", "100 megapixels", 16384):
        picture_from_bytes(data)


def test_synthetic_street_is_a_drive_with_labels():
    source = source_from_uri("synthetic:street,images=2,size=32x48")
    frames = list(source.frames())
    assert (source.size, source.fps, source.length) == ((32, 48), 15.0, 2)
    assert all(frame.labels is not None and frame.labels.shape == (32, 48) for frame in frames)
    assert [frame.source for frame in frames] == ["street1_000000", "street1_000001"]
    assert source_from_uri("synthetic:street").length == 64


def test_labelled_set_is_a_source_with_labels(tmp_path, write_images):
    write_images(tmp_path / "images", 3)
    (tmp_path / "labels").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"labels/image{index:02d}.png"), np.full((48, 64), index, np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"names": ["a", "b", "c"]}))
    (tmp_path / "images" / "image01.png").write_bytes(b"junk")
    source = source_from_uri(f"folder:{tmp_path}")
    frames = list(source.frames())
    assert [int(frame.labels[0, 0]) for frame in frames] == [0, 2]
    assert len(source.skipped) == 1 and "image01.png" in source.skipped[0]


def test_unknown_address_hides_credentials():
    with refused(BadInput, "ftp", "rtsp", "v4l2") as error:
        source_from_uri("ftp://admin:hunter2@host/a.mp4")
    assert "hunter2" not in str(error.value)


def test_errors_are_fcn_edge_errors():
    for uri in ("/", "/dev/null", "x:y", ":", "://", "file://", "http://127.0.0.1:9/x.mp4", "csi://a", "*"):
        with pytest.raises(FcnEdgeError):
            source_from_uri(uri)
