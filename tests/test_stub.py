"""The stub of the compiled kernels has the names and parameters that the compiled module has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fcn_edge

native = pytest.importorskip("fcn_edge._native", reason="the native kernels are not built: no stub was compared")
stubgen = pytest.importorskip("nanobind.stubgen", reason="nanobind is not installed: no stub was compared")


def parameters_in(source: str) -> dict[str, list[str]]:
    """Qualified name of each function -> its parameters, those with a default marked."""
    found = {}
    for owner in ast.walk(ast.parse(source)):
        if isinstance(owner, ast.Module | ast.ClassDef):
            prefix = "" if isinstance(owner, ast.Module) else f"{owner.name}."
            for node in owner.body:
                if isinstance(node, ast.FunctionDef):
                    names = [argument.arg for argument in node.args.args]
                    first_default = len(names) - len(node.args.defaults)
                    found[prefix + node.name] = [n + "=" * (i >= first_default) for i, n in enumerate(names)]
    return found


def test_stub_describes_the_compiled_module():
    generator = stubgen.StubGen(native)
    generator.put(native)
    stub = Path(fcn_edge.__file__).with_name("_native.pyi").read_text(encoding="utf-8")
    assert parameters_in(stub) == parameters_in(generator.get())
