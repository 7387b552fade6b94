"""Hooks of mkdocs: files outside docs/, and the reference pages that are generated from the code.

Links in the documents are links of the repository, so that they work on a code host and in an editor. For the
site, a document outside docs/ becomes a page, and every other file that a page links to is copied to files/.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the code beside this file, not one that happens to be installed

# Document of the repository -> page of the site.
DOCUMENTS = {
    "ARCHITECTURE.md": "project/ARCHITECTURE.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "CODE_OF_CONDUCT.md": "project/CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "SECURITY.md": "project/SECURITY.md",
    "benchmarks/METHOD.md": "benchmarks/METHOD.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "calib/README.md": "project/calib.md",
    "export/README.md": "project/export.md",
    "fcn_edge/zoo/README.md": "project/zoo.md",
    "README.md": "index.md",  # docs/index.md stands in for it
}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
CODE = re.compile(r"(```.*?^```|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- generated: ([a-z-]+) -->")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the documents outside docs/, and whatever the pages link to."""
    for document, page in DOCUMENTS.items():
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / document)))
    for page in [file for file in files if file.is_documentation_page()]:
        for target in linked_files(page):
            if files.get_file_from_path(page_of(target)) is None:
                files.append(File.generated(config, page_of(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository become links of the site; generated parts are put in."""
    place = place_of(page.file)

    def relinked(found: re.Match[str]) -> str:
        target, anchor = target_of(found[2], place)
        if target is None:
            return found[0]
        site = page_of(target)
        return f"{found[1]}{posixpath.relpath(site, posixpath.dirname(page.file.src_uri) or '.')}{anchor}{found[3]}"

    markdown = outside_code(markdown, lambda text: LINK.sub(relinked, text))
    return GENERATED.sub(lambda found: GENERATORS[found[1]](), markdown)


def linked_files(file: File) -> Iterator[str]:
    """Files outside docs/ that a page links to, below the repository's root."""
    place = place_of(file)
    links: list[str] = []
    outside_code(file.content_string, lambda text: links.extend(found[2] for found in LINK.finditer(text)) or text)
    for link in links:
        target, _ = target_of(link, place)
        if target is not None and page_of(target).startswith("files/"):
            if not (ROOT / target).is_file():
                raise PluginError(f"{place}: {link}: not a file of the repository")
            yield target


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """`markdown` with `change` applied to what is no code."""
    parts = CODE.split(markdown)
    return "".join(part if CODE.fullmatch(part) else change(part) for part in parts)


def place_of(file: File) -> str:
    """Where a page's source lies in the repository."""
    return os.path.relpath(str(file.abs_src_path), ROOT)


def target_of(link: str, place: str) -> tuple[str | None, str]:
    """(file of the repository that a link names, #anchor); None for addresses, anchors alone and links inside docs/."""
    path, mark, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return None, ""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    inside = target.startswith("docs/") and place.startswith("docs/")
    return (None if inside else target), mark + anchor


def page_of(target: str) -> str:
    """The source of the site that a file of the repository has."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    shown = "/".join(part.removeprefix(".") for part in target.split("/"))  # mkdocs leaves hidden files out
    return DOCUMENTS.get(target, f"files/{shown}")


def command_reference() -> str:
    """Every command with its help, as typer has it: text, arguments and options."""
    import typer

    from fcn_edge.cli import app, register_verbs

    register_verbs()
    group: Any = typer.main.get_command(app)
    context = group.make_context("fcn-edge", [], resilient_parsing=True)
    return "\n\n".join(
        part for name in group.list_commands(context) for part in sections_of(group.commands[name], name)
    )


def sections_of(command: Any, name: str) -> Iterator[str]:
    """Heading, text, examples and options of a command; of a group, those of each of its commands."""
    for inner, verb in getattr(command, "commands", {}).items():
        yield from sections_of(verb, f"{name} {inner}")
    if hasattr(command, "commands"):
        return
    text, _, examples = re.sub(r"^ *Example:\n", "Examples:\n", command.help or "", flags=re.MULTILINE).partition(
        "Examples:\n"
    )
    yield f"## {name}"
    yield unwrapped(text)
    if examples:
        yield f"```sh\n{dedented(examples)}\n```"
    with command.make_context(name, [], resilient_parsing=True) as context:
        rows = [option_row(parameter, context) for parameter in command.params]
    yield "| argument or option | meaning |\n|---|---|\n" + "\n".join(rows)


def unwrapped(text: str) -> str:
    """Paragraphs of a help text, each on one line, with options and files as code."""
    paragraphs = [" ".join(part.replace("\b", "").split()) for part in text.split("\n\n")]
    coded = (re.sub(r"(?<![`\w-])(--[a-z][a-z-]+)", r"`\1`", part) for part in paragraphs if part)
    return "\n\n".join(re.sub(r"([*_<])(?=\S)", r"\\\1", part) for part in coded)


def dedented(examples: str) -> str:
    lines = [line for line in examples.replace("\b", "").splitlines() if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[margin:] for line in lines)


def option_row(parameter: Any, context: Any) -> str:
    """One row: how the parameter is written, and its help with default and range."""
    name, text = parameter.get_help_record(context)
    name = re.sub(r"[\[<]list\[(\w+)\][\]>]", r"<\1>", name).replace("|", "&#124;")
    text = re.sub(r"(?<![`\w-])(--[a-z][a-z-]+)", r"`\1`", " ".join(text.split()))
    return f"| <code>{name.replace('<', '&lt;')}</code> | {text.replace('<', '&lt;').replace('|', '&#124;')} |"


def python_reference() -> str:
    """The public names of the package, documented by mkdocstrings: functions, values, errors."""
    import fcn_edge

    homes: dict[str, str] = fcn_edge._HOME
    kinds = {
        "Functions": [name for name in homes if name.islower()],
        "Values": [name for name in homes if not name.islower() and homes[name] != "errors"],
        "Errors": [name for name in homes if homes[name] == "errors"],
    }
    parts = []
    for title, names in kinds.items():
        parts += [f"## {title}", *(f"::: fcn_edge.{name}" for name in names)] if names else []
    return "\n\n".join(parts)


def error_table() -> str:
    """Every error class with its code, exit code and meaning."""
    from fcn_edge import errors

    def below(kind: type) -> Iterator[type]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    rows = ["| code | exit code | Python class | meaning |", "|---|---|---|---|"]
    for kind in below(errors.FcnEdgeError):
        meaning = " ".join((kind.__doc__ or "").strip().splitlines()[0].split())
        if kind.__module__ == "fcn_edge.errors":
            rows.append(f"| `{kind.code}` | {kind.exit_code} | `{kind.__name__}` | {meaning} |")
    return "\n".join(rows)


GENERATORS: dict[str, Callable[[], str]] = {
    "command-line": command_reference,
    "python": python_reference,
    "errors": error_table,
}
