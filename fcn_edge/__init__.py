"""fcn-edge: trained FCN segmentation networks in real time on the edge.

    import fcn_edge as fe

    with fe.open_engine("net.int8.onnx") as net:
        result = net.segment(image)

Importing this package loads nothing heavy; each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn_edge.benchmark import BenchOptions as BenchOptions
    from fcn_edge.benchmark import bench as bench
    from fcn_edge.build import build_engine as build_engine
    from fcn_edge.calibration import calibrate as calibrate
    from fcn_edge.comparison import Comparison as Comparison
    from fcn_edge.comparison import compare as compare
    from fcn_edge.data import Dataset as Dataset
    from fcn_edge.data import open_dataset as open_dataset
    from fcn_edge.engines import Engine as Engine
    from fcn_edge.engines import EngineOptions as EngineOptions
    from fcn_edge.engines.manifest import Manifest as Manifest
    from fcn_edge.engines.trt import PlanOptions as PlanOptions
    from fcn_edge.errors import BackendMissing as BackendMissing
    from fcn_edge.errors import BadInput as BadInput
    from fcn_edge.errors import CheckFailed as CheckFailed
    from fcn_edge.errors import FcnEdgeError as FcnEdgeError
    from fcn_edge.errors import SourceLost as SourceLost
    from fcn_edge.errors import Undecidable as Undecidable
    from fcn_edge.evaluation import Evaluation as Evaluation
    from fcn_edge.evaluation import evaluate as evaluate
    from fcn_edge.exporting import export as export
    from fcn_edge.frame import Frame as Frame
    from fcn_edge.frame import Result as Result
    from fcn_edge.frame import Style as Style
    from fcn_edge.gating import Verdict as Verdict
    from fcn_edge.gating import gate as gate
    from fcn_edge.metrics import Scores as Scores
    from fcn_edge.onnxmodel import OnnxModel as OnnxModel
    from fcn_edge.opening import open_engine as open_engine
    from fcn_edge.progress import Progress as Progress
    from fcn_edge.records import Record as Record
    from fcn_edge.streaming import run as run
    from fcn_edge.streaming import stream as stream
    from fcn_edge.streaming.summary import Summary as Summary
    from fcn_edge.training import train as train

_HOME = {
    # Functions.
    "open_engine": "opening",
    "open_dataset": "data",
    "stream": "streaming",
    "run": "streaming",
    "evaluate": "evaluation",
    "build_engine": "build",
    "bench": "benchmark",
    "gate": "gating",
    "train": "training",
    "export": "exporting",
    "calibrate": "calibration",
    "compare": "comparison",
    # Values.
    "Engine": "engines",
    "EngineOptions": "engines",
    "BenchOptions": "benchmark",
    "PlanOptions": "engines.trt",
    "Frame": "frame",
    "Result": "frame",
    "Style": "frame",
    "Summary": "streaming.summary",
    "Dataset": "data",
    "Evaluation": "evaluation",
    "Scores": "metrics",
    "OnnxModel": "onnxmodel",
    "Manifest": "engines.manifest",
    "Record": "records",
    "Verdict": "gating",
    "Comparison": "comparison",
    "Progress": "progress",
    # Errors.
    "FcnEdgeError": "errors",
    "CheckFailed": "errors",
    "BadInput": "errors",
    "BackendMissing": "errors",
    "SourceLost": "errors",
    "Undecidable": "errors",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fcn-edge")
    if name not in _HOME:
        raise AttributeError(f"module 'fcn_edge' has no attribute {name!r}")
    value = getattr(import_module(f"fcn_edge.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})
