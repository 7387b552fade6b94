"""The CI examples: their steps are run here, on a suite that takes seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcn_edge.atomic_io import read_json, with_checksum
from fcn_edge.gating import limits_from

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: the examples' steps were not run")

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
SUITE = """
title = "tiny"
data = "synthetic:street,seed=3,images=8,size=64x96"
models = ["{model}"]
targets = ["onnxruntime"]
rounds = 6
frames = 2
threads = 1
camera_fps = 0
"""
LIMITS = "max_latency_ratio = 20\n"  # other tests run beside it: the steps are tested here, not their times


@pytest.fixture(scope="module")
def measured(onnx_file, tmp_path_factory):
    """A folder with a suite of a small network, and its own record as the baseline."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny.toml").write_text(SUITE.format(model=onnx_file))
    (folder / "limits.toml").write_text(LIMITS)
    shell("fcn-edge bench --suite tiny.toml --out fcn-edge-bench", folder)
    shutil.copy(folder / "fcn-edge-bench/record.json", folder / "baseline.json")
    return folder


def shell(script, folder, **variables):
    """Run a step as CI does, with this environment's fcn-edge. Raises where it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **variables}
    command = ["bash", "-eo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def steps_of_action():
    action = yaml.safe_load((EXAMPLES / "github-action/action.yml").read_text())
    defaults = {name: each["default"] for name, each in action["inputs"].items()}
    return defaults, [step for step in action["runs"]["steps"] if step["name"] != "Install"]


def filled(step, inputs):
    """The step's variables with the inputs put in."""
    put = lambda text: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: inputs[found[1]], text)  # noqa: E731
    return {name: put(text) for name, text in step["env"].items()}


@pytest.mark.slow
def test_github_action_measures_judges_and_leaves_a_summary(measured, tmp_path):
    defaults, steps = steps_of_action()
    inputs = defaults | {
        "suite": "tiny.toml",
        "baseline": "baseline.json",
        "limits": "limits.toml",
        "undecided": "pass",
    }
    summary = tmp_path / "summary.md"
    for step in steps:
        shell(step["run"], measured, GITHUB_STEP_SUMMARY=str(summary), GITHUB_ACTIONS="true", **filled(step, inputs))
    assert summary.read_text().startswith("## fcn-edge gate")
    assert (measured / "fcn-edge-bench/gate.xml").is_file() and (measured / "fcn-edge-bench/record.html").is_file()


def test_no_input_of_the_action_is_pasted_into_a_script():
    assert [step for step in steps_of_action()[1] if "${{" in step["run"]] == []


@pytest.mark.slow
def test_gitlab_job_measures_and_judges(measured):
    job = yaml.safe_load((EXAMPLES / "gitlab/gate.yml").read_text())[".fcn-edge-gate"]
    variables = job["variables"] | {"SUITE": "tiny.toml", "BASELINE": "baseline.json", "LIMITS": "limits.toml"}
    for line in job["script"][1:]:
        shell(line, measured, **variables)
    assert (measured / job["artifacts"]["reports"]["junit"]).is_file()


@pytest.mark.slow
def test_gate_stops_a_file_that_grew_and_says_so_to_github(measured, tmp_path):
    found = read_json(measured / "baseline.json")
    found["rows"][0]["size_mb"] *= 2
    (tmp_path / "record.json").write_text(json.dumps(with_checksum(found, "sha256")))
    words = f"fcn-edge gate record.json --baseline {measured / 'baseline.json'}"
    with pytest.raises(AssertionError, match=r"::error title=fcn-edge gate::.*: MB: 2\.000x"):
        shell(words, tmp_path, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "s.md"))


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/limits").glob("*.toml")), ids=lambda path: path.stem)
def test_limits_are_limits(path):
    assert limits_from(path).all.max_miou_drop is not None


def test_what_the_workflow_names_is_there():
    workflow = (EXAMPLES / "github-action/gate.yml").read_text()
    assert yaml.safe_load(workflow)["jobs"].keys() == {"quick", "nightly"}
    for name in re.findall(r"benchmarks/\S+?\.toml", workflow):
        assert (ROOT / name).is_file(), name
