"""Plain English: words that only insiders understand do not occur in what people read.

Each word has the term that an engineer expects. `ALLOWED` lists the places where a word is used in its ordinary
sense, with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "export", "calib", "benchmarks", "fcn_edge/zoo", ".github")

# What is not written -> what is.
WORDS = {
    r"accuracy price|price of (?:every|a|each) millisecond": "latency against mIoU",
    r"whole story|tells? the story|\bstor(?:y|ies)\b": "runs end to end; layer report",
    r"\b(?:is|are|was|were|be) told\b|\btells (?:events|of|how|what|whether|which)\b": "reports",
    r"what (?:a|each|every|one) (?:frame|layer|stage|picture) costs": "per-frame latency",
    r"\bheld against\b|\bholds? (?:it|its|each|them|the \w+) against\b": "validated against, compared with",
    r"\bstages? (?:that|which|may) rests?\b|\bresting stages?\b|\blet .* rest\b": "skips deep stages",
    r"\bknows where it belongs\b|\bknows how to feed\b": "is checked against the device",
    r"\bask(?:s|ed)? (?:what|vendors|the vendor)\b|\bvendors are asked\b": "records what the vendor reports",
    r"\b(?:never|not) passes? (?:as|for) (?:new|a new)": "stateless",
    r"\bwhere (?:the pairs|Q/DQ|pairs) stands?\b": "Q/DQ placement",
    r"\bfour times in five\b|\b4 times in 5\b|\b4 in 5\b": "at 80 % power",
    r"\bflatter(?:s|ed|ing)?\b": "is optimistic",
    r"\bfalls? on (?:all|them) (?:alike|of them)\b|\btak(?:e|es|ing) turns\b|\bin turns\b": "interleaved rounds",
    r"\bGPU that answers\b|\bwhat is in the way\b": "usable GPU; problems",
    r"\banew\b": "again, rebuild",
    r"\byardsticks?\b": "reference workload",
    r"\bseal(?:s|ed)?\b": "checksum",
    r"\bshel(?:f|ves)\b": "registry",
    r"\bunder way\b": "in flight",
    r"\bmean IU\b": "mIoU",
    r"\bIUs?\b": "IoU",
}
PATTERNS = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in WORDS.items()}

# Modules whose docstrings, messages and comments are checked.
CLEAN = (
    "fcn_edge/buffers.py",
    "fcn_edge/cluster.py",
    "fcn_edge/engines/",
    "fcn_edge/frame.py",
    "fcn_edge/kernels.py",
    "fcn_edge/motion.py",
    "fcn_edge/native/",
    "fcn_edge/opening.py",
    "fcn_edge/schedule.py",
    "fcn_edge/streaming/",
    "fcn_edge/transforms.py",
)
CODE_SUFFIXES = (".py", ".hpp", ".cpp", ".cu", ".cmake", ".html", ".css", ".js")

# (file, words around the hit) -> why it is right there.
ALLOWED = {
    ("docs/explanation/paper.md", "mean IU"): "quotes the paper's tables in its own term",
    ("docs/explanation/paper.md", "Mean IU"): "says that this is the paper's term",
    ("CONTRIBUTING.md", "mean IU"): "the glossary names the paper's term",
    ("CHANGELOG.md", "`seal`"): "name of a key in manifests",
    ("CHANGELOG.md", "`story`"): "name of a key in manifests",
    ("docs/reference/json.md", "`yardstick"): "name of a key in records",
    ("benchmarks/METHOD.md", "`yardstick`"): "name of a key in records",
    ("ARCHITECTURE.md", "take turns"): "several sources literally take turns on one engine",
    ("docs/tutorials/service.md", "take turns"): "several sources literally take turns on one engine",
}


def hits(text: str, where: str) -> Iterator[str]:
    """A line for each word of `text` that is not written, with its place and the term to use."""
    for pattern, instead in PATTERNS.items():
        for found in pattern.finditer(text):
            around = text[max(0, found.start() - 40) : found.end() + 40]
            if not any(place == where and words in around for place, words in ALLOWED):
                line = text.count("\n", 0, found.start()) + 1
                yield f"{where}:{line}: {found[0]!r}; write: {instead}"


def documents() -> Iterator[tuple[str, str]]:
    """(file, text) of every document and issue form. Addresses and fenced code are left out."""
    paths = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[my][dm]*"))]
    for path in sorted(set(paths)):
        if path.suffix in (".md", ".yml"):
            text = path.read_text(encoding="utf-8")
            yield path.relative_to(ROOT).as_posix(), re.sub(r"\]\([^)\s]+\)", "]", text)


def help_texts() -> Iterator[tuple[str, str]]:
    """(command, help) of the program and of each command, with its options."""
    import typer

    from fcn_edge.cli import app, register_verbs

    register_verbs()
    waiting = [("fcn-edge", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        yield f"{name} --help", "\n".join([command.help or "", *(str(each.help or "") for each in command.params)])
        waiting += [(f"{name} {inner}", verb) for inner, verb in getattr(command, "commands", {}).items()]


def docstrings() -> Iterator[tuple[str, str]]:
    """(file, docstring) of the public modules, classes and functions of the package."""
    for path in sorted((ROOT / "fcn_edge").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                name, text = getattr(node, "name", ""), ast.get_docstring(node)
                if text and not name.startswith("_"):
                    yield f"{path.relative_to(ROOT)}:{name}", text


def messages() -> Iterator[tuple[str, str]]:
    """(file, text) of strings with spaces in the package that are no docstrings: errors, notes, reports."""
    for path in sorted((ROOT / "fcn_edge").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
        for node in constants:
            if isinstance(node.value, str) and " " in node.value:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def clean_modules() -> Iterator[tuple[str, str]]:
    """(place, text) of docstrings, messages and comments of the modules in `CLEAN`."""
    for where, text in (*docstrings(), *messages()):
        if where.startswith(CLEAN):
            yield where, text
    for path in sorted((ROOT / "fcn_edge").rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(CLEAN) and path.suffix in CODE_SUFFIXES:
            lines = path.read_text(encoding="utf-8").splitlines()
            yield name, "\n".join("".join(re.findall(r"(?:^|\s)(?:#|//|/\*) .*", line)) for line in lines)


SOURCES: tuple[Callable[[], Iterator[tuple[str, str]]], ...] = (documents, help_texts, clean_modules)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_words_of_insiders_do_not_occur(source):
    assert [hit for where, text in source() for hit in hits(text, where)] == []


@pytest.mark.parametrize("source", [*SOURCES, docstrings, messages], ids=lambda source: source.__name__)
def test_texts_are_found(source):
    assert sum(len(text) for _, text in source()) > 5000


def test_every_exception_is_used():
    texts = dict(documents())
    assert [key for key in ALLOWED if key[1] not in texts.get(key[0], "")] == []


@pytest.mark.parametrize(
    "text",
    ["held against the reference", "deep stages that rest", "mIoU flatters", "calibrate anew", "the export shelf"],
)
def test_word_of_an_insider_would_be_found(text):
    assert list(hits(text, "somewhere"))


@pytest.mark.parametrize("text", ["the rest of the frame", "turned upright", "a restored file", "in turn", "minIU8"])
def test_ordinary_word_is_no_hit(text):
    assert list(hits(text, "somewhere")) == []
