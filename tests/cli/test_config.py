"""`run --config` and `--log`: the file's words count, the command line's win, and no secret is told."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from fcn_edge.cli import _log

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def config(tmp_path, onnx_file, video):
    """Writes a configuration of a run that works; more lines may follow."""

    def write(more: str = "") -> Path:
        path = tmp_path / "run.toml"
        path.write_text(f'model = "{onnx_file}"\nsource = "{video}"\nsink = ["null:"]\nlimit = 3\n{more}')
        return path

    return write


def test_file_says_what_is_run(command, config):
    done = command("run", "--config", config(), "--json")
    assert (done.code, done.json["frames_out"]) == (0, 3)


def test_command_line_wins_over_the_file(command, config, tmp_path):
    words = ["--config", config(), "--limit", 2, "--sink", tmp_path / "out.mp4", "--json"]
    assert command("run", *words).json["frames_out"] == 2
    assert (tmp_path / "out.mp4").is_file()


def test_regions_and_rules_stand_in_the_file(command, config, tmp_path):
    more = f"""
event = "sky+road+building in upper > 0% for 0s"
events = "{tmp_path}/events.jsonl"
ignore-class = ["car"]
[roi]
upper = [[0, 0], [1, 0], [1.0, 0.5], [0, 0.5]]
"""
    assert command("run", "--config", config(more)).code == 0
    assert '"state": "began"' in (tmp_path / "events.jsonl").read_text()


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        ("sinks = []", ("run.toml", "sinks", "sink")),
        ("ignore_class = []", ("run.toml", "ignore_class", "ignore-class")),
        ("config = 'x'", ("run.toml", "config", "known")),
        ("json = true", ("run.toml", "json", "known")),
        ("threads = 'many'", ("--threads",)),
        ("threads = [1, 2]", ("run.toml", "threads", "list")),
        ("policy = 'oldest'", ("--policy", "oldest", "newest")),
        ("opacity = 7", ("--opacity", 1)),
        ("[threads]\na = 1", ("run.toml", "threads", "table")),
        ("target = ", ("run.toml", "TOML")),
        ("spec = '${NOT_SET_ANYWHERE}'", ("run.toml", "NOT_SET_ANYWHERE")),
    ],
)
def test_what_is_wrong_in_the_file_is_said(command, config, more, facts):
    command("run", "--config", config(more)).refuses(2, *facts)


def test_missing_file_is_said(command):
    command("run", "--config", "nowhere.toml").refuses(2, "nowhere.toml", "TOML")


def test_secret_from_the_environment_reaches_the_source_and_no_output(command, config, tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    path, log = tmp_path / "camera.toml", tmp_path / "run.log"
    path.write_text('source = "http://me:${CAMERA_PASSWORD}@127.0.0.1:9/x"\nretries = 0\nsink = "null:"\n')
    done = command("run", "--config", path, "--log", log)
    assert done.code == 4
    told = done.out + done.err + log.read_text()
    assert "hunter2" not in told and "127.0.0.1:9" in told


def test_log_tells_states_and_results_with_their_time_and_stderr_does_not(command, config, tmp_path, video):
    log = tmp_path / "logs" / "run.log"
    done = command("run", "--config", config(), "--log", log, "--sink", tmp_path / "out.mp4")
    lines = log.read_text().splitlines()
    assert done.code == 0 and done.err == ""
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ fcn-edge (INFO|WARNING) ", line) for line in lines)
    assert any(f"{video}: ended" in line for line in lines)
    assert any(f"{tmp_path}/out.mp4: 3 frames" in line for line in lines)


def test_log_tells_why_a_run_did_not_start(command, config, tmp_path):
    log = tmp_path / "run.log"
    command("run", "--config", config(), "--log", log, "--sink", "out.gif").refuses(2, "out.gif", "FILE.mp4")
    assert "unknown sink" in log.read_text()
    assert logging.getLogger("fcn_edge").handlers == []


def test_log_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(_log, "LOG_BYTES", 1000)
    with _log.logged(tmp_path / "run.log") as note:
        for number in range(200):
            note(f"line {number}")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["run.log", "run.log.1", "run.log.2", "run.log.3"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 199" in (tmp_path / "run.log").read_text()


def test_log_that_cannot_be_made_is_said(command, config, tmp_path):
    (tmp_path / "file").touch()
    command("run", "--config", config(), "--log", tmp_path / "file" / "x").refuses(2, "--log", tmp_path / "file" / "x")


def test_log_forgets_credentials_that_somebody_else_forgot(tmp_path):
    with _log.logged(tmp_path / "run.log"):
        logging.getLogger("fcn_edge.x").warning("rtsp://me:hunter2@camera/1 does\nnot answer")
    text = (tmp_path / "run.log").read_text()
    assert "rtsp://***@camera/1" in text and "hunter2" not in text


@pytest.mark.slow
def test_example_is_understood_and_only_asks_for_its_camera(command, monkeypatch, tmp_path):
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    monkeypatch.chdir(tmp_path)
    words = ["--source", "synthetic:street,images=2,size=64x96", "--sink", "null:"]
    assert command("run", "--config", EXAMPLES / "camera.toml", *words).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "fcn-edge.log"]


def test_service_runs_the_example(tmp_path):
    unit = (EXAMPLES / "fcn-edge.service").read_text()
    container = (EXAMPLES / "Containerfile").read_text()
    for text in (unit, container):
        assert "/etc/fcn-edge/camera.toml" in text and "hunter2" not in text
    assert "/healthz" in container and "USER fcn-edge" in container
