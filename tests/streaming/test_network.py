"""Live sources: timeouts, hangs, loss and return, with scripted connections."""

from __future__ import annotations

import threading
import time
from itertools import islice

import cv2
import numpy as np
import pytest

from fcn_edge.errors import BadInput, SourceLost
from fcn_edge.streaming.capture import Capture
from fcn_edge.streaming.sources import cameras, network
from fcn_edge.streaming.sources.network import Connection, NetworkSource, Patience, Unreachable
from fcn_edge.streaming.sources.pacing import CATCH_UP_S, LAG_S, Pace
from tests.refusals import assert_names, refused
from tests.streaming.conftest import picture

HANG = "hang"
LONG_S = 60.0  # longer than a frozen machine sleeps


PATIENCE = Patience(retries=50)  # a test that goes wrong ends


class Script(Connection):
    """Gives the pictures of a list; an error in it is raised, HANG waits until the test lets go.

    Only the first picture, which a live source looks at, comes before its frames are asked for.
    """

    released = threading.Event()
    asked = threading.Event()

    def __init__(self, *steps, fps=30.0):
        super().__init__()
        self.steps, self.fps, self.closed_in, self.count = list(steps), fps, None, 0

    def read(self):
        if self.count == 1:
            Script.asked.wait(LONG_S)
        self.count += 1
        step = self.steps.pop(0) if self.steps else None
        if step is HANG:
            Script.released.wait(LONG_S)
            return None
        if isinstance(step, Exception):
            raise step
        return step

    def close(self):
        self.closed_in = threading.current_thread()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waits between attempts; what hangs is let go at the end, and no thread is left."""
    monkeypatch.setattr(network, "FIRST_WAIT_S", 0.0)
    Script.released, Script.asked = threading.Event(), threading.Event()
    begin = network.ReceiveThread.begin
    monkeypatch.setattr(network.ReceiveThread, "begin", lambda self: (begin(self), Script.asked.set()))
    before = set(threading.enumerate())
    yield
    Script.released.set()
    Script.asked.set()
    deadline = time.monotonic() + LONG_S
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def connections(*scripts):
    """An opener that gives one after another; the last failure for ever."""
    rest = list(scripts)

    def opened():
        script = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(script, Exception):
            raise script
        return script

    return opened


def endless(first, size=(48, 64)):
    return [picture(first + n, size) for n in range(1000)]


def taken(source, count):
    frames = list(islice(source.frames(), count))
    source.close()
    return frames


def seen(frame):
    return int(frame.image[-1, 0, 1])


def test_stream_that_breaks_is_opened_again_and_nothing_is_repeated():
    pictures = [picture(n) for n in range(6)]
    source = NetworkSource(
        connections(Script(*pictures[:3]), Unreachable("refused"), Script(*pictures[3:], *endless(6))),
        "rtsp://admin:hunter2@camera/1",
        PATIENCE,
    )
    frames = taken(source, 6)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert [seen(frame) for frame in frames] == [1, 2, 3, 4, 5, 6]  # 0 was the look at the first
    assert source.reconnects == 1 and not source.is_retrying and source.trouble == ""


def test_given_up_after_so_many_retries_with_the_reason_and_no_credentials():
    opener = connections(Script(*endless(0)[:3]), Unreachable("nobody answers"))
    source = NetworkSource(opener, "rtsp://admin:hunter2@camera/1", Patience(retries=3))
    with pytest.raises(SourceLost) as error:
        list(source.frames())
    assert_names(str(error.value), "nobody answers", "3 attempts")
    assert str(error.value).startswith("rtsp://***@camera/1: ")
    source.close()


def test_stream_that_opens_but_gives_nothing_counts_as_a_failed_attempt():
    source = NetworkSource(connections(Script(picture(0), picture(1)), Script()), "x", Patience(retries=4))
    with refused(SourceLost, "4 attempts"):
        list(source.frames())
    source.close()


def test_no_retries_ends_at_the_first_loss():
    source = NetworkSource(connections(Script(picture(0), picture(1))), "x", Patience(retries=0))
    with refused(SourceLost, "1 frames"):
        list(source.frames())
    source.close()


def test_frozen_stream_is_left_and_another_is_opened():
    frozen, fresh = Script(picture(0), picture(1), HANG), Script(*endless(10))
    source = NetworkSource(connections(frozen, fresh), "x", Patience(silent_s=0.2, retries=50))
    frames = taken(source, 4)
    assert source.reconnects == 1 and seen(frames[-1]) >= 10
    assert frozen.closed_in is None
    Script.released.set()  # the driver returns at last: its own thread closes it
    deadline = time.monotonic() + LONG_S
    while frozen.closed_in is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert frozen.closed_in is not None and frozen.closed_in is not threading.current_thread()


def test_pictures_that_hls_gives_once_more_are_left_out():
    class Hls(Script):
        is_paced = True

    opener = connections(Hls(*endless(0)[:6], fps=1000.0), Hls(*endless(3), fps=1000.0))
    frames = taken(NetworkSource(opener, "x", PATIENCE), 8)
    assert [seen(frame) for frame in frames] == [1, 2, 3, 4, 5, 6, 7, 8]
    still = [picture(0)] * 20  # nothing moves, and nothing is noisy
    opener = connections(Hls(*still[:6], fps=1000.0), Hls(*still, fps=1000.0))
    assert len(taken(NetworkSource(opener, "x", PATIENCE), 10)) == 10


def test_silence_is_reported_while_it_lasts():
    source = NetworkSource(
        connections(Script(*endless(0)[:40], HANG), Unreachable("gone")), "x", Patience(silent_s=0.2, retries=50)
    )
    with Capture(source, "newest") as capture:
        next(iter(capture))
        deadline = time.monotonic() + LONG_S
        states = set()
        while "retrying" not in states and time.monotonic() < deadline:
            states.add(capture.state)
            time.sleep(0.005)
        assert "retrying" in states and source.trouble


def test_connections_that_hang_are_not_piled_up():
    opened = []

    def opener():
        opened.append(Script(picture(0), HANG) if not opened else Script(HANG))
        return opened[-1]

    source = NetworkSource(opener, "x", Patience(silent_s=0.05))
    live_open_s = network.OPEN_S
    network.OPEN_S = 0.05
    try:
        with Capture(source, "newest"):
            deadline = time.monotonic() + LONG_S
            while "3 connections" not in source.trouble and time.monotonic() < deadline:
                time.sleep(0.01)
            assert_names(source.trouble, "3 connections")
            assert len(opened) == network.MOST_HANGING
            Script.released.set()
    finally:
        network.OPEN_S = live_open_s


def test_stream_that_comes_back_changed_goes_on():
    opener = connections(Script(picture(0), picture(1)), Script(*endless(5, (96, 32)), fps=10.0))
    source = NetworkSource(opener, "x", PATIENCE)
    frames = taken(source, 5)
    assert frames[-1].image.shape == (96, 32, 3) and source.size == (96, 32) and source.fps == 10.0
    (note,) = source.notes
    assert_names(note, "x", "size")


def test_frames_before_anybody_asks_are_let_go():
    """While a network is loaded a camera goes on: what came meanwhile is old."""
    passed = threading.Event()

    class Endless(Script):
        def read(self):
            self.count += 1
            if self.count == 100:
                passed.set()
            return picture(self.count)

    source = NetworkSource(connections(Endless()), "x", PATIENCE)
    assert passed.wait(LONG_S)
    before = time.monotonic_ns()
    (frame,) = taken(source, 1)
    assert frame.captured_ns >= before and frame.index == 0


def test_stamp_is_when_it_was_received():
    source = NetworkSource(connections(Script(*endless(0))), "x", PATIENCE)
    with Capture(source, "every") as capture:
        frames = iter(capture)
        next(frames)
        time.sleep(0.1)
        asked = time.monotonic_ns()
        assert next(frames).captured_ns < asked  # it was queued, with the time of its capture
    source.close()


@pytest.mark.parametrize("kind", [SourceLost, BadInput, Unreachable])
def test_first_failure_is_raised_in_its_kind(kind):
    with refused(kind, "rtsp://***@camera/1", "why"):
        NetworkSource(connections(kind("why")), "rtsp://a:b@camera/1", PATIENCE)


def test_awaited_source_need_not_be_there_at_first():
    source = NetworkSource(
        connections(Unreachable("off"), Unreachable("off"), Script(*endless(0))),
        "x",
        Patience(awaited=True, retries=50),
    )
    assert source.size is None
    assert len(taken(source, 3)) == 3 and source.size == (48, 64)
    with pytest.raises(BadInput):  # a wrong password does not mend itself
        NetworkSource(connections(BadInput("refuses this password")), "x", Patience(awaited=True, retries=50))


def test_a_drivers_own_exception_is_a_loss_like_any_other():
    opener = connections(Script(picture(0), picture(1), RuntimeError("VIDIOC_DQBUF")), Script(*endless(3)))
    source = NetworkSource(opener, "x", PATIENCE)
    assert len(taken(source, 3)) == 3 and source.reconnects == 1


def test_closing_ends_the_frames_while_one_is_awaited():
    source = NetworkSource(connections(Script(picture(0), picture(1), HANG)), "x", Patience(silent_s=LONG_S))
    ended = threading.Event()

    def read():
        list(source.frames())
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    source.close()
    source.close()
    assert ended.wait(LONG_S)


def test_waits_grow_and_differ(monkeypatch):
    monkeypatch.setattr(network, "FIRST_WAIT_S", 0.1)
    source = NetworkSource(connections(Script(*endless(0))), "x", PATIENCE)
    waits = {}
    for error in (Unreachable("off"), SourceLost("503"), None):
        source._reader.error = error  # nothing else tells one failure from another
        waits[type(error)] = []
        for source._failures in (0, 1, 2, 3, 10, 100):
            waits[type(error)].append(source._wait_s())
    for longest, kind in (
        (network.KNOCK_S, Unreachable),
        (network.LONGEST_WAIT_S, SourceLost),
        (network.KNOCK_S, type(None)),
    ):
        expected = [min(longest, 0.1 * 2**n) for n in (0, 1, 2, 3, 10, 20)]
        assert np.allclose(waits[kind], expected, rtol=network.JITTER)
    assert len({source._wait_s() for _ in range(20)}) > 10
    source.close()


def test_pictures_gathered_while_opening_are_old():
    pace = Pace(is_paced=False, fps=25.0)
    start = time.monotonic()
    burst = [pace.is_old(start + 0.001 * n, 0.04 * max(0, n - 1)) for n in range(25)]  # OpenCV tells 0 twice
    steady = [pace.is_old(start + 0.024 + 0.04 * n, 0.92 + 0.04 * n) for n in range(1, 25)]
    assert all(burst) and not any(steady)


def test_catching_up_ends_by_itself():
    pace = Pace(is_paced=False, fps=25.0)
    assert not pace.is_old(time.monotonic() + CATCH_UP_S + 0.1, 0.04)


def test_stream_without_a_clock_has_no_old_pictures():
    pace = Pace(is_paced=False, fps=None)
    assert not any(pace.is_old(time.monotonic(), None) for _ in range(5))


def test_stream_that_falls_behind_is_reported_and_drift_is_not():
    pace = Pace(is_paced=False, fps=25.0)
    start, drift = time.monotonic(), 1.0005  # half a per mille: 4 s in the 8000 s below
    for second in range(8000):
        pace.is_old(start + drift * second, float(second))
    now = start + drift * 8000
    with refused(SourceLost, "2.0 s"):
        [pace.is_old(now + (1 + LAG_S / 20) * n, 8000.0 + n) for n in range(100)]


def test_paced_stream_is_read_at_its_own_speed():
    pace, start = Pace(is_paced=True, fps=25.0), time.monotonic()
    assert pace.wait_s() == 0
    for n in range(10):
        assert not pace.is_old(time.monotonic(), 0.04 * n)
        time.sleep(pace.wait_s())
    assert time.monotonic() - start >= 0.04 * 9  # the pictures were there at once
    pace.is_old(time.monotonic(), 1000.0)  # its clock jumps
    assert pace.wait_s() == 0


class _Device:
    """Stands for cv2.VideoCapture on a camera that only does 640x480 YUYV at 30."""

    def __init__(self):
        self.told = {
            cv2.CAP_PROP_FRAME_WIDTH: 640,
            cv2.CAP_PROP_FRAME_HEIGHT: 480,
            cv2.CAP_PROP_FPS: 30,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        }
        self.index = 0

    def isOpened(self):
        return True

    def read(self):
        self.index += 1
        return True, picture(self.index, (480, 640))

    def get(self, what):
        return float(self.told.get(what, 0))

    def release(self):
        self.index = -1


def test_camera_is_asked_in_order_and_reported_apart_from_what_it_gives(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cameras, "opened_capture", lambda *call: asked.append(call) or _Device())
    device = tmp_path / "video0"
    device.touch()
    query = "size=1280x720&fps=30&format=mjpg"
    source = cameras.camera_from_device(device, query, f"v4l2://{device}?{query}", PATIENCE)
    source.close()
    (_, backend, settings), *_ = asked
    assert backend == cv2.CAP_V4L2
    assert settings[:2] == (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    assert settings[2:] == (
        cv2.CAP_PROP_FRAME_WIDTH,
        1280,
        cv2.CAP_PROP_FRAME_HEIGHT,
        720,
        cv2.CAP_PROP_FPS,
        30,
        cv2.CAP_PROP_BUFFERSIZE,
        1,
    )
    assert_names(source.notes[0], "640x480", "YUYV")


def test_camera_that_is_unplugged_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(cameras, "opened_capture", lambda *call: _Device())
    with refused(BadInput, "camera", "video7"):
        cameras.camera_from_device(tmp_path / "video7", "", "7", PATIENCE)
    source = cameras.camera_from_device(tmp_path / "video7", "", "7", Patience(awaited=True, retries=50))
    (tmp_path / "video7").touch()
    assert len(taken(source, 2)) == 2


def test_csi_pipeline_has_the_size_that_was_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(cameras, "has_gstreamer", lambda: True)
    monkeypatch.setattr(cameras, "opened_capture", lambda *call: asked.append(call) or _Device())
    cameras.camera_from_csi("1", "size=1920x1080&fps=60", "csi://1", PATIENCE).close()
    assert "sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1" in asked[0][0]
    assert asked[0][1] == cv2.CAP_GSTREAMER
