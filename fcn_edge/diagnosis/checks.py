"""What `doctor` checks: Python, packages, engines, OpenCV, native kernels, NVIDIA GPUs and this machine."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from typing import Any, Literal

from fcn_edge.device import Device, package_versions, this_device
from fcn_edge.diagnosis.machine import Finding, Machine
from fcn_edge.diagnosis.nvidia import nvidia_findings
from fcn_edge.errors import FcnEdgeError
from fcn_edge.schema import to_mapping
from fcn_edge.targets import PACKAGES, TARGETS, Target

# Packages that write the same files: only one of each group may be installed.
COLLIDING = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
)


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and the machine that they are about."""

    device: Device
    findings: tuple[Finding, ...]

    def to_mapping(self) -> dict[str, Any]:
        """What `doctor --json` prints."""
        return {
            "device": {**to_mapping(self.device), "name": self.device.name},
            "findings": to_mapping(self.findings),
        }


def diagnose() -> Diagnosis:
    """Check Python, packages, engines, OpenCV, the native kernels, NVIDIA's GPUs and this machine.

    Returns:
        A finding for each: ok, missing or warning, with what to do. What is missing raises nothing.

    Example:
        >>> [finding.name for finding in diagnose().findings if finding.state != "ok"]
    """
    findings = [
        _python(),
        *_collisions(),
        *(_target(target) for target in TARGETS),
        *nvidia_findings(Machine()),
        _opencv(),
        _display(),
        _native(),
        _packaged_network(),
    ]
    return Diagnosis(this_device(), tuple(findings))


def _python() -> Finding:
    return Finding("python", "ok", sys.version.split()[0])


def _collisions() -> list[Finding]:
    installed = {(dist.metadata["Name"] or "").lower() for dist in distributions()}
    found = []
    for group in COLLIDING:
        present = [name for name in group if name in installed]
        if len(present) > 1:
            advice = f"pip uninstall {' '.join(present)}, then install the one you need"
            found.append(Finding("collision", "warning", f"{' and '.join(present)} overwrite each other", advice))
    return found


def _target(target: Target) -> Finding:
    module, extra = PACKAGES[target]
    if importlib.util.find_spec(module) is None:
        return Finding(target, "missing", f"package {module} is not installed", f"pip install 'fcn-edge[{extra}]'")
    probes: dict[Target, Callable[[], str]] = {
        "openvino": _openvino,
        "onnxruntime": _onnxruntime,
        "pytorch": _pytorch,
        "reference": lambda: f"{_onnxruntime()}, optimisation off: engines are validated against it",
        "tensorrt": lambda: _nvidia("tensorrt"),
        "tensorrt-rtx": lambda: _nvidia("tensorrt-rtx"),
    }
    try:
        importlib.import_module(module)
        return Finding(target, "ok", probes[target]())
    except FcnEdgeError as error:
        return Finding(target, "missing", str(error))
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(target, "warning", f"installed but does not load: {error}", f"reinstall 'fcn-edge[{extra}]'")


def _openvino() -> str:
    bf16 = "bf16 possible" if this_device().has_bf16 else "no bf16 on this CPU"
    return f"{package_versions(['openvino'])['openvino']}, CPU, {bf16}"


def _onnxruntime() -> str:
    found = package_versions(["onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"])
    return ", ".join(f"{name} {version}" for name, version in found.items()) + ", CPU"


def _pytorch() -> str:
    return f"{package_versions(['torch'])['torch']}, the reference; trains and exports"


def _nvidia(target: Literal["tensorrt", "tensorrt-rtx"]) -> str:
    from fcn_edge.engines.trt import require_target
    from fcn_edge.engines.trt.vendor import missing_gpu

    require_target(target)
    missing = missing_gpu()
    return f"compiles engines; to run them {missing}" if missing else "compiles and runs engines"


def _opencv() -> Finding:
    if importlib.util.find_spec("cv2") is None:
        return Finding(
            "opencv", "missing", "no OpenCV", "pip install 'fcn-edge[cpu]', or your system's OpenCV on Jetson"
        )
    try:
        import cv2
    except ImportError as error:
        advice = "apt-get install libgl1 libglib2.0-0, or use opencv-python-headless"
        return Finding("opencv", "warning", f"does not load: {error}", advice)
    if any("GStreamer" in line and "YES" in line for line in cv2.getBuildInformation().splitlines()):
        return Finding("opencv", "ok", f"{cv2.__version__}, with GStreamer")
    hiding = sorted(package_versions(COLLIDING[1]))
    if hiding and this_device().jetpack:
        found = f"{' and '.join(hiding)} of pip hides JetPack's own OpenCV, which has GStreamer"
        return Finding("opencv", "warning", found, f"pip uninstall {' '.join(hiding)}")
    note = "without GStreamer: csi:// and gst: sources need an OpenCV that has it"
    return Finding("opencv", "ok", f"{cv2.__version__}, {note}")


def _display() -> Finding:
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return Finding("display", "ok", "a window can be opened")
    return Finding("display", "missing", "no display: display:// cannot be used", "write to out.mp4 instead")


def _native() -> Finding:
    if importlib.util.find_spec("fcn_edge._native") is not None:
        return Finding("native kernels", "ok", "built")
    advice = "install a C++ compiler and reinstall fcn-edge"
    return Finding("native kernels", "warning", "not built: class maps are drawn by numpy, which is slower", advice)


def _packaged_network() -> Finding:
    from fcn_edge.registry import PACKAGED_NETWORK, packaged_file

    try:
        size = packaged_file(".onnx").stat().st_size
    except FcnEdgeError:
        return Finding("packaged network", "missing", "not in this installation", "reinstall fcn-edge")
    return Finding(
        "packaged network", "ok", f"{PACKAGED_NETWORK}, {size / 1e6:.1f} MB (research use: trained on CamVid)"
    )
