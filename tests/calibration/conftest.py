"""Files of every precision from one network and one table, each made once a session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest


@pytest.fixture(scope="session")
def quantized(onnx_file: Path, table_file: Path) -> Callable[..., Any]:
    """`quantized_file` of the session's network and table, for a precision and a placement."""
    from fcn_edge.calibration import quantized_file, table_from_file

    @functools.cache
    def make(precision: str, placement: str = "any") -> Any:
        out = onnx_file.with_name(f"tiny.{precision}.{placement}.onnx")
        table = table_from_file(table_file) if precision.startswith("int8") else None
        return quantized_file(onnx_file, out, precision=precision, table=table, placement=placement)

    return make


@pytest.fixture
def image_folder(tmp_path: Path, street: Callable[..., Any]) -> Path:
    """Three streets as JPEG files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"street{number}.jpg"), street(number)[0])
    return folder
