"""Types of arguments that take one of a few names, shared by the library and its command line.

Standard library only, so that `fcn-edge --help` loads no numpy.
"""

from __future__ import annotations

from typing import Literal

from fcn_edge.targets import Target

Execution = Literal["f32", "bf16", "f16"]  # arithmetic of the float layers
BuildPrecision = Literal["fp32", "bf16", "fp16", "int8", "int8-fp16"]
BuildTarget = Literal["auto", "tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"]
GraphIo = Literal["contract", "plain"]  # of an exported graph: uint8 BGR frames, or float NCHW tensors
Method = Literal["minmax", "entropy", "percentile", "mse"]  # of choosing a scale from a tensor's range
PlacementName = Literal["any", "x86", "nvidia"]  # rules for Q/DQ placement
Policy = Literal["every", "newest"]  # which frames of a source are segmented
TargetOrAuto = Literal["auto", Target]
