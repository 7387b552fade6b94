"""Reference pages that people wrote list what the code has: keys of files, variables, keys of JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import words_of

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
VARIABLE = re.compile(r"\bFCN_EDGE_[A-Z]+(?:_[A-Z]+)*\b")
OF_THE_BUILD = {"FCN_EDGE_CUDA_ARCHITECTURES"}  # an option of CMake
VALUES = {"pass", "fail", "undecidable"}  # of keys, not keys


def text_of(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def keys_of_tables(text: str) -> set[str]:
    """Names in backticks in the first columns."""
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w-]+)(?:\[\])?`", row)}


def fields_of(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_every_key_of_a_spec_is_listed():
    from fcn_edge.exporting.foreign_spec import ForeignSpec

    assert fields_of(ForeignSpec) == keys_of_tables(text_of("spec.md"))


def test_every_key_of_a_recipe_is_listed():
    from fcn_edge.registry import InputRecipe, NetworkRecipe, Recipe, SceneRecipe, TrainRecipe

    nested = {"name", "network", "input", "train", "scenes"}
    kinds = (Recipe, NetworkRecipe, InputRecipe, TrainRecipe, SceneRecipe)
    assert set().union(*map(fields_of, kinds)) - nested == keys_of_tables(text_of("recipes.md")) - {"network", "input"}


def test_every_variable_is_listed():
    sources = [path for folder in ("fcn_edge", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    assert used - OF_THE_BUILD - set(VARIABLE.findall(text_of("environment.md"))) == set()


def keys_in(value: Any) -> Iterator[str]:
    """Every key of an object and of what it holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_in(inner)


@pytest.mark.slow
def test_json_has_the_keys_that_its_page_lists(int8_file, tmp_path):
    """In order: `gate` reads the record that `bench` writes."""
    video = [sys.executable, "-m", "fcn_edge", "run", str(int8_file), "--limit", "20"]
    source = ["--source", "synthetic:street,video=1,images=20,size=64x96", "--sink", "drive.mp4"]
    subprocess.run([*video, *source], cwd=tmp_path, check=True, capture_output=True)
    checked = 0
    for section in text_of("json.md").split("\n## ")[1:]:
        for line in re.findall(r"^(fcn-edge .* --json)", section, re.MULTILINE):
            command = [sys.executable, "-m", "fcn_edge", *words_of(line)]
            done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            after = section.partition("```\n")[2]
            listed = set(re.findall(r"`([a-z][a-z0-9_]*)(?:\[\])?`", after)) - VALUES
            assert listed - set(keys_in(json.loads(done.stdout))) == set(), line
            checked += len(listed)
    assert checked > 60
