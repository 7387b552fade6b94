"""The Python reference is complete: each public function describes every parameter, and no other."""

from __future__ import annotations

import inspect
import re

import pytest

import fcn_edge

FUNCTIONS = sorted(name for name in fcn_edge.__all__ if name.islower())


def described(docstring: str) -> set[str]:
    """Names in front of the colons of the section Args; `a, b: …` describes both."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n|\n)+)", docstring + "\n", re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+(?:, \w+)*):", section[1], re.MULTILINE) if section else []
    return {name for entry in entries for name in entry.split(", ")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_describes_every_parameter(name):
    function = getattr(fcn_edge, name)
    assert described(inspect.getdoc(function) or "") == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_says_what_it_returns_raises_and_how_it_is_called(name):
    text = inspect.getdoc(getattr(fcn_edge, name)) or ""
    missing = [title for title in ("Returns", "Yields", "Raises", "Example") if f"\n{title}:" not in text]
    assert set(missing) <= {"Returns", "Yields"} and len(missing) < 2, missing


def test_names_are_read_from_the_section():
    text = "Do it.\n\nArgs:\n    a: one: two.\n        c: no name.\n    b, d: both.\n\nReturns:\n    x: a thing.\n"
    assert described(text) == {"a", "b", "d"}
