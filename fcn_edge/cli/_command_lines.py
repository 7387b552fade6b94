"""Calls of library functions that messages suggest, as the command lines that do the same."""

from __future__ import annotations

import ast
import re
import shlex

CALL = re.compile(r"`([a-z_]+\([^`]*\))`")
VERBS = {"build_engine": "build-engine", "calibrate": "calibrate", "export": "export", "open_engine": "run"}


def with_command_lines(text: str) -> str:
    """`build_engine("a.onnx", "out", target="openvino")` becomes fcn-edge build-engine a.onnx --out out --target …

    Only in backticks, only functions that are a verb, and only where each argument is a constant; the second
    positional argument is what is written. Anything else stays as it is.
    """
    return CALL.sub(lambda match: _command_line(match[1]) or match[0], text)


def _command_line(call: str) -> str | None:
    try:
        node = ast.parse(call, mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in VERBS:
            return None
        model, *out = (str(ast.literal_eval(value)) for value in node.args)
        options = {str(keyword.arg): str(ast.literal_eval(keyword.value)) for keyword in node.keywords}
    except (SyntaxError, ValueError):
        return None
    words = ["fcn-edge", VERBS[node.func.id], model]
    for name, value in [("out", value) for value in out] + list(options.items()):
        words += [f"--{name.replace('_', '-')}", value]
    return shlex.join(words)
