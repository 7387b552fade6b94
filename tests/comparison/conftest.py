"""Exported files with a fault planted in them, and what `compare` finds between two files."""

from __future__ import annotations

import os

import onnx
import pytest

from fcn_edge.onnxfile import METADATA_KEY, save_onnx, spec_from_onnx, with_metadata
from tests.comparison.planting import STREETS


@pytest.fixture
def planted(tmp_path):
    """A copy of an ONNX file, changed by `change(model)`; `spec` changes what it says of itself."""

    def plant(source, change=lambda model: None, spec=None):
        model = onnx.load(str(source))
        change(model)
        if spec is not None:
            with_metadata(model, METADATA_KEY, spec(spec_from_onnx(model, "planted")).to_json())
        path = tmp_path / f"planted{len(os.listdir(tmp_path))}.onnx"
        save_onnx(model, path)
        return path

    return plant


@pytest.fixture
def found(onnx_file):
    """What differs between the session's fp32 file, or `a`, and `b`."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing shows tensors")
    from fcn_edge.comparison import compare

    return lambda b, a=None, **options: compare(a or onnx_file, b, STREETS, **options)
