"""What the real Python bindings of each TensorRT have, recorded on a machine without TensorRT or a GPU.

The bindings' wheels (about 1 MB each) are taken from $FCN_EDGE_WHEELS, or downloaded into it with pip, and
imported beside stub libraries. Recorded are those names that our adapter's source mentions; the
fake of `fake_tensorrt` has these and no others.

    python -m tests.engines.record_tensorrt     writes tensorrt_record.json again
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORD = HERE / "tensorrt_record.json"
ADAPTER = HERE.parents[1] / "fcn_edge" / "engines" / "trt"
# Version family -> (requirement, package inside the wheel). 8.5 of JetPack 5 is on no index.
WHEELS = {
    "8.6": ("tensorrt_bindings==8.6.1", "tensorrt_bindings"),
    "10.3": ("tensorrt_cu12_bindings==10.3.0", "tensorrt_bindings"),
    "10.13": ("tensorrt_cu12_bindings==10.13.3.9", "tensorrt_bindings"),
    "10.16": ("tensorrt_cu12_bindings==10.16.1.11", "tensorrt_bindings"),
    "11.4": ("tensorrt_cu12_bindings==11.4.0.106", "tensorrt_bindings"),
    "rtx": ("tensorrt_rtx_cu12_bindings==1.7.1.116", "tensorrt_rtx_bindings"),
}
CLASSES = (
    "Builder",
    "IBuilderConfig",
    "INetworkDefinition",
    "IOptimizationProfile",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "ICudaEngine",
    "IExecutionContext",
    "ILogger",
    "IProgressMonitor",
    "ITimingCache",
    "IHostMemory",
)
ENUMS = (
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "MemoryPoolType",
    "ProfilingVerbosity",
    "HardwareCompatibilityLevel",
    "TensorIOMode",
    "DataType",
    "ComputeCapability",
)

# Runs inside of the wheel's folder; prints every member of CLASSES and ENUMS.
LOOK = """
import importlib, json, sys
trt = importlib.import_module(sys.argv[1])
found = {"module": sorted(name for name in dir(trt) if not name.startswith("_"))}
for name in sys.argv[2].split(","):
    kind, members = getattr(trt, name, None), {}
    for member in dir(kind) if kind is not None else ():
        value = getattr(kind, member)
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            members[member] = "read" if value.fset is None else "write"
        elif isinstance(value, kind):
            members[member] = int(value)
        elif callable(value):
            members[member] = (value.__doc__ or "").strip().splitlines()[:1]
    if kind is not None:
        found[name] = members
print(json.dumps(found))
"""


class NoWheel(Exception):
    """A wheel that cannot be had here, with the reason."""


def wheels_folder() -> Path:
    folder = os.environ.get("FCN_EDGE_WHEELS")
    return Path(folder) if folder else Path.home() / ".cache" / "fcn-edge" / "wheels"


def wheel_of(family: str) -> Path:
    """The bindings' wheel. Raises NoWheel where it is neither at hand nor to be had."""
    requirement, _ = WHEELS[family]
    name, version = requirement.split("==")
    folder = wheels_folder()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"{name}-{version}*{python}*.whl"
    if not list(folder.glob(pattern)):
        options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(folder)]
        pip = [sys.executable, "-m", "pip", "download", *options, requirement]
        run = subprocess.run(pip, capture_output=True, text=True, timeout=120)
        if run.returncode:
            raise NoWheel(f"{requirement}: {(run.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    return next(folder.glob(pattern))


@cache
def stub_libraries(folder: Path) -> Path:
    """The folder with a stub under every name that bindings link to."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise NoWheel("g++ is missing: no stub libraries to import the bindings beside")
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / "stub.so"
    source = HERE / "stubs" / "libnvinfer.cpp"
    subprocess.run([compiler, "-shared", "-fPIC", str(source), "-o", str(built)], check=True, capture_output=True)
    for version in ("8", "10", "11"):
        for library in ("nvinfer", "nvonnxparser", "nvparsers", "nvinfer_plugin"):
            link = folder / f"lib{library}.so.{version}"
            link.unlink(missing_ok=True)
            link.symlink_to(built)
    for library in ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"):
        (folder / library).unlink(missing_ok=True)
        (folder / library).symlink_to(built)
    return folder


def surface_of(family: str, scratch: Path) -> dict[str, Any]:
    """What the real bindings have: {"module": names, class: {member: ...}} as LOOK prints it. Raises NoWheel."""
    wheel, package = wheel_of(family), WHEELS[family][1]
    libraries = stub_libraries(scratch / "libraries")
    folder = scratch / family
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    environment = {**os.environ, "PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(libraries)}
    command = [sys.executable, "-c", LOOK, package, ",".join((*CLASSES, *ENUMS))]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    if run.returncode:
        raise NoWheel(f"{wheel.name}: does not import beside the stubs: {run.stderr.strip().splitlines()[-1]}")
    return json.loads(run.stdout)


def adapter_words() -> set[str]:
    """Every identifier in the adapter's source, inside texts too."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in ADAPTER.glob("*.py"))
    return set(re.findall(r"[A-Za-z_]\w*", text)) - {"build_engine"}  # messages name fcn_edge.build_engine


def touched(surface: dict[str, Any]) -> dict[str, Any]:
    """The part of a surface that the adapter mentions, with signatures as lists of (name, is required)."""
    words = adapter_words()
    part: dict[str, Any] = {"module": sorted(words & set(surface["module"]) & {*CLASSES, *ENUMS, "nptype"})}
    for name in (*CLASSES, *ENUMS):
        members = surface.get(name, {})
        told = words - {"name", "value"} if name in ENUMS else words
        kept = {key: _signature(value) for key, value in members.items() if key in told or re.match(r"SM\d", key)}
        if name in surface:
            part[name] = dict(sorted(kept.items()))
    return part


def _signature(value: Any) -> Any:
    """[["flags", False]] of ["create_network(self: Builder, flags: int = 0) -> INetworkDefinition"]; else as it is."""
    if not isinstance(value, list):
        return value
    line = value[0] if value else ""
    if "*args" in line or "(" not in line:
        return None  # overloaded, or untold
    inside = line[line.index("(") + 1 : line.rindex(")")] if ")" in line else ""
    inside = re.sub(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)", "", inside)
    arguments = [part.strip() for part in inside.split(",") if ":" in part or "=" in part]
    pairs = [[part.split(":")[0].split("=")[0].strip(), "=" not in part] for part in arguments]
    return [pair for pair in pairs if pair[0] != "self"]


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        record = {family: touched(surface_of(family, Path(scratch))) for family in WHEELS}
    lines = [f"  {json.dumps(family)}: {json.dumps(part)}" for family, part in record.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
