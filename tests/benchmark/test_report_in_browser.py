"""The report of a committed record in a real browser: painted, on a desk, on a phone and on paper.

    FCN_EDGE_PICTURES=docs/images pytest tests/benchmark/test_report_in_browser.py -k picture

rewrites docs/images/report.png, which docs/benchmarks/index.md shows.
"""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fcn_edge.benchmark import write_report
from fcn_edge.records import Record
from tests.benchrecords import record as whole_record
from tests.benchrecords import row
from tests.browser import DESK, PHONE, complaints_of, needs_browser, opened_browser, show_as

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benchmarks" / "records" / "sweep.amd-epyc-2c.json.xz"
PICTURE = ROOT / "docs" / "images" / "report.png"
A4 = (794, 1123)  # CSS pixels

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Addresses and numbers of rows of two reports: of the record, and of many networks with long names."""
    many = [
        row(precision, target, model=f"a_network_with_a_rather_long_name_{number}_camvid", height=side, ms=5.0 + number)
        for number in range(6)
        for side in (240, 360, 480)
        for precision, target in (("fp32", "openvino"), ("int8", "openvino"), ("int8", "onnxruntime"))
    ]
    found = {}
    for name, record in (("own", Record.from_file(RECORD)), ("many", whole_record(*many))):
        path = write_report(record, tmp_path_factory.mktemp("report"))["html"]
        found[name] = path.as_uri(), len(record.rows)
    return found


@pytest.fixture
def shown(browser, pages):
    """Opens a report; afterwards the browser must have complained of nothing."""

    def opened(size=DESK, which="own", **words):
        show_as(browser, size, **words)
        browser.get(pages[which][0])
        return browser

    yield opened
    assert complaints_of(browser) == []


def js(browser, code):
    return browser.execute_script(f"return {code}")


def pixels(browser) -> np.ndarray:
    """(H, W, 3) RGB of the window."""
    png = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    return np.array(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


def keep(seen, name):
    """Write the picture where FCN_EDGE_PICTURES says, with the hash of the record that it shows."""
    if folder := os.environ.get("FCN_EDGE_PICTURES"):
        told = PngInfo()
        told.add_text("record", Record.from_file(RECORD).sha256)
        Image.fromarray(seen).save(Path(folder) / f"{name}.png", pnginfo=told, optimize=True)


def test_picture_of_the_report_is_painted(shown):
    browser = shown()
    rows = Record.from_file(RECORD).competing_rows
    assert js(browser, "document.querySelectorAll('#scatter .point').length") == len(rows)
    box = js(browser, "document.getElementById('scatter').getBoundingClientRect()")
    seen = pixels(browser)
    assert seen.shape == (*DESK[::-1], 3) and box["width"] > 900 and box["top"] < DESK[1]
    chart = seen[int(box["top"]) :, int(box["left"]) : int(box["right"])].reshape(-1, 3)
    assert len(np.unique(chart[::7], axis=0)) > 20, "marks, lines and words"
    keep(seen, "report")


@pytest.mark.parametrize(("which", "is_dark"), [("own", True), ("many", False)])
def test_phone_shows_all_without_scrolling_sideways(shown, which, is_dark):
    browser = shown(PHONE, which, is_dark=is_dark)
    assert js(browser, "document.documentElement.scrollWidth") == PHONE[0]
    seen = pixels(browser)
    assert (seen[-30:, :4].mean() < 60) == is_dark
    if is_dark:
        keep(seen, "report-phone-dark")


def test_names_in_the_chart_cover_neither_each_other_nor_its_edges(shown):
    browser = shown()
    chart = js(browser, "document.getElementById('scatter').getBoundingClientRect()")
    boxes = js(browser, "[...document.querySelectorAll('#scatter text')].map((e) => e.getBoundingClientRect())")
    assert len(boxes) > 10
    for number, one in enumerate(boxes):
        assert one["left"] >= chart["left"] - 1 and one["right"] <= chart["right"] + 1
        for other in boxes[:number]:
            apart = one["right"] <= other["left"] + 2 or other["right"] <= one["left"] + 2
            assert apart or one["bottom"] <= other["top"] + 4 or other["bottom"] <= one["top"] + 4


@pytest.mark.parametrize("which", ["own", "many"])
def test_paper_has_no_controls_and_nothing_beyond_its_edge(shown, pages, which):
    browser = shown(A4, which, is_dark=True, media="print")
    assert js(browser, "getComputedStyle(document.getElementById('filters')).display") == "none"
    assert js(browser, "getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    beyond = (
        f"[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > {A4[0]} + 1).length"
    )
    assert js(browser, beyond) == 0
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF") and 1 <= pdf.count(b"/Type /Page\n") <= 4 + pages[which][1] / 4


def test_picture_in_the_docs_is_of_this_record():
    assert Image.open(PICTURE).text["record"] == Record.from_file(RECORD).sha256, (
        "make it anew, see the top of this file"
    )
    assert "images/report.png" in (ROOT / "docs/benchmarks/index.md").read_text(encoding="utf-8")
