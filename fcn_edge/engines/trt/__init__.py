"""TensorRT and TensorRT-RTX: an ONNX file becomes a plan, the compiler's own account of it, and an engine.

One adapter serves TensorRT 8.6 to 11 and TensorRT-RTX: it asks the module what it has and never
compares versions to choose a call. It knows nothing of data sets, and it holds no calibrator:
precision lives in the file. No vendor type leaves this folder; importing it loads no vendor package.
"""

from __future__ import annotations

from fcn_edge.engines.base import Layer
from fcn_edge.engines.trt.execution import PlanEngine
from fcn_edge.engines.trt.opening import engine_from_directory, engine_from_onnx
from fcn_edge.engines.trt.plan import Plan, plan_from_onnx
from fcn_edge.engines.trt.plan_options import (
    HardwareLevel,
    NvidiaTarget,
    PlanOptions,
    ShapeRange,
    trtexec_lines,
)
from fcn_edge.engines.trt.vendor import require_target

__all__ = [
    "HardwareLevel",
    "Layer",
    "NvidiaTarget",
    "Plan",
    "PlanEngine",
    "PlanOptions",
    "ShapeRange",
    "engine_from_directory",
    "engine_from_onnx",
    "plan_from_onnx",
    "require_target",
    "trtexec_lines",
]
