"""Words typed at the command line: help, wrong words, missing packages, readers that leave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = (
    "build-engine",
    "run",
    "bench",
    "evaluate",
    "gate",
    "compare",
    "train",
    "export",
    "calibrate",
    "data",
    "export-deepstream",
    "export-triton",
    "inspect",
    "models",
    "doctor",
    "demo",
)
DATA_VERBS = ("check", "show", "split", "convert")
HEAVY = (
    "numpy",
    "onnx",
    "cv2",
    "torch",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "PIL",
    "matplotlib",
    "safetensors",
)

# Runs commands in a process where some packages are not installed, as Python itself would find them missing.
WITHOUT = """
import json, sys
from importlib.machinery import PathFinder

HIDDEN, COMMANDS = json.loads(sys.argv[1])
BEFORE = set(sys.modules)  # .pth files of some packages import them as Python starts

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
from fcn_edge.cli import main
for words in COMMANDS:
    sys.argv = ["fcn-edge", *words]
    try:
        main()
    except SystemExit as end:
        print(f"exit code {end.code}", flush=True)
print("loaded:", *(name for name in HIDDEN if name in sys.modules and name not in BEFORE))
"""


def run_without(hidden: tuple[str, ...], *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """The commands one after the other in one process without the `hidden` packages."""
    task = json.dumps([hidden, commands])
    return subprocess.run([sys.executable, "-c", WITHOUT, task], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_help_of_every_verb_needs_no_package_beyond_the_base():
    done = run_without(HEAVY, ["--help"], *([verb, "--help"] for verb in VERBS))
    assert done.stderr == ""
    assert done.stdout.count("exit code 0") == 1 + len(VERBS)
    assert done.stdout.splitlines()[-1] == "loaded:"
    for verb in VERBS:
        assert f"Usage: fcn-edge {verb} " in done.stdout


def test_every_verb_is_listed_whole_and_in_the_order_that_one_meets_them(command):
    lines = command("--help").out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(VERBS)
    assert not any(line.endswith("...") for line in lines)


@pytest.mark.parametrize("verb", [*VERBS, *(f"data {verb}" for verb in DATA_VERBS)])
def test_examples_stand_as_they_are_typed(command, verb):
    block = re.search(r"^  Examples?:\n((?:    .+\n)+)", command(*verb.split(), "--help").out, re.MULTILINE)
    assert block is not None
    assert all(line.startswith((f"    fcn-edge {verb}", "      --")) for line in block[1].splitlines())


def test_no_verb_at_all_prints_the_help_and_fails(command):
    done = command()
    assert done.code == 2 and done.out == ""
    assert "build-engine" in done.err


def test_version_is_told_even_from_a_checkout_that_is_not_installed(command, monkeypatch):
    assert command("--version").out.startswith("fcn-edge ")
    monkeypatch.setattr("fcn_edge.device.version", missing)
    assert command("--version").out == "fcn-edge (run from a checkout, not installed)\n"


def missing(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["evalute"], ["evalute", "evaluate", "fcn-edge --help"]),
        (["run", "--nosuch"], ["--source", "--nosuch", "fcn-edge run --help"]),
        (["build-engine", "--target", "coreml"], ["--target", "coreml", "openvino"]),
        (["run", "--opacity", "2"], ["--opacity"]),
        (["run", "--limit", "0"], ["--limit"]),
        (["export"], ["--out"]),
        (["train"], ["recipe"]),
        (["calibrate", "net.onnx", "--out", "x.onnx"], ["--calib"]),
        (
            ["gate", "a.json", "--baseline", "b.json", "--max-miou-drop", "-1"],
            ["--max-miou-drop", -1, "0 to 100"],
        ),
        (["build-engine", "--max-miou-drop", "101"], ["--max-miou-drop", 100]),
        (["bench"], ["--data", "--suite"]),
    ],
    ids=lambda value: "-".join(map(str, value)).strip("-")[:30] if isinstance(value, list) else None,
)
def test_wrong_words_end_in_one_sentence_and_code_2(command, words, facts):
    command(*words).refuses(2, *facts)
    done = command(*words, "--json")
    done.refuses(2, *facts)
    assert done.json["exit_code"] == 2 and set(done.json) == {"error", "code", "exit_code"}
    assert done.json["code"] == ("bad-input" if words[0] in ("gate", "bench") else "usage")


@pytest.mark.parametrize(
    "size", ["12", "12x", "x", "0x96", "-64x96", "64X96", "²x96", "64x96x3", "1e2x96", "9999999x9"]
)
def test_nonsense_sizes_are_refused(command, checkpoint_file, tmp_path, size):
    done = command("export", checkpoint_file, "--out", tmp_path / "net.onnx", f"--size={size}")
    done.refuses(2, f"--size {size}", "360x480")


@pytest.mark.slow
def test_missing_package_is_named_with_what_brings_it(onnx_file):
    done = run_without(("cv2",), ["run", str(onnx_file), "--source", "0"], ["evaluate", "--data", "x", "--json"])
    sentence = "the package cv2 is not installed: pip install 'fcn-edge[cpu]', and see fcn-edge doctor"
    assert done.stderr == f"fcn-edge: {sentence}\n" * 2
    first, second, third, _ = done.stdout.splitlines()
    assert first == third == "exit code 3"
    assert json.loads(second) == {"error": sentence, "code": "backend-missing", "exit_code": 3}


def test_doctor_runs_where_nothing_else_does():
    done = run_without(HEAVY, ["doctor", "--json"])
    report, code = done.stdout.splitlines()[:2]
    assert code == "exit code 0", done.stderr
    states = {finding["name"]: finding["state"] for finding in json.loads(report)["findings"]}
    assert states["opencv"] == states["openvino"] == states["pytorch"] == "missing"


def test_import_errors_of_our_own_stay_visible(command, monkeypatch):
    def broken():
        raise ImportError("cannot import name 'x'", name="fcn_edge.diagnosis")

    monkeypatch.setattr("fcn_edge.diagnosis.diagnose", broken)
    with pytest.raises(ImportError):
        command("doctor")


def test_reader_that_leaves_is_no_error_of_ours():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "fcn_edge", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_interrupt_before_anything_runs_exits_like_a_shell_says(command, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("fcn_edge.diagnosis.diagnose", interrupted)
    command("doctor", "--json").refuses(130, "interrupted")


def test_system_errors_name_the_file(command, monkeypatch):
    def denied():
        raise PermissionError(13, "Permission denied", "/etc/secret")

    monkeypatch.setattr("fcn_edge.diagnosis.diagnose", denied)
    command("doctor").refuses(2, "/etc/secret")


def test_every_option_has_help():
    from typer.main import get_command

    from fcn_edge.cli import app, register_verbs

    register_verbs()
    commands = {}
    for verb, command in get_command(app).commands.items():
        below = getattr(command, "commands", None)
        commands |= {f"{verb} {name}": each for name, each in below.items()} if below else {verb: command}
    parameters = [(verb, parameter) for verb, command in commands.items() for parameter in command.params]
    assert len({verb for verb, _ in parameters}) == len(VERBS) - 1 + len(DATA_VERBS)
    assert [(verb, parameter.name) for verb, parameter in parameters if not parameter.help] == []
