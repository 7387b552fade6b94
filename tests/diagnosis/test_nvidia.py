"""What doctor tells of NVIDIA machines that are not this one: each a folder, tools and packages of its own."""

from __future__ import annotations

import sys

import pytest

from fcn_edge.diagnosis import machine as machine_module
from fcn_edge.diagnosis import nvidia
from fcn_edge.diagnosis.machine import Machine, output_of
from fcn_edge.diagnosis.nvidia import gpus_of, nvidia_findings
from tests.refusals import assert_names

SMI = "nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader"
ORIN = {
    "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0nvidia,tegra234\0",
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
}
JETPACK_6 = {
    "dpkg-query --show --showformat=${Version} nvidia-jetpack": "6.2+b77",
    "dpkg-query --show --showformat=${Version} libnvinfer10": "10.3.0.30-1+cuda12.5",
    "nvpmodel -q": "NV Power Mode: MAXN\n0\n",
    "nvcc --version": "Cuda compilation tools, release 12.6, V12.6.68",
}
ADA = {
    SMI: "NVIDIA GeForce RTX 4070, 8.9, 550.54, 12282 MiB\n",
    "nvidia-smi": "| NVIDIA-SMI 550.54    Driver Version: 550.54    CUDA Version: 12.4 |",
    "nvcc --version": "Cuda compilation tools, release 12.4, V12.4.131",
}


@pytest.fixture
def machine(tmp_path):
    """Makes a machine of files (path -> text), tools (command line -> output) and Python packages."""

    def make(files=None, tools=None, packages=None):
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        known = packages or {}
        return Machine(
            tmp_path,
            lambda command: (tools or {}).get(" ".join(command)),
            lambda names: {name: known[name] for name in names if name in known},
        )

    return make


def of(machine):
    """name -> finding; the last one of its name."""
    return {each.name: each for each in nvidia_findings(machine)}


def test_machine_without_a_gpu_has_one_finding(machine):
    [only] = nvidia_findings(machine())
    assert (only.name, only.state) == ("nvidia gpu", "missing") and "driver" in only.advice


def test_desktop_is_told_with_sm_memory_driver_and_its_newest_cuda(machine):
    found = of(machine(tools=ADA, packages={"tensorrt": "10.3.0"}))
    assert found["nvidia gpu"].found == ("NVIDIA GeForce RTX 4070, SM 8.9, 12282 MiB, driver 550.54 (up to CUDA 12.4)")
    assert (found["nvcc"].state, found["nvcc"].found) == ("ok", "CUDA 12.4")
    assert found["tensorrt libraries"].found == "tensorrt 10.3.0"
    assert not {"jetpack", "power mode", "known pair"} & set(found)


def test_every_gpu_is_told(machine):
    two = {**ADA, SMI: 2 * ADA[SMI] + "an odd line\n"}
    assert len(gpus_of(machine(tools=two))) == 2


def test_gpu_of_unknown_capability_is_still_told(machine):
    [gpu] = gpus_of(machine(tools={SMI: "Tesla K80, [N/A], 470.1, 11441 MiB"}))
    assert gpu.sm_words == "unknown SM"


@pytest.mark.parametrize(("tegra", "sm"), [("tegra194", 72), ("tegra234", 87), ("tegra264", 110)])
def test_jetson_is_known_by_its_device_tree(machine, tegra, sm):
    [gpu] = gpus_of(machine({"proc/device-tree/compatible": f"nvidia,board\0nvidia,{tegra}\0"}))
    assert gpu.sm == sm and gpu.is_jetson


def test_orin_in_order_is_all_ok(machine):
    found = of(machine(ORIN, JETPACK_6, {"tensorrt": "10.3.0"}))
    assert found["nvidia gpu"].found == "NVIDIA Jetson AGX Orin Developer Kit (Orin), SM 8.7"
    assert found["jetpack"].found == "JetPack 6.2, L4T 36.4.3"
    assert found["power mode"].state == found["tensorrt libraries"].state == found["jetpack"].state == "ok"
    assert "known pair" not in found and "jetpack tensorrt" not in found


def test_jetpack_5_is_sent_to_trtexec(machine):
    files = ORIN | {"etc/nv_tegra_release": "# R35 (release), REVISION: 5.0, GCID: 1, BOARD: t186ref"}
    found = of(machine(files, JETPACK_6 | {"dpkg-query --show --showformat=${Version} nvidia-jetpack": "5.1.3"}))
    assert found["jetpack"].state == "warning" and "trtexec" in found["jetpack"].advice


def test_jetpack_without_its_libraries_names_the_package(machine):
    found = of(machine(ORIN))
    assert found["jetpack"].found.startswith("JetPack 6, L4T 36.4.3;")
    assert found["jetpack"].advice == "apt install nvidia-jetpack"
    assert found["tensorrt libraries"].state == found["nvcc"].state == "missing"


