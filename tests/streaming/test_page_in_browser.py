"""The live page in a real browser: what people see, press and read, on a desk and on a phone.

Set FCN_EDGE_PICTURES to a folder and the pictures that are taken stay there; docs/images/live.png is one of them.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcn_edge.frame import Frame, Result, Style, Times
from fcn_edge.streaming.regions import region_from_text, rule_from_text
from fcn_edge.streaming.sinks import SinkOptions, sinks_of_sources
from fcn_edge.streaming.sinks.page import PageSink, greeting_for
from fcn_edge.streaming.sources import source_from_uri
from fcn_edge.streaming.summary import StreamFigures
from fcn_edge.streaming.window import Quantiles
from tests.browser import DESK, PATIENCE_S, PHONE, complaints_of, needs_browser, opened_browser, show_as
from tests.shared_data import SHARED
from tests.streaming.conftest import expected_class_map, picture, run_into

REAL_VIDEO = SHARED / "video" / "solidWhiteRight.mp4"
DRAWN = "state.tiles.length && state.tiles.every((tile) => tile.frame)"
SMALLEST_TARGET = 24  # CSS pixels, WCAG 2.2, success criterion 2.5.8
TIMES = Times(1_000_000, 2_000_000, 3_000_000, 7_000_000, 500_000)
NO_QUANTILES = Quantiles(2.0, 3.0)

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    """A Chromium of our own, closed after the last test; its console is empty after each (see `page`)."""
    with opened_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


class Shown:
    """One page that is served, and the browser that looks at it."""

    def __init__(self, browser, live: PageSink) -> None:
        self.browser, self.live = browser, live

    def open(self, path: str = "/", size=DESK, *, is_dark: bool = False) -> None:
        show_as(self.browser, size, is_dark=is_dark)
        self.browser.get(self.live.uri + path)

    def send(self, index: int, stream: int = 0) -> None:
        frame, counts = Frame(picture(index), index, 0, "x", stream=stream), np.array([30, 60, 10])
        self.live.write(Result(frame, expected_class_map(index), None, counts, True, TIMES))

    def js(self, code: str, *words):
        return self.browser.execute_script(f"return {code}", *words)

    def wait(self, code: str) -> None:
        """Until the expression is true."""
        until = time.monotonic() + PATIENCE_S
        while not self.js(code):
            assert time.monotonic() < until, code
            time.sleep(0.05)

    def click(self, name: str) -> None:
        self.browser.find_element("css selector", name).click()

    def colour(self, x: float, y: float, tile: int = 0) -> list[int]:
        """RGB that the picture of a tile has there (shares of width and height)."""
        code = """(() => { const shown = document.querySelectorAll('.tile canvas')[arguments[2]];
            const copy = Object.assign(document.createElement('canvas'), { width: shown.width, height: shown.height });
            const context = copy.getContext('2d', { willReadFrequently: true });
            context.drawImage(shown, 0, 0);
            const [x, y] = [arguments[0] * shown.width, arguments[1] * shown.height];
            return [...context.getImageData(x, y, 1, 1).data]; })()"""
        return self.js(code, x, y, tile)[:3]

    def picture(self, name: str) -> np.ndarray:
        """What the window shows, (H, W, 3) BGR; kept where FCN_EDGE_PICTURES says so."""
        png = base64.b64decode(self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
        if folder := os.environ.get("FCN_EDGE_PICTURES"):
            (Path(folder) / f"{name}.png").write_bytes(png)
        return cv2.imdecode(np.frombuffer(io.BytesIO(png).getbuffer(), np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def page(browser, engine) -> Iterator:
    """Opens a Live sink for the browser; afterwards the browser must have complained of nothing."""
    opened = []
    browser.get_log("browser")

    def start(uri="http://127.0.0.1:0", sources=("front",), **options) -> Shown:
        live = PageSink(uri, greeting_for(engine, Style(), sources, **options))
        opened.append(live)
        return Shown(browser, live)

    yield start
    complaints = complaints_of(browser)
    browser.get("about:blank")
    for live in opened:
        live.close()
    assert [text for text in complaints if "401" not in text] == []


def figures(stream: int = 0, **changes) -> StreamFigures:
    values = {
        "stream": stream,
        "source": f"camera {stream}",
        "state": "open",
        "trouble": "",
        "policy": "newest",
        "size": (48, 64),
        "frames_in": 9,
        "frames_out": 7,
        "dropped": 2,
        "duplicated": 0,
        "gaps": 0,
        "longest_gap_ms": 0.0,
        "reconnects": 3,
        "skipped": 0,
        "not_finite": 0,
        "fps": 25.0,
        "last_frame_ms": 5.0,
        "first_frame_ms": 9.0,
        "stages_ms": dict.fromkeys(("capture", "input", "infer", "view", "sink"), NO_QUANTILES),
        "frame_age_ms": NO_QUANTILES,
        "end_to_end_ms": NO_QUANTILES,
    } | changes
    return StreamFigures(**values)


def test_picture_is_blended_here_and_opacity_and_classes_change_it_at_once(page):
    shown = page()
    shown.send(1)  # green above, blue below
    shown.open()
    shown.wait(f"{DRAWN} && document.querySelector('.tile .veil').hidden")
    assert shown.js("document.getElementById('model').textContent") == "colours · onnxruntime fp32"
    half = [10, 250, 10]  # of (20, 250, 20) and (0, 255, 0)
    assert [round(value, -1) for value in shown.colour(0.5, 0.25)] == half
    set_opacity(shown, 0)
    assert [abs(found - real) < 12 for found, real in zip(shown.colour(0.5, 0.8), (20, 20, 200))] == [True] * 3
    set_opacity(shown, 100)
    assert shown.colour(0.5, 0.8) == [0, 0, 255]
    shown.click("#classes li:nth-child(1) input")
    assert [abs(found - real) < 12 for found, real in zip(shown.colour(0.5, 0.8), (20, 20, 200))] == [True] * 3
    assert shown.colour(0.5, 0.25) == [0, 255, 0]
    shown.click("#none")
    assert shown.js("[...document.querySelectorAll('#classes input')].some((box) => box.checked)") is False
    shown.click("#all")
    assert shown.colour(0.5, 0.8) == [0, 0, 255]


def set_opacity(shown: Shown, percent: int) -> None:
    shown.js(
        "(() => { const o = document.getElementById('opacity'); o.value = arguments[0];"
        " o.dispatchEvent(new Event('input')); })()",
        percent,
    )
    assert shown.js("document.getElementById('opacity-value').textContent") == f"{percent} %"


def test_legend_and_figures_tell_what_the_stream_does(page):
    shown = page()
    shown.live.begin(lambda: (figures(trouble="the camera does not answer"),))
    shown.send(1)
    shown.open()
    shown.wait("document.querySelectorAll('#figures dd').length > 5")
    shown.wait("document.querySelector('#classes .share').textContent === '30.0 %'")
    told = shown.js("document.getElementById('below').innerText")
    for words in ("camera 0", "64 × 48", "25.0", "the camera does not answer", "infer 2.0"):
        assert words in told
    ink = (
        "(() => { const c = document.getElementById('age-plot');"
        " return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 5; })()"
    )
    shown.wait(ink)


def test_frozen_picture_stays_and_comes_back_to_life(page):
    shown = page()
    shown.send(1)
    shown.open()
    shown.wait(DRAWN)
    shown.click("#freeze")
    assert shown.js("document.getElementById('freeze').getAttribute('aria-pressed')") == "true"
    shown.send(2)
    time.sleep(0.5)
    assert shown.colour(0.5, 0.25)[1] > 200
    shown.click("#freeze")
    shown.send(5)
    shown.wait("state.tiles[0].frame.header.index === 5")
    assert shown.colour(0.5, 0.25)[0] > 200


def test_snapshot_saves_the_picture_as_it_is_shown(page, browser, tmp_path):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    shown = page()
    shown.send(1)
    shown.open()
    shown.wait(DRAWN)
    set_opacity(shown, 100)
    shown.click("#snapshot")
    until = time.monotonic() + PATIENCE_S
    while not (saved := list(tmp_path.glob("fcn-edge-0-1.png"))):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert cv2.imread(str(saved[0]))[12, 32].tolist() == [0, 255, 0]


def test_frame_that_grows_old_is_marked_with_its_age(page):
    shown = page()
    shown.live.begin(lambda: (figures(state="retrying"),))
    shown.send(1)
    shown.open()
    shown.wait(DRAWN)
    shown.wait("document.querySelector('.tile').classList.contains('old')")
    assert shown.js("document.querySelector('.veil').textContent").startswith("last frame ")
    assert shown.js("document.querySelector('.tile .pill').textContent") == "retrying"


def test_end_of_the_run_is_reported_and_a_new_run_is_found_again(page):
    shown = page()
    shown.send(1)
    shown.open()
    shown.wait(DRAWN)
    shown.live.close()
    shown.wait("document.getElementById('link').textContent === 'run ended'")
    again = page(shown.live.uri)
    again.send(4)
    shown.wait("state.tiles[0].frame && state.tiles[0].frame.header.index === 4")
    shown.browser.get_log("browser")  # it tried in vain meanwhile, and says so


def test_token_is_taken_from_the_address_and_vanishes_from_it(page, monkeypatch):
    monkeypatch.setenv("FCN_EDGE_TOKEN", "correct-horse-battery")
    shown = page("http://:0")
    shown.live.uri = shown.live.uri.replace("http://:", "http://127.0.0.1:")
    shown.send(1)
    shown.open("/")
    shown.wait("!document.getElementById('ask').hidden")
    shown.browser.find_element("id", "token").send_keys("wrong-horse-battery\n")
    shown.wait(
        "!document.getElementById('ask').hidden && document.getElementById('link').textContent === 'token required'"
    )
    shown.open("/?again#token=correct-horse-battery")
    shown.wait(DRAWN)
    assert "token" not in shown.js("location.href")


@pytest.mark.parametrize("is_dark", [False, True])
def test_phone_shows_all_without_scrolling_sideways_and_fingers_hit_the_controls(page, is_dark):
    shown = page(sources=("a camera with a name that is far too long for the line that it stands on",))
    shown.live.begin(lambda: (figures(),))
    shown.send(1)
    shown.open(size=PHONE, is_dark=is_dark)
    shown.wait("document.querySelectorAll('#figures dd').length > 5")
    assert shown.js("document.documentElement.scrollWidth") == PHONE[0]
    targets = shown.js(
        "[...document.querySelectorAll('button, input, #classes label')].filter((e) => e.offsetParent)"
        ".map((e) => e.matches('#classes input') ? e.parentNode : e).map((e) => e.getBoundingClientRect())"
        ".map((box) => Math.min(box.width, box.height))"
    )
    assert len(targets) >= 8 and min(targets) >= SMALLEST_TARGET
    seen = shown.picture(f"phone-{'dark' if is_dark else 'light'}")
    assert (seen[-40:, :4].mean() < 60) == is_dark


def test_everything_to_press_has_a_name_and_is_reached_by_keys(page):
    shown = page(sources=("front", "back"))
    shown.send(1)
    shown.send(1, stream=1)
    shown.open()
    shown.wait("document.querySelectorAll('.tile').length === 2")
    names = shown.js(
        "[...document.querySelectorAll('button, input:not([type=password]), .tile')].map((e) =>"
        " e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0].textContent) || e.textContent)"
    )
    assert all(name.strip() for name in names)
    unreachable = "[...document.querySelectorAll('button, input, .tile')].filter((e) => e.tabIndex < 0).length"
    assert shown.js(unreachable) == 0


def test_several_streams_have_tiles_and_the_chosen_one_s_figures_are_shown(page):
    shown = page(sources=("front", "back"))
    shown.live.begin(lambda: (figures(0), figures(1, state="lost")))
    shown.send(1)
    shown.send(2, stream=1)
    shown.open()
    shown.wait(DRAWN)
    assert shown.colour(0.5, 0.25)[1] > 200 and shown.colour(0.5, 0.25, tile=1)[0] > 200
    shown.browser.find_elements("css selector", ".tile")[1].send_keys("\n")
    shown.wait("document.getElementById('source-name').textContent === 'camera 1'")
    assert shown.js("document.querySelectorAll('.tile .pill')[1].textContent") == "lost"


def test_class_under_the_pointer_is_named(page):
    from selenium.webdriver import ActionChains

    shown = page()
    shown.send(1)
    shown.open()
    shown.wait(DRAWN)
    canvas = shown.browser.find_element("css selector", ".tile canvas")
    shown.wait("document.querySelector('.tile canvas').getBoundingClientRect().height > 200")
    for offset, name in ((-0.3, "green"), (0.3, "blue")):
        ActionChains(shown.browser).move_to_element_with_offset(
            canvas, 0, int(offset * canvas.size["height"])
        ).perform()
        assert shown.js("document.querySelector('.probe').textContent") == name


@pytest.mark.skipif(not REAL_VIDEO.is_file(), reason=f"{REAL_VIDEO} is not on this machine: no picture of a street")
def test_page_of_a_real_street(browser, monkeypatch):
    """The packaged network on a real drive, with a region and an event; the README's picture."""
    from fcn_edge.engines import model_path, open_engine

    monkeypatch.chdir(REAL_VIDEO.parent)  # so that the page names the file and not the machine
    with open_engine(model_path(None)) as engine, source_from_uri(REAL_VIDEO.name) as source:
        engine_run(engine, source, browser)


def engine_run(engine, source, browser) -> None:
    from contextlib import ExitStack

    lane = region_from_text("lane=0.42,0.62 0.58,0.62 0.9,1 0.15,1")
    rules = (rule_from_text("road in lane > 80% for 1s", engine.spec, [lane]),)
    with ExitStack() as ends:
        options = SinkOptions(regions=(lane,), rules=rules)
        sinks = sinks_of_sources(["http://127.0.0.1:0"], engine, [source], ends, options=options)[0]
        shown = Shown(browser, sinks[0])
        work = functools.partial(run_into, source, engine, sinks, policy="newest", style=Style(overlay=False))
        worker = threading.Thread(target=work)
        worker.start()
        shown.open()
        shown.wait("state.tiles[0] && state.tiles[0].frame && state.tiles[0].frame.header.index > 150")
        seen = shown.picture("live")
        assert shown.js("document.getElementById('events').innerText").count("road in lane > 80%") >= 2
        assert seen.shape == (*DESK[::-1], 3)
        worker.join(PATIENCE_S)
