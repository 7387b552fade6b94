"""The public names: what they are, what they say of themselves, and the programs that use them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import runpy
import shutil
import sys
from pathlib import Path

import pytest

import fcn_edge as fe
from tests.api_snippet import main
from tests.cli.conftest import write_pairs, write_video

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples" / "python").glob("[0-9]*.py"))
FUNCTIONS = [name for name in fe.__all__ if name.islower()]


def test_no_submodule_has_a_public_name():
    """Importing `fcn_edge.x` binds `x` in the package, and would replace a function of that name."""
    assert {module.name for module in pkgutil.iter_modules(fe.__path__)} & set(fe.__all__) == set()


@pytest.mark.parametrize("name", fe.__all__)
def test_public_name_is_there_listed_and_described(name):
    assert name in dir(fe)
    assert inspect.getdoc(getattr(fe, name))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_function_is_typed_and_its_docstring_has_all_parts(name):
    function = getattr(fe, name)
    signature = inspect.signature(function)
    assert all(parameter.annotation is not parameter.empty for parameter in signature.parameters.values())
    assert signature.return_annotation is not signature.empty
    positional = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 3
    parts = inspect.getdoc(function) or ""
    assert [part for part in ("Args:", "Raises:", "Example:") if part not in parts] == []


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="unknown"):
        importlib.import_module("fcn_edge").unknown  # noqa: B018


@pytest.fixture(scope="module")
def folder(checkpoint_file, tmp_path_factory):
    """A trained checkpoint, images, the same labelled, and a video."""
    root = tmp_path_factory.mktemp("user")
    shutil.copy(checkpoint_file, root / "net.safetensors")
    write_pairs(root / "data")
    shutil.copytree(root / "data" / "images", root / "images")
    write_video(root / "drive.mp4", "mp4v", 5)
    return root


@pytest.mark.slow
def test_program_with_every_function_runs_as_written(folder, monkeypatch, tmp_path):
    shutil.copytree(folder, tmp_path / "user")
    monkeypatch.chdir(tmp_path / "user")
    main()
    assert {"engine", "net.onnx", "net.int8.onnx", "out.mp4"} <= {path.name for path in Path().iterdir()}


OTHER_STREETS = "synthetic:street,seed=9,images=2,size=64x96"
# Words of the command line of each example, and what it leaves behind.
PROGRAMS = {
    "01_segment_an_image": (["images/street0.jpg", "out"], ["out/class_map.png", "out/overlay.png"]),
    "02_stream_a_camera": (["drive.mp4", "3"], []),
    "03_annotate_a_video": (["drive.mp4", "annotated.mp4"], ["annotated.mp4"]),
    "04_evaluate_on_labels": (["folder:data"], []),
    "05_train": (["tiny.toml", "folder:data", "folder:data", "trained.safetensors", "1"], ["trained.safetensors"]),
    "06_export_and_compare": (["net.safetensors", "net.onnx", "images"], ["net.onnx"]),
    "07_calibrate_int8": (["net.safetensors", "images", "net.int8.onnx"], ["net.int8.onnx"]),
    "08_build_an_engine": (["net.safetensors", "images", OTHER_STREETS, "engine"], ["engine/manifest.json"]),
    "09_bench_latency_and_miou": (["folder:data", "record.json", "net.safetensors"], ["record.json"]),
    "10_gate_in_ci": (["record.json", "record.json"], []),
}
RECIPE = """
[network]
backbone = "efficientnet_lite0"
classes = "data"
[input]
height = 64
width = 96
mean = [127.0, 127.0, 127.0]
std = [128.0, 128.0, 128.0]
[train]
epochs = 1
batch = 2
crop = [64, 96]
"""


def test_every_example_is_run():
    assert [path.stem for path in EXAMPLES] == list(PROGRAMS)


def exit_code_of(program: Path) -> object:
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.slow
def test_examples_run(folder, monkeypatch, capsys, tmp_path):
    """In their order, as a later one may take what an earlier one wrote."""
    shutil.copytree(folder, tmp_path / "user")
    monkeypatch.chdir(tmp_path / "user")
    Path("tiny.toml").write_text(RECIPE)
    for path in EXAMPLES:
        words, written = PROGRAMS[path.stem]
        monkeypatch.setattr(sys, "argv", [path.name, *words])
        assert exit_code_of(path) == 0, path.name
        assert capsys.readouterr().out, path.name
        assert [name for name in written if not Path(name).exists()] == [], path.name
