"""fcn-edge: trained FCN segmentation networks at real time on the edge.

    from fcn_edge import open_engine
    view = open_engine("model.int8.onnx").segment(image)

Importing this package loads nothing heavy; each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn_edge.benchmark import bench
    from fcn_edge.build import build_engine
    from fcn_edge.calibration import calibrate
    from fcn_edge.comparison import compare
    from fcn_edge.data import dataset_from_name
    from fcn_edge.evaluation import evaluate
    from fcn_edge.exporting import export
    from fcn_edge.gating import gate
    from fcn_edge.opening import open_engine

__all__ = [
    "bench",
    "build_engine",
    "calibrate",
    "compare",
    "dataset_from_name",
    "evaluate",
    "export",
    "gate",
    "open_engine",
]

_HOME = {
    "bench": "benchmark",
    "build_engine": "build",
    "calibrate": "calibration",
    "compare": "comparison",
    "dataset_from_name": "data",
    "evaluate": "evaluation",
    "export": "exporting",
    "gate": "gating",
    "open_engine": "opening",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fcn-edge")
    if name not in _HOME:
        raise AttributeError(f"module 'fcn_edge' has no attribute {name!r}")
    return getattr(import_module(f"fcn_edge.{_HOME[name]}"), name)
