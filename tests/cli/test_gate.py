"""`fcn-edge gate` as CI uses it: exit codes, what it writes for CI, and how a baseline is replaced."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fcn_edge.atomic_io import read_json
from tests.benchrecords import DEVICE, drawn_images, record, row
from tests.refusals import assert_names


@pytest.fixture
def write_record(tmp_path):
    """A record of one int8 row and its reference run."""

    def write(name, ms=20.0, lost=0.0, rounds=20, device=DEVICE, seed=1):
        path = tmp_path / f"{name}.json"
        images = drawn_images(lost=lost)
        rows = row(ms=ms, images=images, rounds=rounds, seed=seed), row(target="reference", images=images)
        record(*rows, device=device).save(path)
        return path

    return write


OTHER = DEVICE | {"name": "xeon-2c", "cpu": "Xeon"}


@pytest.mark.parametrize(
    ("change", "words", "code"),
    [
        ({"seed": 2}, [], 0),
        ({"lost": 0.05}, [], 1),
        ({"lost": 0.05}, ["--max-miou-drop", "20"], 0),
        ({"ms": 30.0}, [], 1),
        ({"ms": 30.0}, ["--max-latency-ratio", "2"], 0),
        ({"rounds": 3}, [], 5),
        ({"device": OTHER}, ["--undecided", "pass"], 0),
        ({"device": OTHER}, ["--undecided", "fail"], 1),
        ({"device": OTHER, "lost": 0.05}, ["--undecided", "pass"], 1),
    ],
)
def test_exit_code_is_the_verdict(command, write_record, change, words, code):
    done = command("gate", write_record("now", **change), "--baseline", write_record("then"), *words, "--json")
    assert done.code == code
    assert set(done.json) == {"verdict", "checks", "notes", "baseline"}


def test_people_see_each_check_its_power_and_the_verdict(command, write_record):
    done = command("gate", write_record("now", lost=0.05), "--baseline", write_record("then"))
    assert done.out.rstrip().endswith("fail")
    assert_names(done.out, "FAIL", "fcn8s openvino int8 f32", "points")


def test_ci_gets_junit_a_summary_and_annotations(command, write_record, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# what other steps said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    words = ["--baseline", write_record("then"), "--junit", tmp_path / "gate.xml", "--json"]
    done = command("gate", write_record("now", ms=30.0), *words)
    assert done.code == 1 and done.json["verdict"] == "fail"
    assert "::error title=fcn-edge gate::fcn8s openvino int8" in done.err
    before, after = summary.read_text().split("\n", 1)
    assert before == "# what other steps said" and after.startswith("## fcn-edge gate **failed**")
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "1"


def test_baseline_of_this_device_is_taken_from_a_folder(command, write_record, tmp_path):
    folder = tmp_path / "baselines"
    folder.mkdir()
    write_record("baselines/quick.epyc-2c")
    write_record("baselines/quick.arm-4c", device=OTHER)
    assert (
        command("gate", write_record("now"), "--baseline", folder, "--json").json["baseline"].endswith("epyc-2c.json")
    )
    other = write_record("other", device=OTHER | {"name": "riscv-8c"})
    assert command("gate", other, "--baseline", folder, "--json").json["baseline"].endswith("arm-4c.json")
    (tmp_path / "none").mkdir()
    command("gate", other, "--baseline", tmp_path / "none").refuses(2, "quick.riscv-8c.json", "--update")


def test_update_takes_a_reason_and_writes_this_device_s_baseline(command, write_record, tmp_path):
    folder = tmp_path / "baselines"
    folder.mkdir()
    now = write_record("now", ms=30.0)
    command("gate", now, "--baseline", folder, "--update").refuses(2, "--reason")
    assert list(folder.iterdir()) == []
    done = command("gate", now, "--baseline", folder, "--update", "--reason", "twice as many channels")
    assert done.code == 0 and "quick.epyc-2c.json" in done.out and "twice as many channels" in done.out
    assert read_json(folder / "quick.epyc-2c.json")["baseline"]["reason"] == "twice as many channels"
    assert command("gate", now, "--baseline", folder).code == 0


@pytest.mark.parametrize(
    ("name", "text", "facts"),
    [
        ("none.json", None, ("none.json", "JSON")),
        ("words.json", "these are words", ("words.json", "JSON", "line 1")),
        ("list.json", "[1, 2]", ("list.json", "JSON", "list")),
        ("table.json", '{"schema": 1, "tensors": {}}', ("schema 2", "rows")),
    ],
)
def test_what_is_no_record_exits_2(command, write_record, text_file, tmp_path, name, text, facts):
    path = tmp_path / name if text is None else text_file(name, text)
    done = command("gate", path, "--baseline", write_record("then"), "--json")
    done.refuses(2, *facts)
    assert done.json["exit_code"] == 2
    command("gate", write_record("now"), "--baseline", path).refuses(2, *facts)
