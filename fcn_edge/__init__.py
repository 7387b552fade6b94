"""fcn-edge: trained FCN segmentation networks at real time on the edge.

    from fcn_edge import open_engine
    view = open_engine("model.int8.onnx").segment(image)

Importing this package loads nothing heavy; each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn_edge.bench import record_from_engines
    from fcn_edge.build import build_engine
    from fcn_edge.calib import int8_from_onnx
    from fcn_edge.compare import compare_artefacts
    from fcn_edge.data import dataset_from_name
    from fcn_edge.engines import open_engine
    from fcn_edge.evaluate import evaluate_engine
    from fcn_edge.export import onnx_from_checkpoint
    from fcn_edge.gate import verdict_from_records

__all__ = [
    "build_engine",
    "compare_artefacts",
    "dataset_from_name",
    "evaluate_engine",
    "int8_from_onnx",
    "onnx_from_checkpoint",
    "open_engine",
    "record_from_engines",
    "verdict_from_records",
]

_HOME = {
    "build_engine": "build",
    "compare_artefacts": "compare",
    "dataset_from_name": "data",
    "evaluate_engine": "evaluate",
    "int8_from_onnx": "calib",
    "onnx_from_checkpoint": "export",
    "open_engine": "engines",
    "record_from_engines": "bench",
    "verdict_from_records": "gate",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fcn-edge")
    if name not in _HOME:
        raise AttributeError(f"module 'fcn_edge' has no attribute {name!r}")
    return getattr(import_module(f"fcn_edge.{_HOME[name]}"), name)
