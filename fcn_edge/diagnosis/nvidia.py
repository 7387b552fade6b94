"""What doctor checks on machines with an NVIDIA GPU: desktop cards, servers and Jetson boards.

Standard library only: it must report what is missing where nothing else can be loaded.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from fcn_edge.diagnosis.machine import Finding, Machine

JETPACKS = {35: "5", 36: "6", 38: "7"}  # major L4T release of /etc/nv_tegra_release -> JetPack
# "compatible" of the device tree -> (board's family, compute capability).
TEGRAS = {
    "tegra210": ("Nano or TX1", 53),
    "tegra186": ("TX2", 62),
    "tegra194": ("Xavier", 72),
    "tegra234": ("Orin", 87),
    "tegra264": ("Thor", 110),
}
JETPACK_PYTHON = "make the environment with JetPack's packages: python3 -m venv --system-site-packages .venv"
GUIDE = "see docs/tutorials/jetson.md"


@dataclass(frozen=True)
class NvidiaGpu:
    """sm: compute capability, 87 for 8.7; 0 where it is not known. cuda: the newest that the driver runs, or ""."""

    name: str
    sm: int
    driver: str = ""
    cuda: str = ""
    memory: str = ""
    is_jetson: bool = False

    @property
    def sm_words(self) -> str:
        return f"SM {self.sm // 10}.{self.sm % 10}" if self.sm else "unknown SM"


def nvidia_findings(machine: Machine) -> list[Finding]:
    """One finding where there is no NVIDIA GPU; otherwise all about it and what it needs."""
    gpus = gpus_of(machine)
    if not gpus:
        found = "no usable NVIDIA GPU (nvidia-smi is missing or fails, and this is not a Jetson)"
        return [Finding("nvidia gpu", "missing", found, "if it has one: install its driver, until nvidia-smi lists it")]
    findings = [_gpu(gpu) for gpu in gpus]
    if gpus[0].is_jetson:
        findings += [_jetpack(machine), _power(machine), *_system_packages(machine)]
    return [*findings, _tensorrt(machine), *_known_conflicts(machine, gpus), _nvcc(machine), _kernels()]


def gpus_of(machine: Machine) -> list[NvidiaGpu]:
    """The GPUs of this machine, by its device tree or by nvidia-smi."""
    compatible = machine.text("proc/device-tree/compatible")
    for tegra, (family, sm) in TEGRAS.items():
        if f"nvidia,{tegra}" in compatible:
            board = machine.text("proc/device-tree/model") or f"Jetson {family}"
            return [NvidiaGpu(f"{board} ({family})", sm, is_jetson=True)]
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]
    rows = [[part.strip() for part in line.split(",")] for line in (machine.run(query) or "").splitlines()]
    said = re.search(r"CUDA Version: ([0-9.]+)", (machine.run(["nvidia-smi"]) or "") if rows else "")
    cuda = said[1] if said else ""
    return [NvidiaGpu(row[0], _sm(row[1]), row[2], cuda, row[3]) for row in rows if len(row) == 4]


def _sm(text: str) -> int:
    match = re.fullmatch(r"(\d+)\.(\d)", text)
    return 10 * int(match[1]) + int(match[2]) if match else 0


def _gpu(gpu: NvidiaGpu) -> Finding:
    driver = [f"driver {gpu.driver}" + (f" (up to CUDA {gpu.cuda})" if gpu.cuda else "")] if gpu.driver else []
    return Finding("nvidia gpu", "ok", ", ".join([gpu.name, gpu.sm_words, *filter(None, [gpu.memory]), *driver]))


def _jetpack(machine: Machine) -> Finding:
    release = re.search(r"R(\d+) \(release\), REVISION: (\d+)\.?(\S*?),", machine.text("etc/nv_tegra_release"))
    if release is None:
        found = "no /etc/nv_tegra_release: its release is not known"
        return Finding("jetpack", "warning", found, f"inside of a container, take one made for its JetPack; {GUIDE}")
    l4t = f"{release[1]}.{release[2]}"
    package = machine.package("nvidia-jetpack").partition("+")[0]
    jetpack = package or JETPACKS.get(int(release[1]), "unknown")
    words = f"JetPack {jetpack}, L4T {l4t}{'.' + release[3] if release[3] else ''}"
    if int(release[1]) < 36:
        advice = f"Python 3.8 is too old for fcn-edge: build with the trtexec line that it prints elsewhere; {GUIDE}"
        return Finding("jetpack", "warning", words, advice)
    if not package:
        return Finding("jetpack", "warning", f"{words}; its libraries are not installed", "apt install nvidia-jetpack")
    return Finding("jetpack", "ok", words)


def _power(machine: Machine) -> Finding:
    said = machine.run(["nvpmodel", "-q"]) or ""
    mode = re.search(r"NV Power Mode: *(\S+)", said)
    if mode is None:
        return Finding("power mode", "warning", "nvpmodel reports none", f"sudo nvpmodel -q; {GUIDE}")
    if mode[1].startswith("MAXN"):
        return Finding("power mode", "ok", f"{mode[1]}; only sudo jetson_clocks keeps clocks at their highest")
    advice = f"its figures hold for this mode only; for the highest: sudo nvpmodel -m 0, sudo jetson_clocks; {GUIDE}"
    return Finding("power mode", "warning", mode[1], advice)


def _system_packages(machine: Machine) -> Iterator[Finding]:
    """pip's packages in the place of JetPack's own."""
    own = machine.package("libnvinfer10") or machine.package("libnvinfer8")
    ours = machine.versions(["tensorrt", "tensorrt-cu12", "tensorrt-cu13"])
    if own and (foreign := [f"{name} {version}" for name, version in ours.items() if not own.startswith(version)]):
        found = f"{' and '.join(foreign)} of pip hides JetPack's own {own}"
        yield Finding("jetpack tensorrt", "warning", found, f"pip uninstall {' '.join(ours)}; {JETPACK_PYTHON}")
    if machine.versions(["onnxruntime-gpu"]) and platform.machine() == "aarch64":
        found = "onnxruntime-gpu: the package index has none that is built for Jetson"
        yield Finding("jetpack onnxruntime", "warning", found, "take the wheel that NVIDIA builds for this JetPack")


def _tensorrt(machine: Machine) -> Finding:
    found = machine.versions(["tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"])
    words = [f"{name} {version}" for name, version in found.items()]
    own = machine.package("libnvinfer10") or machine.package("libnvinfer8")
    if own:
        words.append(f"{own} of the system")
    if not words:
        advice = f"pip install 'fcn-edge[gpu]' or 'fcn-edge[rtx]'; on Jetson apt install nvidia-jetpack; {GUIDE}"
        return Finding("tensorrt libraries", "missing", "neither of pip nor of the system", advice)
    if own and not machine.versions(["tensorrt"]):
        return Finding("tensorrt libraries", "warning", f"{', '.join(words)}, but not for this Python", JETPACK_PYTHON)
    return Finding("tensorrt libraries", "ok", ", ".join(words))


def _known_conflicts(machine: Machine, gpus: list[NvidiaGpu]) -> Iterator[Finding]:
    """Versions that are known not to work together."""
    found = machine.versions(
        [
            "tensorrt",
            "tensorrt-cu13",
            "cuda-bindings",
            "onnxruntime-gpu",
            "tensorrt-rtx-cu12",
            "onnxruntime-ep-nv-tensorrt-rtx-cu12",
            "onnxruntime-ep-nv-tensorrt-rtx-cu13",
        ]
    )
    gpu = gpus[0]
    tensorrt = _numbers(found.get("tensorrt", ""))
    if tensorrt[:3] == (10, 13, 3) and gpu.sm == 87:
        found_words = "TensorRT 10.13.3 has no kernels for SM 8.7"
        yield Finding("known pair", "warning", found_words, f"use JetPack's own TensorRT; {JETPACK_PYTHON}")
    if gpu.is_jetson and (11,) <= tensorrt < (11, 4, 1):
        yield Finding("known pair", "warning", f"TensorRT {found['tensorrt']} is for no JetPack", JETPACK_PYTHON)
    if gpu.is_jetson and "tensorrt-rtx-cu12" in found:
        words = f"TensorRT-RTX compiles here, but has no kernels for {gpu.sm_words}"
        yield Finding("known pair", "warning", words, "build for target tensorrt on this board")
    newest = _numbers(gpu.cuda)
    if newest and newest < (13,):
        for name, remedy in (("tensorrt-cu13", "tensorrt-cu12"), ("cuda-bindings", "'cuda-python<13'")):
            if _numbers(found.get(name, ""))[:1] >= (13,) or (name in found and name.endswith("13")):
                words = f"{name} {found[name]} wants CUDA 13, the driver runs up to {gpu.cuda}"
                yield Finding("known pair", "warning", words, f"update the driver, or pip install {remedy}")
        if _numbers(found.get("onnxruntime-gpu", "")) >= (1, 31):
            words = f"onnxruntime-gpu {found['onnxruntime-gpu']} wants CUDA 13, the driver runs up to {gpu.cuda}"
            yield Finding("known pair", "warning", words, "update the driver, or take a version for CUDA 12")
    plugins = [name for name in found if name.startswith("onnxruntime-ep-")]
    if plugins and "onnxruntime-gpu" in found:
        words = f"{plugins[0]} is a plugin of onnxruntime, and onnxruntime-gpu is installed in its place"
        yield Finding("known pair", "warning", words, "pip uninstall onnxruntime-gpu; pip install onnxruntime")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _nvcc(machine: Machine) -> Finding:
    release = re.search(r"release ([0-9.]+)", machine.run(["nvcc", "--version"]) or "")
    if release:
        return Finding("nvcc", "ok", f"CUDA {release[1]}")
    if (machine.root / "usr/local/cuda/bin/nvcc").exists():
        advice = "export PATH=/usr/local/cuda/bin:$PATH, then reinstall fcn-edge"
        return Finding("nvcc", "warning", "/usr/local/cuda/bin/nvcc is not on the PATH", advice)
    return Finding("nvcc", "missing", "no nvcc: the CUDA kernels cannot be compiled here", "install the CUDA toolkit")


def _kernels() -> Finding:
    if resources.files("fcn_edge").joinpath("kernels.fatbin").is_file():
        return Finding("cuda kernels", "ok", "built")
    advice = "with nvcc on the PATH, reinstall fcn-edge"
    return Finding("cuda kernels", "missing", "not built: views are drawn on the CPU", advice)
