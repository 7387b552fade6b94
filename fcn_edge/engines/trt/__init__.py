"""TensorRT and TensorRT-RTX: compile ONNX files to plans, report their layers, and run them.

One adapter supports TensorRT 8.6 to 11 and TensorRT-RTX: it tests for attributes of the module instead of
comparing versions. It does not use data sets and has no calibrator: the ONNX file determines precision.
Vendor types are private to this folder; importing it does not import a vendor package.
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
