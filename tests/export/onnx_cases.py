"""All rows of small ONNX files and their expected meanings, by name."""

from __future__ import annotations

from tests.export.onnx_tables import layers, operators, resizing

CASES = {case.name: case for case in (*resizing.CASES, *layers.CASES, *operators.CASES)}
