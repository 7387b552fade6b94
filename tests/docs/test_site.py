"""The docs site as `make docs` builds it: it fetches nothing from elsewhere, and a reader finds pages by searching."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import DESK, PATIENCE_S, PHONE, complaints_of, needs_browser, opened_browser, show_as

ROOT = Path(__file__).resolve().parents[2]
BUILT = ("mkdocs", "material", "mkdocstrings")
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"(\w+:[^\"]+)\"|<link\b[^>]*\bhref=\"(\w+:[^\"]+)\"")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, BUILT)), reason="mkdocs is not installed: pip install 'fcn-edge[docs]'"
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a broken link, a page that is in no menu and any warning end the build."""
    folder = tmp_path_factory.mktemp("site")
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "PATH": tools, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def wait_for(browser: Any, script: str) -> Any:
    """The value of `script` once it is true."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if value := browser.execute_script(f"return {script}"):
            return value
        time.sleep(0.1)
    raise AssertionError(f"never true: {script}")


def keep_picture(browser: Any, name: str) -> None:
    if folder := os.environ.get("FCN_EDGE_PICTURES"):
        browser.save_screenshot(str(Path(folder) / f"docs-{name}.png"))


def test_pages_fetch_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    fetched = {found for page in pages for found in FETCHED.findall(page.read_text(encoding="utf-8"))}
    assert fetched == set()


def test_references_are_generated_from_the_code(site):
    import fcn_edge
    from fcn_edge.cli._app import VERBS

    commands = (site / "reference/cli.html").read_text(encoding="utf-8")
    assert [verb for verb in VERBS if f'<h2 id="{verb}' not in commands] == []
    functions = (site / "reference/python.html").read_text(encoding="utf-8")
    assert [name for name in fcn_edge.__all__ if f'id="fcn_edge.{name}"' not in functions] == []
    assert "<code>source-lost</code>" in (site / "reference/errors.html").read_text(encoding="utf-8")


@needs_browser
def test_search_finds_the_page_about_calibration(site, browser):
    """From files, as they are unpacked from an artifact: no web server."""
    show_as(browser, DESK)
    browser.get((site / "index.html").as_uri())
    field = browser.find_element("css selector", "input.md-search__input")
    browser.execute_script("arguments[0].focus()", field)
    field.send_keys("calibration")
    links = wait_for(browser, "[...document.querySelectorAll('.md-search-result__link')].map((e) => e.href)")
    keep_picture(browser, "search")
    assert any("int8" in link or "calib" in link or "qdq" in link for link in links), links
    browser.get(links[0])
    assert "calibrat" in browser.find_element("css selector", "article").text.lower()
    assert complaints_of(browser) == []


@needs_browser
@pytest.mark.parametrize("page", ["get-started.html", "reference/cli.html", "benchmarks/sweep.html"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_page_has_a_title_and_does_not_scroll_sideways(site, browser, page, size):
    show_as(browser, size)
    browser.get((site / page).as_uri())
    assert browser.find_element("css selector", "article h1").text
    width = wait_for(browser, "document.documentElement.scrollWidth")
    keep_picture(browser, f"{Path(page).stem}-{size[0]}")
    assert width <= size[0]


def test_unknown_link_would_end_the_build(site, tmp_path):
    """The build is strict: a copy of the sources with one broken link fails."""
    for name in ("docs", "tools", "mkdocs.yml", "fcn_edge", "benchmarks", "export", "calib", "examples", ".github"):
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.onnx", "*.safetensors")
        shutil.copytree(source, tmp_path / name, ignore=ignored) if source.is_dir() else shutil.copy(source, tmp_path)
    for path in [*ROOT.glob("*.md"), ROOT / "CITATION.cff"]:
        shutil.copy(path, tmp_path)
    with (tmp_path / "docs/get-started.md").open("a", encoding="utf-8") as page:
        page.write("\n[nowhere](tutorials/nowhere.md)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "nowhere.md" in done.stderr
