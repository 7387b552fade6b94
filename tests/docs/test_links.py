"""Every link of the documents resolves: files, anchors, and the documents that code and tests name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("export", "calib", "benchmarks", "fcn_edge/zoo", "docs", ".github")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
NAMED = re.compile(r"\b(?:docs|benchmarks|export|calib)/[\w/-]+\.(?:md|png)\b")


def links_of(path: Path) -> Iterator[tuple[str, str]]:
    """(file, anchor) of every link that is no address; the file is empty for an anchor of the same document."""
    for link in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            file, _, anchor = link.partition("#")
            yield file, anchor


def anchors_of(path: Path) -> set[str]:
    """The anchors that headings get, as mkdocs and code hosts make them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {slug(heading) for heading in HEADING.findall(text)}


def slug(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path):
    broken = []
    for file, anchor in links_of(path):
        target = path.parent / file if file else path
        if not target.exists():
            broken.append(file)
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(target):
            broken.append(f"{file}#{anchor}")
    assert broken == []


def test_documents_that_code_names_exist():
    sources = [
        path for folder in ("fcn_edge", "tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")
    ]
    sources += [*(ROOT / "export").glob("*.toml"), *(ROOT / "benchmarks").glob("*.toml"), ROOT / "pyproject.toml"]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists() and path.parent.name != "docs"
    }
    assert missing == set()


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What runs, and where", "what-runs-and-where"),
        ("`[train.scenes]`", "trainscenes"),
        ("The original's padding of 100 pixels", "the-originals-padding-of-100-pixels"),
        ("2. A configuration file", "2-a-configuration-file"),
    ],
)
def test_anchor_of_a_heading(heading, anchor):
    assert slug(heading) == anchor
