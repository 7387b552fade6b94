"""Streams of real servers: killed, frozen, throttled, changed and locked; no invented frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from itertools import islice
from urllib.parse import quote

import numpy as np
import pytest

from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.prometheus import metrics_text
from fcn_edge.streaming.sources import Patience, source_from_uri
from fcn_edge.streaming.sources.rtsp import OPTIONS
from tests.refusals import assert_names, refused
from tests.streaming.servers import ROOT, Server, free_port, missing, wait_until
from tests.streaming.servers.marks import grey_picture, read_mark
from tests.streaming.servers.watching import Watching

pytestmark = pytest.mark.slow

LOGIN = ("admin", "hunter2")
SMALL, LARGE = (240, 320), (360, 480)


@contextmanager
def serving(kind, *, login=None, **options):
    if missing(kind):
        pytest.skip(missing(kind))
    server = Server(kind, login=login)
    try:
        yield server.start(**options)
    finally:
        server.kill()


def opened(server, path="", **patience):
    return source_from_uri(server.url(path), Patience(**{"silent_s": 1.0, "retries": 200, **patience}))


@pytest.mark.parametrize(("kind", "times"), [("rtsp", 5), ("mjpeg", 5), ("hls", 1)])
def test_killed_server_is_found_again_with_another_size_and_nothing_is_invented(engine, kind, times):
    with serving(kind, size=SMALL) as server, Watching(opened(server), engine) as watching:
        assert watching.saw(5)
        for number in range(times):
            server.kill()
            server.start(LARGE if number % 2 == 0 else SMALL, fps=15 if number % 2 == 0 else 25)
            assert wait_until(lambda number=number: watching.source.reconnects > number), watching.figures.trouble
            assert watching.saw(5), watching.figures.trouble
    assert {one.size for one in watching.shown} == {SMALL, LARGE}
    assert (watching.invented(), watching.repeated()) == (0, 0)
    assert watching.error is None and watching.summary.reconnects >= times and watching.summary.gaps >= times
    assert any("frame rate" in note for note in watching.summary.notes)


@pytest.mark.parametrize("kind", ["rtsp", "mjpeg"])
def test_frozen_server_is_noticed_reported_and_left(engine, kind):
    with serving(kind) as server, Watching(opened(server), engine) as watching:
        assert watching.saw(5)
        server.freeze()
        states = set()
        assert wait_until(lambda: states.add(watching.figures.state) or "retrying" in states)
        told = watching.figures
        assert told.trouble and told.last_frame_ms > 0
        assert 'state="retrying"} 1' in metrics_text([told])
        server.thaw()
        assert wait_until(lambda: watching.figures.state == "open") and watching.saw(5)
    assert "stale" in states and watching.summary.reconnects >= 1
    assert (watching.invented(), watching.repeated()) == (0, 0)


def test_throttled_stream_shows_true_pictures_and_loses_none_of_its_wits(engine):
    with serving("mjpeg") as server, Watching(opened(server, "throttled"), engine) as watching:
        assert watching.saw(10)
    assert (watching.invented(), watching.repeated()) == (0, 0)


def test_pictures_without_lengths_are_cut_at_their_boundary(engine):
    with serving("mjpeg") as server, Watching(opened(server, "plain"), engine) as watching:
        assert watching.saw(10)
    assert (watching.invented(), watching.repeated()) == (0, 0)


def test_pictures_cut_short_are_skipped_and_counted(engine):
    with serving("mjpeg") as server, Watching(opened(server, "broken"), engine) as watching:
        assert watching.saw(10)
    assert watching.invented() == 0
    assert watching.summary.streams[0].skipped >= 4
    assert "cut off" in watching.summary.skipped[0]


def test_two_sources_share_one_engine(engine):
    with serving("mjpeg", fps=40) as fast, serving("rtsp", fps=10) as slow, opened(fast) as one, opened(slow) as other:
        summary = run_feeds([Feed(one, []), Feed(other, [])], engine, limit=12)
    assert [stream.frames_out for stream in summary.streams] == [12, 12]
    assert [stream.policy for stream in summary.streams] == ["newest", "newest"]
    assert summary.streams[0].source.startswith("http://127") and summary.streams[1].source.startswith("rtsp://127")


def test_udp_is_used_where_it_is_asked_for(monkeypatch):
    with serving("rtsp") as server:
        for suffix, expected in (("", 1), ("?channel=1&udp", 3)):  # with RTP and RTCP
            monkeypatch.delenv(OPTIONS, raising=False)
            before = _sockets()
            with source_from_uri(server.url() + suffix, Patience(silent_s=5.0)) as source:
                marks = [read_mark(frame.image) for frame in islice(source.frames(), 3)]
                assert _sockets() - before == expected
            assert None not in marks
        with refused(BadInput, server.url(), "OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp"):
            source_from_uri(server.url())


def _sockets() -> int:
    names = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.readlink(name).startswith("socket:") for name in names if os.path.lexists(name))


@pytest.mark.parametrize("kind", ["rtsp", "mjpeg"])
def test_password_opens_and_a_wrong_one_is_reported_without_being_printed(kind):
    with serving(kind, login=LOGIN) as server:
        with source_from_uri(server.url(login=LOGIN), Patience()) as source:
            assert read_mark(next(source.frames()).image) is not None
            assert "hunter2" not in source.uri and "***@127.0.0.1" in source.uri
        with refused(BadInput, 401, "user", "password") as error:
            source_from_uri(server.url(login=("admin", "s3cret!")), Patience())
        assert "s3cret" not in str(error.value)
        with refused(BadInput, 401, "user", "password"):
            source_from_uri(server.url(), Patience())


@pytest.mark.parametrize("path", ["", "nowhere"])
def test_refused_connections_are_closed_while_the_error_lives(path):
    password = "wrong" if not path else LOGIN[1]
    with serving("mjpeg", login=LOGIN) as server:
        before = _sockets()
        with pytest.raises(BadInput) as refused:
            source_from_uri(server.url(path, login=(LOGIN[0], password)))
        assert _sockets() == before, refused


@pytest.mark.parametrize("kind", ["rtsp", "mjpeg"])
def test_password_may_be_typed_as_it_is_or_encoded(kind):
    password = "a#b@c[d]%e:f"
    with serving(kind, login=("admin", password)) as server:
        for typed in (password, quote(password, safe="")):
            with source_from_uri(server.url().replace("://", f"://admin:{typed}@"), Patience()) as source:
                assert read_mark(next(source.frames()).image) is not None
                assert "a#b" not in source.uri and "***@127.0.0.1" in source.uri


def test_wrong_addresses_get_a_clear_word_each():
    with serving("mjpeg") as server:
        for path, facts in (
            ("nowhere", (404,)),
            ("page", ("HTML", "video")),
            ("still", ("image/jpeg", "stream")),
            ("text", ("text/plain", "video")),
        ):
            with refused(BadInput, f"http://127.0.0.1:{server.port}/{path}", *facts):
                source_from_uri(server.url(path))
        with refused(BadInput, "127.0.0.1", "RTSP", "port"):
            source_from_uri(server.url().replace("http:", "rtsp:"))
    for scheme in ("http", "rtsp"):
        port = free_port()
        with refused(SourceLost, f"127.0.0.1:{port}", "Connection refused"):
            source_from_uri(f"{scheme}://127.0.0.1:{port}/live")
    with refused(SourceLost, "nowhere.invalid", "host"):
        source_from_uri("rtsp://nowhere.invalid/live")


def test_wrong_rtsp_path_gets_a_clear_word():
    with serving("rtsp") as server:
        with refused(BadInput, 404, "path"):
            source_from_uri(server.url("nowhere"))
        with refused(SourceLost, 503):  # GStreamer's tunnel over HTTP
            source_from_uri(server.url().replace("rtsp:", "http:"))


def kill_after_first_mask(server, masks):
    """The run has begun by then, however slow the machine is."""
    wait_until(lambda: any(masks.glob("*.png")))
    server.kill()


def test_nothing_that_a_run_prints_or_writes_has_the_password(tmp_path, onnx_file):
    """The server dies under the run, which gives up after two attempts: exit code 4, and a whole summary."""
    with serving("mjpeg", login=LOGIN) as server:
        masks = tmp_path / "masks"
        threading.Thread(target=kill_after_first_mask, args=(server, masks), daemon=True).start()
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "fcn_edge",
                "run",
                onnx_file,
                "--source",
                server.url(login=LOGIN),
                "--sink",
                f"{masks}/",
                "--retries",
                "2",
                "--silence",
                "2",
                "--json",
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=300,
        )
    assert done.returncode == 4, done.stderr
    summary = json.loads(done.stdout)
    assert_names(summary["lost"], "2 attempts")
    assert summary["frames_out"] > 0
    names = "".join(path.name for path in masks.iterdir())
    assert "hunter2" not in done.stdout + done.stderr + names and "admin" not in done.stdout + done.stderr + names


def test_marks_are_read_back_and_mixtures_are_not():
    one, other = (np.frombuffer(grey_picture(n, 320, 240), np.uint8).reshape(240, 320) for n in (7, 8))
    rgb = np.repeat(one[..., None], 3, 2)
    assert read_mark(rgb)[1] == 7
    assert read_mark(np.full((240, 320, 3), 128, np.uint8)) is None
    mixed = np.repeat(np.concatenate([one[:60], other[60:]])[..., None], 3, 2)
    assert read_mark(mixed) is None
