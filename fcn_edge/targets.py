"""What an engine can run on, by name, and the package that each needs.

Standard library only: `doctor` reads it where no engine, no OpenCV and no numpy can be loaded.
"""

from __future__ import annotations

from typing import Literal, get_args

Target = Literal["tensorrt", "tensorrt-rtx", "openvino", "onnxruntime", "pytorch", "reference"]
Provider = Literal["cpu", "cuda", "tensorrt", "nv-tensorrt-rtx"]  # what ONNX Runtime runs a network with
TARGETS: tuple[Target, ...] = get_args(Target)
PACKAGES: dict[Target, tuple[str, str]] = {  # target: (module, extra that installs it)
    "tensorrt": ("tensorrt", "gpu"),
    "tensorrt-rtx": ("tensorrt_rtx", "rtx"),
    "openvino": ("openvino", "cpu"),
    "onnxruntime": ("onnxruntime", "cpu"),
    "pytorch": ("torch", "train"),
    "reference": ("onnxruntime", "cpu"),  # optimisation off: each node as the file says it
}
