"""Reports of a record: JSON, CSV, and a picture whose labels can be read."""

from __future__ import annotations

import csv
import json

import cv2
import pytest

from fcn_edge.bench import report, report_folder, write_report
from fcn_edge.errors import BadInput


def row(target, precision, p50, miou, execution="f32", **changes):
    return {
        "model": "fcn8s", "target": target, "runtime": f"{target} 1.0", "precision": precision, "execution": execution,
        "height": 360, "width": 480, "miou": miou, "fps": 1000 / p50, "end_to_end_fps": 900 / p50,
        "latency_ms": {"p50": p50, "p90": p50, "p95": 1.2 * p50, "p99": 2 * p50, "raw": [p50]},
        "peak_rss_mb": None, "size_mb": 3.5, "pareto": precision == "int8",
    } | changes  # fmt: skip


@pytest.fixture
def record():
    """Five rows, two of them at the same place."""
    rows = [
        row("openvino", "fp32", 20.0, 0.60), row("onnxruntime", "fp32", 20.5, 0.60),
        row("openvino", "fp32", 14.0, 0.598, "bf16"), row("openvino", "int8", 10.0, 0.597),
        row("onnxruntime", "int8", 60.0, 0.595, pareto=False),
    ]  # fmt: skip
    return {"schema": 1, "data": "street", "images": 3, "rows": rows, "device": {"cpu": "EPYC", "cores": 2}}


def test_json_csv_and_picture_are_written(record, tmp_path):
    paths = write_report(record, tmp_path / "new")
    assert {kind: path.name for kind, path in paths.items()} == {
        "json": "record.json", "csv": "record.csv", "png": "record.png"
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["record.csv", "record.json", "record.png"]
    assert json.loads(paths["json"].read_text()) == record
    with paths["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["p50_ms"] for line in lines] == ["20.0", "20.5", "14.0", "10.0", "60.0"]
    assert lines[2]["execution"] == "bf16" and lines[0]["peak_rss_mb"] == "" and "raw" not in lines[0]
    assert cv2.imread(str(paths["png"])).shape == (600, 960, 3)


def test_labels_of_the_picture_cover_neither_marks_nor_each_other(record, monkeypatch, tmp_path):
    seen = {}

    def watched(figure, axes, rows):
        real(figure, axes, rows)
        renderer = figure.canvas.get_renderer()
        seen["labels"] = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
        seen["marks"] = [axes.transData.transform((r["latency_ms"]["p50"], 100 * r["miou"])) for r in rows]

    real = report._write_labels
    monkeypatch.setattr(report, "_write_labels", watched)
    write_report(record, tmp_path)
    labels = seen["labels"]
    assert set(labels) == {
        "openvino fp32", "onnxruntime fp32", "openvino bf16", "openvino int8", "onnxruntime int8"
    }  # fmt: skip
    boxes = list(labels.values())
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert not any(box.contains(*mark) for box in boxes for mark in seen["marks"])


def test_several_models_are_told_apart_and_a_row_without_miou_is_drawn(record, tmp_path):
    record["rows"].append(row("pytorch", "fp32", 300.0, None, model="other", pareto=False))
    assert write_report(record, tmp_path)["png"].stat().st_size > 0


def test_without_matplotlib_there_is_no_picture(record, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert set(write_report(record, tmp_path)) == {"json", "csv"}
    assert not (tmp_path / "record.png").exists()


def test_folder_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with (
        pytest.raises(BadInput, match=r"notes.txt.*cannot be written"),
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
