"""Wheels, built as pip builds them: with a compiler, and without one by itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHELVES = ("export", "calib", "benchmarks")
NO_BACKEND = "scikit-build-core and nanobind are not installed: pip install 'fcn-edge[dev]'"

pytestmark = [
    pytest.mark.install,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ["scikit_build_core", "nanobind"])),
        reason=NO_BACKEND,
    ),
]


def has_compiler() -> bool:
    """Whether the compiler that a build would take here compiles; CXX, where it is set, is the only one asked."""
    chosen = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if chosen is None:
        return False
    command = [chosen, "-x", "c++", "-fsyntax-only", "-"]
    return subprocess.run(command, input=b"int main() {}", capture_output=True).returncode == 0


def build_wheel(folder: Path, *options: str, **environment: str) -> Path:
    """The wheel of this checkout, built with the tools of this environment and no network."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, *options, "-w", folder, ROOT], check=True, env=os.environ | environment)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("pure"), CC="/bin/false", CXX="/bin/false")


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_without_a_compiler_the_wheel_is_pure(pure_wheel: Path):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in names_in(pure_wheel) if name.endswith((".so", ".pyd"))]


@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on this machine")
def test_with_a_compiler_the_wheel_holds_the_kernels_and_the_same_files(pure_wheel: Path, tmp_path: Path):
    two = "cmake.define.FCN_EDGE_CUDA_ARCHITECTURES=75;89"  # all would take a while; where there is no nvcc, none
    names = names_in(build_wheel(tmp_path, "-C", two))
    kernels = {name for name in names if name.startswith("fcn_edge/_native.") and not name.endswith(".pyi")}
    cuda = {"fcn_edge/kernels.fatbin"} & names
    assert len(kernels) == 1
    assert bool(cuda) == (shutil.which("nvcc") is not None)
    assert package_files(names - kernels - cuda) == package_files(names_in(pure_wheel))


def package_files(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("fcn_edge/")}


def test_wheel_holds_every_module_and_the_packaged_network(pure_wheel: Path):
    package = ROOT / "fcn_edge"
    folders = [package / "zoo", *(path.parent for path in package.rglob("*.py"))]
    wanted = {path for folder in folders for path in folder.glob("*") if path.is_file()}
    names = {str(path.relative_to(ROOT)) for path in wanted if path.suffix not in {".so", ".pyd", ".pyc"}}
    assert names <= names_in(pure_wheel)


@pytest.mark.parametrize("shelf", SHELVES)
def test_wheel_holds_the_shelf_as_data(pure_wheel: Path, shelf: str):
    files = (path for path in (ROOT / shelf).rglob("*") if path.is_file())
    wanted = {f"fcn_edge/shelves/{path.relative_to(ROOT)}" for path in files if path.suffix not in {".py", ".pyc"}}
    found = {name for name in names_in(pure_wheel) if name.startswith(f"fcn_edge/shelves/{shelf}/")}
    assert found == wanted


def test_wheel_holds_no_sources_and_nothing_else(pure_wheel: Path):
    strays = [name for name in names_in(pure_wheel) if not name.startswith(("fcn_edge/", "fcn_edge-"))]
    assert strays == []
    assert not [name for name in names_in(pure_wheel) if name.endswith((".cpp", ".hpp", ".cu"))]


def test_installed_package_finds_its_shelves(pure_wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(pure_wheel) as archive:
        archive.extractall(tmp_path)
    code = "import fcn_edge.registry as shelf; print(shelf.__file__, *shelf.shelf_names('export'))"
    # -S and PYTHONPATH: packages are found, but no .pth file leads to the checkout.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), sysconfig.get_path("purelib")])}
    command = [sys.executable, "-S", "-c", code]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    assert printed.split()[0].startswith(str(tmp_path))
    assert printed.split()[1:] == sorted(path.stem for path in (ROOT / "export").glob("*.toml"))


def test_program_with_the_public_api_is_clean_under_mypy_strict(pure_wheel: Path, tmp_path: Path):
    """Checked from outside: the package is an installed wheel, and its types are what py.typed promises."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(pure_wheel) as archive:
        archive.extractall(packages)
    for name in ("numpy", "cv2", "onnx"):  # and nothing else of this environment, which may hold the checkout
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        (packages / name).symlink_to(Path(spec.origin).parent)
    shutil.copy(ROOT / "tests" / "api_snippet.py", tmp_path / "program.py")
    python = tmp_path / "venv" / "bin" / "python"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--python-executable",
        python,
        "program.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
