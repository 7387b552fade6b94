"""The report as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import whole_file
from fcn_edge.benchmark.samples import LABELS, sample_file
from fcn_edge.benchmark.variants import precision_label
from fcn_edge.metrics import ImageScore, confusion_of_images
from fcn_edge.records import key_of, name_of
from fcn_edge.schema import from_mapping

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "/*RECORD*/"
LEFT_OUT = ("scores", "cpu_ms", "preemptions", "yardstick_ms", "yardstick_cpu_ms")  # of a row


def write_page(record: Mapping[str, Any], path: Path) -> None:
    """Write the report, with the sample pictures that stand beside it."""
    text = json.dumps(_shown(record, path.parent), allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c")  # a name of the user's must not end the script element
    with whole_file(path) as part:
        part.write_text(TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text), encoding="utf-8")


def _shown(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    rows = [_row(row) for row in record["rows"]]
    names = [LABELS, *(name_of(key_of(row)) for row in rows)]
    pictures = [(name, sample_file(folder, name)) for name in names]
    samples = [[name, _data_uri(file)] for name, file in pictures if file.is_file()]
    return {**record, "rows": rows, "samples": samples}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    images = [from_mapping(ImageScore, image, "image") for image in row["scores"]["images"]]
    iou = row["scores"]["iou"]
    kept = {name: value for name, value in row.items() if name not in LEFT_OUT}
    for name in ("latency_ms", "end_to_end_ms"):
        kept[name] = {part: value for part, value in row[name].items() if part != "raw"}
    confusion = confusion_of_images(images, len(iou)).tolist()
    return kept | {"label": precision_label(row["precision"], row["execution"]), "iou": iou, "confusion": confusion}


def _data_uri(file: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode()
