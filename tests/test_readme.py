"""Every command that a document or a verb's own help shows is one that the program understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fcn_edge.cli import app, register_verbs

register_verbs()
ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("", "export", "calib", "benchmarks", "fcn_edge/zoo")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
LONGEST_README = 120  # lines
SHELL_BLOCK = re.compile(r"^```(?:console|sh|bash|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLES = re.compile(r"^(?:[A-Z_]+=\S* )+")  # set for one command
INDENTED = re.compile(r"^ {4}(fcn-edge .*)$", re.MULTILINE)
INLINE = re.compile(r"`(fcn-edge(?: [^`]*)?)`")


def shown_commands(text: str) -> Iterator[str]:
    """Whole command lines of fenced shell blocks and of indented code, continued lines joined."""
    joined = text.replace("\\\n", " ")
    for block in SHELL_BLOCK.findall(joined):
        lines = (VARIABLES.sub("", line.strip().removeprefix("$ ")) for line in block.splitlines())
        yield from (line for line in lines if line.startswith("fcn-edge"))
    yield from INDENTED.findall(joined)


def words_of(line: str) -> list[str]:
    """The words behind fcn-edge; comments, redirections and what follows them are the shell's."""
    return shlex.split(re.split(r"\s(?:[#|&;<>]|\d>)", line, maxsplit=1)[0])[1:]


def check(words: list[str]) -> None:
    """Parse as the program would, and run nothing. Raises what the program answers wrong words with."""
    name, *rest = words
    if "--config" in rest:  # read at once; tests/docs/test_commands.py runs these
        del rest[rest.index("--config") : rest.index("--config") + 2]
    command, rest = command_of([name, *rest])
    command.make_context(name, rest)


def command_of(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """The verb that the words begin with, such as `data check`, and the words behind it."""
    command, rest = typer.main.get_command(app).commands[words[0]], words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def is_help(words: list[str]) -> bool:
    return "--help" in words or "-h" in words or words == ["--version"]


COMMANDS = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line[:60]}")
    for path in DOCUMENTS
    for line in shown_commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("line", COMMANDS)
def test_shown_command_is_understood(line):
    words = words_of(line)
    if not is_help(words):
        check(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_verbs_and_options_in_running_text_exist(path):
    group = typer.main.get_command(app)
    for line in INLINE.findall(path.read_text(encoding="utf-8")):
        words = line.split()[1:]
        if not words or words[0].startswith("-") or words[0].isupper() or words[0] == "…":
            continue
        assert words[0] in group.commands, line
        known = {option for parameter in command_of(words)[0].params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_every_verb_is_in_the_documents():
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert [name for name in typer.main.get_command(app).commands if f"fcn-edge {name}" not in text] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@pytest.mark.slow
def test_examples_of_every_verb_are_understood():
    for name, verb in typer.main.get_command(app).commands.items():
        examples = re.findall(r"^ *(fcn-edge .*)$", (verb.help or "").replace("\\\n", " "), re.MULTILINE)
        assert examples, name
        for line in examples:
            assert line.split()[1] == name
            check(words_of(line))


@pytest.mark.parametrize(
    "line", ["fcn-edge bech --data x", "fcn-edge run --sauce 0", "fcn-edge gate record.json", "fcn-edge train"]
)
def test_command_that_does_not_exist_would_be_found(line):
    with pytest.raises((KeyError, typer.TyperException)):  # an unknown verb, or what click raises
        check(words_of(line))


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("```sh\nfcn-edge run \\\n  --source 0\n```", ["fcn-edge run    --source 0"]),
        ("```console\n$ fcn-edge doctor\nok\n```", ["fcn-edge doctor"]),
        ("```sh\nCUDA_VISIBLE_DEVICES=0 fcn-edge run &\n```", ["fcn-edge run &"]),
        ("```python\nfcn-edge run\n```", []),
        ("text\n\n    fcn-edge models\n", ["fcn-edge models"]),
    ],
)
def test_commands_are_found_where_people_read_them(text, commands):
    assert list(shown_commands(text)) == commands


def test_the_shell_s_part_of_a_line_is_left_to_it():
    assert words_of("fcn-edge run --json > out.json  # a run") == ["run", "--json"]
    assert words_of("fcn-edge bench --suite street | tee log") == ["bench", "--suite", "street"]
