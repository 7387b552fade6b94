"""docs/explanation/paper.md says what skips.json beside it holds, and that each skip helped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs" / "explanation"
COLUMNS = ("pixel_acc", "mean_acc", "miou", "fw_iou", "trimap_miou")
ROWS = json.loads((DOCS / "skips.json").read_text(encoding="utf-8"))["rows"]


def test_networks_are_of_one_backbone_from_coarse_to_fine():
    assert [row["network"] for row in ROWS] == ["FCN-32s", "FCN-16s", "FCN-8s"]
    assert len({row["backbone"] for row in ROWS}) == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["network"])
def test_table_is_the_record(row):
    measured = [f"{100 * row[name]:.1f}" for name in COLUMNS]
    text = (DOCS / "paper.md").read_text(encoding="utf-8").partition("## On PASCAL VOC")[0]
    assert f"| {row['network']} | {' | '.join(measured)} |" in text


@pytest.mark.parametrize("name", ["pole", "sign", "pedestrian"])
def test_thin_classes_are_the_record(name):
    text = (DOCS / "paper.md").read_text(encoding="utf-8")
    told = re.search(rf"{name}s" + 3 * r"\s([\d.]+\d),?", text)
    key = {"sign": "sign_symbol"}.get(name, name)
    assert told is not None
    assert [f"{100 * row['iou'][key]:.1f}" for row in ROWS] == list(told.groups())


@pytest.mark.parametrize("metric", ["miou", "trimap_miou"])
def test_each_skip_helps(metric):
    values = [row[metric] for row in ROWS]
    assert values == sorted(values)
