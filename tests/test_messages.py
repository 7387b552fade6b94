"""Messages: those of the library name arguments, and tests assert facts of them, not sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "fcn_edge"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*(?![\w=-])")
OTHER_PROGRAMS = {"--show", "--system-site-packages", "--upgrade", "--version", "--int8", "--fp16"}  # trtexec, pip, …
TRTEXEC = "engines/trt/plan_options.py"  # its strings are the options of trtexec
MOST_WORDS = 2
ASSERTING = {"refused", "refuses", "assert_names"}
COLUMNS = {"fact", "facts"}  # parametrised values that are handed on to them
COMMANDS = ("fcn-edge ", "pip ")  # what a user is to type is a fact as a whole
DOCUMENTS = {"test_readme.py", "test_examples.py", "test_install.py", "test_rules.py"}  # they read documents


def test_library_messages_name_arguments():
    """`max_miou_drop`, not --max-miou-drop: the command line shows its own options (fcn_edge/cli/_print.py)."""
    options = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {option}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if "cli" not in path.parts and not path.match(TRTEXEC)
        for node in strings_but_docstrings(ast.parse(path.read_text(encoding="utf-8")))
        for option in OPTION.findall(node.value)
        if option not in OTHER_PROGRAMS
    ]
    assert options == []


def strings_but_docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docstrings = {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def test_facts_are_no_sentences():
    found = [
        f"{path.name}:{node.lineno}: {text}"
        for path, tree in trees()
        if path.name not in DOCUMENTS
        for node, text in facts_in(tree)
        if is_sentence(text) and not is_own(text, tree)
    ]
    assert found == []


def test_parametrised_facts_are_tuples():
    """One string would be taken apart into its letters, which any message has."""
    strings = [
        f"{path.name}:{value.lineno}"
        for path, tree in trees()
        for name, value in parametrised(tree)
        if name == "facts" and isinstance(value, (ast.Constant, ast.JoinedStr))
    ]
    assert strings == []


def test_no_sentence_is_searched_for_in_a_text():
    found = [
        f"{path.name}:{node.lineno}: {text}"
        for path, tree in trees()
        if path.name not in DOCUMENTS
        for node, text in searched(tree)
        if is_sentence(text) and not is_own(text, tree)
    ]
    assert found == []


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(TESTS.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def facts_in(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Strings that are asserted of a message: arguments of these functions, `match`, and parametrised facts."""
    given = [value for name, value in parametrised(tree) if name in COLUMNS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given += node.args if name in ASSERTING else []
            given += [keyword.value for keyword in node.keywords if keyword.arg == "match"]
    for value in given:
        yield from ((value, text) for text in texts_in(value))


def searched(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Strings that stand before `in` and `not in`, or are given to startswith and endswith."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            yield from ((node, text) for text in texts_in(node.left))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("startswith", "endswith"):
            yield from ((node, text) for value in node.args for text in texts_in(value))


def is_own(text: str, tree: ast.Module) -> bool:
    """The test says it elsewhere too: it asserts that its own words arrive."""
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    said = [value for value in constants if isinstance(value, str)]
    return sum(text.strip("#: \n") in value for value in said) > 1


def parametrised(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """(name, value) of each value that a test is parametrised with, where the values stand in the decorator."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.parametrize":
            names = ast.literal_eval(node.args[0])
            for row in node.args[1].elts if isinstance(node.args[1], (ast.List, ast.Tuple)) else ():
                if isinstance(names, str):
                    yield names, row
                elif isinstance(row, ast.Tuple):
                    yield from zip(names, row.elts)


def texts_in(value: ast.expr) -> list[str]:
    """The strings of an expression; what an f-string inserts counts as no word."""
    if isinstance(value, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else "_" for part in value.values)]
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) else []
    if isinstance(value, (ast.Tuple, ast.List)):
        return [text for part in value.elts for text in texts_in(part)]
    return texts_in(value.value) if isinstance(value, ast.Starred) else []


def is_sentence(text: str) -> bool:
    """More words than a term has; 1x64, (1, 2) and `net.onnx` are none."""
    words = [word for word in text.split() if re.fullmatch(r"\W*[A-Za-z']{2,}\W*", word)]
    return len(words) > MOST_WORDS and not text.startswith(COMMANDS)
