"""The live page's server: access control, responses, and no extra work for the run."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from fcn_edge.errors import BadInput
from fcn_edge.frame import Frame, Style
from fcn_edge.streaming.page import board as boards
from fcn_edge.streaming.page import server as servers
from fcn_edge.streaming.sinks import sink_from_uri
from fcn_edge.streaming.sinks.page import PageSink, greeting_for
from tests.refusals import assert_names, refused
from tests.streaming.conftest import AfterEach, Drawn, expected_class_map, picture, result_of, run_into

PATIENCE_S = 20
TOKEN = "correct-horse-battery"


@dataclass
class Figures:
    """As much of StreamFigures as health needs."""

    stream: int = 0
    state: str = "open"
    last_frame_ms: float | None = 10.0


@pytest.fixture
def live(engine):
    """Opens pages, and closes them after the test."""
    opened = []

    def start(uri="http://127.0.0.1:0") -> PageSink:
        opened.append(PageSink(uri, greeting_for(engine, Style(), ["drawn"])))
        return opened[-1]

    yield start
    for page in opened:
        page.close()


@pytest.fixture
def open_page(live, monkeypatch):
    """A page on all interfaces whose token is TOKEN."""
    monkeypatch.setenv("FCN_EDGE_TOKEN", TOKEN)
    return live("http://:0")


def show(page: PageSink, index: int, size=(48, 64)) -> None:
    page.write(result_of(Frame(picture(index, size), index, 0, "drawn"), expected_class_map(index, size)))


def port_of(page: PageSink) -> int:
    return int(page.uri.rpartition(":")[2])


def ask(page: PageSink, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=PATIENCE_S)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=named)
    return connection.getresponse()


@contextmanager
def viewer(page: PageSink, **headers: str):
    """Yields a function that reads the next message of /live: (header, parts)."""
    answer = ask(page, "/live", **headers)
    assert answer.status == 200

    def read():
        told = json.loads(answer.read(int.from_bytes(answer.read(4), "big")))
        return told, [answer.read(size) for size in told["parts"]]

    yield read
    answer.close()


def frame_from(read):
    while (told := read())[0]["kind"] != "frame":
        pass
    return told


def test_frame_of_a_video_has_its_time_in_the_video(live):
    page = live()
    page.write(result_of(Frame(picture(1), 1, 0, "drive.mp4", presented_s=2.2), expected_class_map(1)))
    with viewer(page) as read:
        assert frame_from(read)[0]["presented_s"] == 2.2


def test_viewer_gets_classes_then_the_picture_and_its_class_map(live):
    page = live()
    show(page, 1)
    with viewer(page) as read:
        hello, _ = read()
        told, (jpeg, packed) = frame_from(read)
    assert (hello["kind"], hello["classes"], hello["opacity"]) == ("hello", ["blue", "green", "red"], 0.5)
    assert hello["palette"] == [[0, 0, 255], [0, 255, 0], [255, 0, 0]] and hello["sources"] == ["drawn"]
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[:20].mean((0, 1)) - picture(1)[:20].mean((0, 1))).max() < 10
    class_map = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(told["map"][::-1])
    assert np.array_equal(class_map, expected_class_map(1))
    assert (told["index"], told["pixels"], told["age_ms"]) == (1, [1536, 1536, 0], 7.0)
    assert told["presented_s"] is None
    assert told["stages_ms"] == {"capture": 0, "input": 1, "infer": 2, "view": 3}


def test_large_frames_are_shrunk_and_class_maps_stay_class_maps(live):
    page = live()
    show(page, 2, (1080, 1920))
    with viewer(page) as read:
        told, (jpeg, packed) = frame_from(read)
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (540, 960, 3)
    assert told["size"] == [1920, 1080] and told["map"] == [640, 360]
    assert set(zlib.decompress(packed)) == {0, 2}


def test_ten_viewers_get_what_was_encoded_once_and_no_viewer_means_no_encoding(live, monkeypatch):
    encoded = []
    real = boards._encoded
    monkeypatch.setattr(boards, "_encoded", lambda result: encoded.append(result.frame.index) or real(result))
    page = live()
    for index in range(5):
        show(page, index)
    assert encoded == []
    seen = [[] for _ in range(10)]

    def look(number):
        with viewer(page) as read:
            while 7 not in seen[number]:
                seen[number].append(frame_from(read)[0]["index"])

    threads = [threading.Thread(target=look, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for index in (5, 6, 7):
        while any(not indices for indices in seen):
            time.sleep(0.01)
        show(page, index)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert all(indices[-1] == 7 for indices in seen)
    assert sorted(encoded) == sorted(set(encoded)) and len(encoded) <= 4


@pytest.mark.slow
def test_viewer_that_takes_nothing_holds_up_neither_the_run_nor_others(live):
    page = live()
    with viewer(page), viewer(page) as read:  # the first is sent to until its buffers are full
        for index in range(300):
            show(page, index, (480, 640))
        while frame_from(read)[0]["index"] < 299:
            pass


def test_slow_viewer_misses_frames_and_then_sees_the_newest(live):
    page = live()
    show(page, 0)
    with viewer(page) as read:
        assert frame_from(read)[0]["index"] == 0
        for index in range(1, 100):
            show(page, index)
        seen = [frame_from(read)[0]["index"]]
        while seen[-1] != 99:
            seen.append(frame_from(read)[0]["index"])
        assert len(seen) < 50


def test_viewers_are_reported_when_the_run_ends_and_the_port_is_free_again(live):
    page = live()
    with viewer(page) as read:
        read()
        closing = threading.Thread(target=page.close)
        closing.start()
        while read()[0]["kind"] != "end":
            pass
    closing.join(PATIENCE_S)
    page.close()
    live(page.uri)


def test_page_holds_all_it_needs_and_its_policy_allows_nothing_else(live):
    answer = ask(live(), "/")
    page = answer.read().decode()
    assert answer.status == 200 and "fcn-edge" in page
    policy = answer.headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not re.search(r"\son\w+=|\sstyle=", page)


@pytest.mark.parametrize("path", ["/", "/live", "/metrics", "/healthz", "/nothing"])
def test_no_other_site_may_read_an_answer(live, path):
    page = live()
    answer = ask(page, path, "HEAD", Origin="https://elsewhere.example")
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Python" not in answer.headers["Server"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_the_page_and_use_nothing_of_it(live, site):
    page = live()
    assert ask(page, "/", Sec_Fetch_Site=site).status == 200
    assert ask(page, "/metrics", Sec_Fetch_Site=site).status == 403
    assert ask(page, "/metrics", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "["])
def test_on_loopback_a_foreign_name_is_refused(live, host):
    page = live()
    for path in ("/", "/live", "/metrics", "/healthz"):
        assert ask(page, path, Host=host).status == 421
    for own in ("localhost", "127.0.0.1", f"localhost:{port_of(page)}", "[::1]:9"):
        assert ask(page, "/", Host=own).status == 200


def test_beyond_loopback_a_token_is_asked_for_and_the_page_does_not_hold_it(open_page):
    for authorization in ("", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"):
        headers = {"Authorization": authorization} if authorization else {}
        for path in ("/live", "/metrics"):
            assert ask(open_page, path, **headers).status == 401
    assert ask(open_page, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    with viewer(open_page, Authorization=f"Bearer {TOKEN}") as read:
        assert read()[0]["kind"] == "hello"
    assert TOKEN not in ask(open_page, "/").read().decode()
    assert ask(open_page, "/healthz").status == 503  # of no use to strangers, and nothing has come yet


def test_token_is_made_and_reported_once_unless_it_was_given(live, open_page, monkeypatch):
    assert TOKEN not in open_page.greeting and "FCN_EDGE_TOKEN" in open_page.greeting
    monkeypatch.delenv("FCN_EDGE_TOKEN")
    made = [live("http://:0") for _ in range(2)]
    tokens = [re.search(r"#token=([\w-]{24,})$", page.greeting)[1] for page in made]
    assert len(set(tokens)) == 2
    for page, token in zip(made, tokens):
        assert ask(page, "/metrics", Authorization=f"Bearer {token}").status == 200
        assert token not in page.uri + page.describe()
    assert "token" not in live("http://127.0.0.1:0").greeting
    monkeypatch.setenv("FCN_EDGE_TOKEN", "short")
    with refused(BadInput, "FCN_EDGE_TOKEN", 5, 16):
        live("http://:0")


def test_viewers_and_connections_have_a_limit(live, monkeypatch):
    monkeypatch.setattr(servers, "MAX_VIEWERS", 2)
    monkeypatch.setattr(servers, "MAX_CONNECTIONS", 4)
    page = live()
    with viewer(page) as first, viewer(page) as second:
        first(), second()
        answer = ask(page, "/live")
        assert (answer.status, answer.read()) == (503, b"too many viewers (maximum 2)\n")
        idle = [socket.create_connection(("127.0.0.1", port_of(page))) for _ in range(4)]
        refused = socket.create_connection(("127.0.0.1", port_of(page)), timeout=PATIENCE_S)
        assert is_cut(refused)
        for connection in (*idle, refused):
            connection.close()


def is_cut(connection: socket.socket) -> bool:
    """Whether the other end closes a connection, or breaks it, without a word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        ([], 503),
        ([Figures(last_frame_ms=None)], 503),
        ([Figures()], 200),
        ([Figures(last_frame_ms=9000)], 503),
        ([Figures(state="lost")], 503),
        ([Figures(state="ended", last_frame_ms=9000)], 200),
        ([Figures(), Figures(1, "retrying", 7000)], 503),
    ],
)
def test_health_is_that_frames_flow_in_every_stream(live, figures, code):
    page = live()
    page.begin(lambda: tuple(figures))
    answer = ask(page, "/healthz")
    assert answer.status == code
    told = json.loads(answer.read())
    assert told["is_well"] is (code == 200) and len(told["streams"]) == len(figures)


