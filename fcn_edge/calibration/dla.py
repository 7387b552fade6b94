"""A calibration table as the cache that TensorRT 8 and 10 read for DLA, which takes no Q/DQ.

The text holds the calibrator's name and TensorRT's version, then a tensor a line with its scale, magnitude / 127,
as the hex digits of a big-endian float32. TensorRT looks up every float tensor; where a scale is missing, the layer
runs in half precision. A cache of another version is passed over, and calibration then fails without images:
https://github.com/NVIDIA/Deep-Learning-Accelerator-SW/issues/26
"""

from __future__ import annotations

import re
import shlex
import struct
from pathlib import Path

from fcn_edge.atomic_io import whole_file
from fcn_edge.calibration.methods import SIGNED
from fcn_edge.calibration.table import CalibrationTable
from fcn_edge.errors import BadInput

JETPACK_6_TENSORRT = "10.3.0"


def write_dla_cache(table: CalibrationTable, path: Path, *, tensorrt: str = JETPACK_6_TENSORRT) -> int:
    """Write the cache for the unquantized file that the table was made from; how many tensors have a scale.

    Raises:
        BadInput: a version that is none, or has no calibration caches any more.
    """
    text = dla_cache_from_table(table, tensorrt)
    if path.is_file() and path.stat().st_size and path.read_bytes() != text.encode():
        raise BadInput(
            f"{path}: holds another cache, which may be TensorRT's own; move it away, or choose another name"
        )
    with whole_file(path, replaces=True) as part:
        part.write_text(text, encoding="utf-8")
    return text.count("\n") - 1


def dla_cache_from_table(table: CalibrationTable, tensorrt: str) -> str:
    """The cache's text. What INT8 files quantize gets the table's method, every other tensor its largest magnitude."""
    limits = {name: magnitude.largest for name, magnitude in table.magnitudes.items()} | table.limits()
    lines = [f"{name}: {struct.pack('>f', (limit or 1.0) / SIGNED).hex()}" for name, limit in limits.items()]
    return "\n".join([f"TRT-{tensorrt_number(tensorrt)}-EntropyCalibration2", *lines, ""])


def tensorrt_number(version: str) -> int:
    """TensorRT's own number of a version: 8502 for 8.5.2, 100300 for 10.3.0."""
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:\.\d+)?", version)
    if match is None:
        raise BadInput(f"TensorRT {version}: write its version as three numbers, such as {JETPACK_6_TENSORRT}")
    major, minor, patch = map(int, match.groups())
    if major not in (8, 10):
        raise BadInput(f"TensorRT {version} has no calibration caches for DLA; TensorRT 8 and 10 have")
    return 1000 * major + 100 * minor + patch if major == 8 else 10000 * major + 100 * minor + patch


def dla_line(cache: Path, *, onnx: str = "net.plain.onnx") -> str:
    """The command that builds for DLA core 0; what DLA cannot run goes to the GPU."""
    return (
        f"trtexec --onnx={onnx} --saveEngine=net.dla.plan --useDLACore=0 --allowGPUFallback --int8 --fp16"
        f" --calib={shlex.quote(cache.name)}"
    )
