"""TensorRT and TensorRT-RTX: an ONNX file becomes a plan, and the compiler's own account of it.

One adapter serves TensorRT 8.6 to 11 and TensorRT-RTX: it asks the module what it has and never
compares versions. It knows nothing of data sets and manifests, and it holds no calibrator:
precision lives in the file. No vendor type leaves this folder; importing it loads no vendor
package. Running a plan is not in this version.
"""

from __future__ import annotations

from fcn_edge.engines.base import Layer
from fcn_edge.engines.trt.lines import BuildOptions, NvidiaTarget, ShapeRange, trtexec_line, trtexec_lines
from fcn_edge.engines.trt.plan import Plan, engine_from_plan, plan_from_onnx
from fcn_edge.engines.trt.vendor import require_target

__all__ = [
    "BuildOptions",
    "Layer",
    "NvidiaTarget",
    "Plan",
    "ShapeRange",
    "engine_from_plan",
    "plan_from_onnx",
    "require_target",
    "trtexec_line",
    "trtexec_lines",
]
