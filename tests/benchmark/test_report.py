"""Reports of a record: JSON, CSV, and a picture whose labels can be read."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcn_edge.benchmark import report, report_folder, write_report
from fcn_edge.benchmark.samples import sample_file
from fcn_edge.errors import BadInput
from fcn_edge.metrics import scores_from_confusion
from fcn_edge.records import Record
from tests.benchrecords import record as whole_record
from tests.benchrecords import row
from tests.refusals import refused


@pytest.fixture(scope="module")
def record():
    """Five rows, two of them at the same place, and a reference run."""
    rows = [
        row("fp32", ms=20.0, pareto=False, dominated_by="fcn8s openvino int8 f32 360x480"),
        row("fp32", "onnxruntime", ms=20.5, pareto=False, dominated_by="fcn8s openvino int8 f32 360x480"),
        row("fp32", ms=14.0, execution="bf16"),
        row("int8", ms=10.0),
        row("int8", "onnxruntime", ms=60.0, pareto=False, dominated_by="fcn8s openvino int8 f32 360x480"),
        row("int8", "reference", ms=200.0, pareto=False),
    ]
    covered = {
        "calib": "streets",
        "verdict": ["settled"],
        "predicted": {"sky": 0.4, "road": 0.6},
        "labelled": None,
        "worst_sqnr_db": {"conv1": 30.0},
        "tensors": 40,
    }
    return whole_record(*rows, calibration={"fcn8s 360x480": covered})


@pytest.mark.slow
def test_every_form_is_written(record, tmp_path):
    paths = write_report(record, tmp_path / "new")
    assert {kind: path.name for kind, path in paths.items()} == {
        kind: f"record.{kind}" for kind in ("json", "csv", "md", "html", "png")
    }
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths.values())
    assert Record.from_file(paths["json"]) == record
    with paths["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["p50_ms"]) for line in lines] == [each.latency_ms.p50 for each in record.rows]
    assert lines[2]["execution"] == "bf16" and lines[0]["energy_mj"] == "" and lines[0]["missed"] == "2"
    assert cv2.imread(str(paths["png"])).shape == (600, 960, 3)


def test_markdown_lists_rows_fastest_first_and_says_what_beats_them(record):
    lines = report.table_of(record.rows)[2:]
    assert [line.split(" | ")[1] for line in lines] == ["int8", "bf16", "fp32", "fp32", "int8"]
    assert "front" in lines[0] and "fcn8s openvino int8" in lines[-1]
    assert "fcn-edge bench --suite quick" in report.markdown_of(record)


def shown_of(path):
    """The data in a page."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="record">(.*?)</script>', text, re.DOTALL)[1])


def test_page_stands_alone_and_holds_every_row(record, tmp_path):
    path = write_report(record, tmp_path)["html"]
    text, shown = path.read_text(encoding="utf-8"), shown_of(path)
    assert not re.search(r"""(?:src|href)=["'](?!data:)|@import|fetch\(|url\(""", text), "nothing is loaded"
    assert [each["label"] for each in shown["rows"]] == ["fp32", "fp32", "bf16", "int8", "int8", "int8"]
    confusion = np.array(shown["rows"][0]["confusion"])
    assert scores_from_confusion(confusion).miou == pytest.approx(record.rows[0].miou)
    assert shown["rows"][0]["latency_ms"]["raw"] == shown["rows"][0]["cpu_ms"] == [] and shown["samples"] == []


def test_pictures_beside_the_record_are_shown_in_the_page(record, tmp_path):
    for name in ("labels", record.rows[0].name):
        file = sample_file(tmp_path, name)
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    samples = shown_of(write_report(record, tmp_path)["html"])["samples"]
    assert [name for name, _ in samples] == ["labels", "fcn8s openvino fp32 f32 360x480"]
    assert all(uri.startswith("data:image/jpeg;base64,") for _, uri in samples)


def test_name_that_looks_like_markup_stays_a_name(record, tmp_path):
    rows = [replace(each, model="</script><script>alert(1)</script>") for each in record.rows]
    path = write_report(replace(record, rows=tuple(rows)), tmp_path)["html"]
    assert "<script>alert" not in path.read_text() and shown_of(path)["rows"][0]["model"].startswith("</script>")


@pytest.mark.slow
def test_page_draws_itself_in_a_browser(record, tmp_path):
    """What its script made of the data, in a real one; nothing is said on its console."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium and no google-chrome: the page was not drawn")
    path = write_report(record, tmp_path)["html"]
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=2000",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.count('class="point"') == 5, "the reference run does not compete"
    assert done.stdout.count("<tr") > 6 and "CONSOLE" not in done.stderr
    assert "no better" not in done.stdout.partition("<script")[0], "only where one points at it"


def test_labels_of_the_picture_cover_neither_marks_nor_each_other(record, monkeypatch, tmp_path):
    seen = {}

    def watched(figure, axes, rows, colours):
        real(figure, axes, rows, colours)
        renderer = figure.canvas.get_renderer()
        seen["labels"] = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
        seen["marks"] = [axes.transData.transform((r.latency_ms.p50, 100 * r.miou)) for r in rows]

    real = report._write_labels
    monkeypatch.setattr(report, "_write_labels", watched)
    write_report(record, tmp_path)
    labels = seen["labels"]
    assert set(labels) == {"openvino fp32", "onnxruntime fp32", "openvino bf16", "openvino int8", "onnxruntime int8"}
    boxes = list(labels.values())
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert not any(box.contains(*mark) for box in boxes for mark in seen["marks"])


def test_several_models_are_told_apart_and_a_row_without_miou_is_drawn(record, tmp_path):
    nothing = row("fp32", "pytorch", ms=300.0, miou=None, miou_ci=None, model="other", pareto=False, dominated_by="all")
    more = whole_record(*record.to_mapping()["rows"], nothing)
    assert write_report(more, tmp_path)["png"].stat().st_size > 0


@pytest.mark.slow
def test_of_many_rows_only_the_front_is_named_and_colours_tell_the_networks(record, tmp_path, monkeypatch):
    rows = [
        row("int8", ms=10.0 + number, model=f"net{number % 3}", execution=f"f{number}", pareto=number == 0)
        for number in range(30)
    ]
    many = whole_record(*rows, row("fp32", "onnxruntime", model="net0", pareto=False))
    colours = report.colours_of(many.rows)
    assert len(set(colours.values())) == 3 and set(colours.values()) <= set(report.NETWORK_COLOURS)
    seen = []
    real = report._write_labels
    monkeypatch.setattr(report, "_write_labels", lambda *words: (real(*words), seen.extend(words[1].texts)))
    write_report(many, tmp_path)
    assert [text.get_text() for text in seen] == ["int8"]
    assert seen[0].get_color() == colours[many.rows[0].key]


def test_without_matplotlib_there_is_no_picture(record, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert set(write_report(record, tmp_path)) == {"json", "csv", "md", "html"}
    assert not (tmp_path / "record.png").exists()


def test_folder_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with (
        refused(BadInput, "notes.txt"),
        report_folder(tmp_path / "notes.txt" / "bench"),
    ):
        raise AssertionError("measured nevertheless")


def test_new_folder_that_stays_empty_is_taken_back_and_others_are_not(tmp_path):
    with pytest.raises(BadInput, match="stop"), report_folder(tmp_path / "new"):
        raise BadInput("stop")
    assert not (tmp_path / "new").exists()
    with report_folder(tmp_path / "new"):
        (tmp_path / "new" / "record.json").write_text("{}")
    with report_folder(tmp_path):
        pass
    assert (tmp_path / "new" / "record.json").is_file()