def test_figures_of_a_run_are_on_metrics_and_in_the_status(engine):
    sink = sink_from_uri("http://127.0.0.1:0", engine, source=Drawn(3))
    asked = {}

    def look(index):
        if index == 2:
            asked["health"] = ask(sink, "/healthz").status
            asked["metrics"] = ask(sink, "/metrics").read().decode()
            with viewer(sink) as read:
                while (told := read()[0])["kind"] != "status":
                    pass
                asked["status"] = told

    summary = run_into(Drawn(3), engine, [sink], progress=AfterEach(look))
    assert asked["health"] == 200
    assert 'fcn_edge_frames_out_total{stream="0",source="drawn"} 3' in asked["metrics"]
    assert asked["status"]["streams"][0]["frames_out"] == 3 and asked["status"]["viewers"] == 1
    assert_names(summary.outputs[0], "3 frames", "1 viewers")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:80/page",
        "http://me:hunter2@127.0.0.1:80",
        "http://[::1:80",
        "http://127.0.0.1:80?token=hunter2",
    ],
)
def test_address_that_is_no_host_and_port_is_refused_and_secrets_are_not_printed(live, uri):
    with refused(BadInput, "http://127.0.0.1:8080") as error:
        live(uri)
    assert "hunter2" not in str(error.value)


def test_address_in_use_is_named(live):
    page = live()
    with refused(BadInput, f"127.0.0.1:{port_of(page)}", "port"):
        live(page.uri)
