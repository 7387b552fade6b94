"""Addresses are parsed or rejected as ambiguous, for any password, and no part of it is printed or looked up."""

from __future__ import annotations

import os
import socket
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn_edge.errors import BadInput, FcnEdgeError, first_line
from fcn_edge.redaction import redacted
from fcn_edge.streaming.sinks.page import address_from_uri as page_address
from fcn_edge.streaming.sources import source_from_uri
from fcn_edge.streaming.sources.address import address_from_uri
from tests.refusals import refused

NASTY = st.text("QXZJ#@[]%/?:&= !\"'", min_size=3, max_size=14)
LETTERS = set("QXZJ")  # in no message of ours
ALL_KINDS = ("rtsp://", "rtsps://", "http://", "https://", "RTSP://", "ftp://", "rtsp:/", "http:", "")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("rtsp://cam/1", (None, "", "cam", None, "/1")),
        ("rtsp://cam:8554/1?channel=2", (None, "", "cam", 8554, "/1?channel=2")),
        ("rtsp://u:p@cam/1", ("u", "p", "cam", None, "/1")),
        ("rtsp://u@cam", ("u", "", "cam", None, "")),
        ("rtsp://u:a#b@cam/1", ("u", "a#b", "cam", None, "/1")),
        ("rtsp://u:a@b@cam/1", ("u", "a@b", "cam", None, "/1")),
        ("rtsp://u:[a]@cam/1", ("u", "[a]", "cam", None, "/1")),
        ("rtsp://u:[@cam/1", ("u", "[", "cam", None, "/1")),
        ("rtsp://u:a%b@cam/1", ("u", "a%b", "cam", None, "/1")),
        ("rtsp://u:a%23b%40@cam/1", ("u", "a#b@", "cam", None, "/1")),
        ("rtsp://u:a:b@cam/1", ("u", "a:b", "cam", None, "/1")),
        ("rtsp://u:a/b@cam/1", ("u", "a/b", "cam", None, "/1")),  # no port is called a
        ("rtsp://u:a?b@cam/1", ("u", "a?b", "cam", None, "/1")),
        ("http://u:p@[::1]:80/x", ("u", "p", "::1", 80, "/x")),
        ("http://[fe80::1%25eth0]/x", (None, "", "fe80::1%25eth0", None, "/x")),
        ("http://cam/a b?x=ü#part", (None, "", "cam", None, "/a%20b?x=%C3%BC")),
    ],
)
def test_address_is_read(uri, expected):
    found = address_from_uri(uri)
    assert (found.user, found.password, found.host, found.port, found.target) == expected
    assert address_from_uri(found.url) == found


@pytest.mark.parametrize(
    "uri",
    ["rtsp://u:12/b@cam/1", "rtsp://u/b@cam/1", "http://cam/@me/x", "rtsp://u:p@cam/live@1", "http://cam/?mail=a@b"],
)
def test_address_with_two_readings_is_refused_with_the_way_to_write_it(uri):
    with refused(BadInput, "%2F", "%40"):
        address_from_uri(uri)


@pytest.mark.parametrize(
    "uri", ["rtsp://", "rtsp://:554/x", "rtsp://cam:99999/", "rtsp://[::g]/", "rtsp:cam", "rtsp://a\nb/"]
)
def test_address_without_a_host_is_refused(uri):
    with pytest.raises(BadInput):
        address_from_uri(uri)


@given(NASTY, NASTY)
def test_encoded_address_gives_back_user_and_password(user, password):
    uri = f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@cam:554/live?x=1"
    found = address_from_uri(uri)
    assert (found.user, found.password, found.host, found.target) == (user, password, "cam", "/live?x=1")
    assert found.url == uri


def pieces(secret: str) -> set[str]:
    """Parts of three characters and more that no message of ours holds by itself."""
    forms = (secret, quote(secret, safe=""), repr(secret)[1:-1])
    parts = {form[start : start + 3] for form in forms for start in range(len(form) - 2)}
    return {part for part in parts if LETTERS & set(part)}


@pytest.mark.slow
@settings(max_examples=150)
@given(st.sampled_from(ALL_KINDS), NASTY, NASTY, st.sampled_from(["", "/live", "/live?channel=1"]))
def test_no_piece_of_a_login_is_reported_or_looked_up(kind, user, password, path):
    looked_up = []
    login = f"{user if '//' in kind else 'admin'}:{password}"

    def look_up(host, *_, **__):
        looked_up.append(str(host))
        raise socket.gaierror("no such host")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(FcnEdgeError) as caught:
            source_from_uri(f"{kind}{login}@camera.invalid{path}")
    told = " ".join([redacted(str(caught.value)), *looked_up])
    assert not [piece for piece in pieces(login) if piece in told], told
    assert set(looked_up) <= {"camera.invalid"}


@given(NASTY, st.sampled_from(["", ":8080", ":8080/x"]))
def test_no_piece_of_a_password_in_a_sinks_address_is_reported(password, rest):
    with pytest.raises(BadInput) as caught:
        page_address(f"http://admin:{password}@127.0.0.1{rest}")
    assert not [piece for piece in pieces(password) if piece in str(caught.value)]


@given(st.sampled_from(ALL_KINDS[:6]), NASTY, st.text("abc :/.,\n", max_size=20), st.text("abc :/.,\n", max_size=20))
def test_any_text_around_an_address_is_redacted(scheme, password, before, behind):
    text = f"{before} {scheme}admin:{password}@cam/1: {behind}"
    assert not [piece for piece in pieces(password) if piece in redacted(text)]
    assert not [piece for piece in pieces(password) if piece in first_line(ValueError(text))]
    assert redacted(redacted(text)) == redacted(text)


def test_vendors_words_are_cut_behind_the_password_only():
    text = f"cannot open {'x' * 160} rtsp://admin:{'secret' * 9}@cam/1"
    assert "secret" not in first_line(ValueError(text))


def test_each_of_several_addresses_stays_visible():
    text = 'rtsp://a:b@one/1 and ["rtsp://c:d@two/2", "http://three/3"]'
    assert redacted(text) == 'rtsp://***@one/1 and ["rtsp://***@two/2", "http://three/3"]'


NO_CAMERA = "/dev/video987"


@pytest.mark.parametrize("uri", [NO_CAMERA, f"v4l2://{NO_CAMERA}", f"{NO_CAMERA}?size=1280x720&fps=30"])
def test_device_file_is_a_camera(uri):
    with refused(BadInput, "/dev/video987", "camera"):
        source_from_uri(uri)


def test_names_of_udev_are_cameras():
    uri = "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"
    with refused(BadInput, uri, "camera"):
        source_from_uri(uri)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no device files here")
def test_device_that_is_no_camera_is_called_that(tmp_path):
    (tmp_path / "camera").symlink_to("/dev/null")
    for uri in ("/dev/null", str(tmp_path / "camera")):
        with refused(BadInput, "camera", "/dev/videoN"):
            source_from_uri(uri)


def test_link_to_a_video_device_is_opened_as_a_camera(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("fcn_edge.streaming.sources.os.major", lambda device: 81)
    monkeypatch.setattr("fcn_edge.streaming.sources.camera_from_device", lambda *given: opened.append(given[0]))
    (tmp_path / "front").symlink_to("/dev/null")
    source_from_uri(str(tmp_path / "front"))
    assert opened == [tmp_path / "front"]