def test_container_without_the_release_file_is_told(machine):
    found = of(machine({name: text for name, text in ORIN.items() if "release" not in name}, JETPACK_6))
    assert found["jetpack"].state == "warning" and "container" in found["jetpack"].advice


def test_power_mode_below_the_highest_is_told(machine):
    found = of(machine(ORIN, JETPACK_6 | {"nvpmodel -q": "NV Power Mode: 15W\n2\n"}))
    assert (found["power mode"].state, found["power mode"].found) == ("warning", "15W")
    assert "nvpmodel -m 0" in found["power mode"].advice
    silent = {name: said for name, said in JETPACK_6.items() if "nvpmodel" not in name}
    assert "nvpmodel" in of(machine(ORIN, silent))["power mode"].found


def test_tensorrt_of_the_system_that_python_does_not_see_is_told(machine):
    found = of(machine(ORIN, JETPACK_6))["tensorrt libraries"]
    assert found.state == "warning" and "--system-site-packages" in found.advice


def test_pips_tensorrt_before_jetpacks_is_told(machine):
    found = of(machine(ORIN, JETPACK_6, {"tensorrt": "10.9.0.34"}))["jetpack tensorrt"]
    assert_names(found.found, "tensorrt 10.9.0.34", "pip", "JetPack", "10.3.0.30")
    assert found.advice.startswith("pip uninstall tensorrt;")


def test_onnxruntime_gpu_of_the_index_on_jetson_is_told(machine, monkeypatch):
    monkeypatch.setattr(nvidia.platform, "machine", lambda: "aarch64")
    found = of(machine(ORIN, JETPACK_6, {"onnxruntime-gpu": "1.23.0"}))
    assert found["jetpack onnxruntime"].state == "warning"


def test_nvcc_off_the_path_is_told(machine):
    found = of(machine({**ORIN, "usr/local/cuda/bin/nvcc": ""}))["nvcc"]
    assert found.state == "warning" and "export PATH=/usr/local/cuda/bin" in found.advice


@pytest.mark.parametrize(
    ("files", "tools", "packages", "words", "advice"),
    [
        (ORIN, JETPACK_6, {"tensorrt": "10.13.3.9"}, "10.13.3 has no kernels for SM 8.7", "system-site-packages"),
        (ORIN, JETPACK_6, {"tensorrt": "11.2.0"}, "TensorRT 11.2.0 is for no JetPack", "system-site-packages"),
        (ORIN, JETPACK_6, {"tensorrt-rtx-cu12": "1.7"}, "no kernels for SM 8.7", "target tensorrt"),
        ({}, ADA, {"tensorrt-cu13": "11.4"}, "tensorrt-cu13 11.4 wants CUDA 13, the driver runs up to 12.4", "cu12"),
        ({}, ADA, {"cuda-bindings": "13.0.1"}, "cuda-bindings 13.0.1 wants CUDA 13", "cuda-python<13"),
        ({}, ADA, {"onnxruntime-gpu": "1.31.1"}, "onnxruntime-gpu 1.31.1 wants CUDA 13", "CUDA 12"),
        (
            {},
            ADA,
            {"onnxruntime-gpu": "1.22.0", "onnxruntime-ep-nv-tensorrt-rtx-cu12": "0.5"},
            "is a plugin",
            "uninstall onnxruntime-gpu",
        ),
    ],
)
def test_known_pairs_are_told_with_what_to_do(machine, files, tools, packages, words, advice):
    pair = of(machine(files, tools, packages))["known pair"]
    assert pair.state == "warning" and words in pair.found and advice in pair.advice


def test_what_fits_the_driver_is_no_pair(machine):
    packages = {"cuda-bindings": "12.9.1", "tensorrt": "10.13.3", "onnxruntime-gpu": "1.22.0"}
    assert "known pair" not in of(machine(tools=ADA, packages=packages))
    newer = {**ADA, "nvidia-smi": "CUDA Version: 13.1"}
    assert "known pair" not in of(machine(tools=newer, packages={"tensorrt-cu13": "11.4", "cuda-bindings": "13.0"}))


def test_kernels_that_were_not_built_are_told(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(nvidia.resources, "files", lambda package: tmp_path)
    assert of(machine(tools=ADA))["cuda kernels"].state == "missing"
    (tmp_path / "kernels.fatbin").touch()
    assert of(machine(tools=ADA))["cuda kernels"].state == "ok"


@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "raise SystemExit(1)"])
def test_tool_that_hangs_or_fails_says_nothing(monkeypatch, code):
    monkeypatch.setattr(machine_module, "TIMEOUT_S", 0.5)
    assert output_of([sys.executable, "-c", code]) is None


def test_tool_that_is_missing_says_nothing():
    assert output_of(["no-such-tool-here"]) is None


def test_tool_that_answers_is_heard():
    assert output_of([sys.executable, "-c", "print('heard')"]) == "heard\n"
