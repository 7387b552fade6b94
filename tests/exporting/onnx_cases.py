"""All rows of small ONNX files and their expected meanings, by name."""

from __future__ import annotations

from tests.exporting.onnx_tables import functions, inputs, layers, naming, operators, outputs, resizing, structure

TABLES = (resizing, layers, operators, structure, functions, naming, inputs, outputs)
ROWS = tuple(case for table in TABLES for case in table.CASES)
CASES = {case.name: case for case in ROWS}
