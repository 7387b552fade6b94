"""The report as one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import whole_file
from fcn_edge.benchmark.samples import LABELS, sample_file
from fcn_edge.metrics import confusion_of_images
from fcn_edge.records import Record, RecordRow, precision_label
from fcn_edge.schema import to_mapping

TEMPLATE = Path(__file__).with_name("page.html")
PLACE = "/*RECORD*/"


def write_page(record: Record, path: Path) -> None:
    """Write the report, with the sample pictures beside it."""
    text = json.dumps(_shown(record, path.parent), allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c")  # a name of the user's must not end the script element
    with whole_file(path) as part:
        part.write_text(TEMPLATE.read_text(encoding="utf-8").replace(PLACE, text), encoding="utf-8")


def _shown(record: Record, folder: Path) -> dict[str, Any]:
    pictures = [(name, sample_file(folder, name)) for name in (LABELS, *(row.name for row in record.rows))]
    samples = [[name, _data_uri(file)] for name, file in pictures if file.is_file()]
    return {**record.to_mapping(), "rows": [_row(row) for row in record.rows], "samples": samples}


def _row(row: RecordRow) -> dict[str, Any]:
    """The row as in the record, with its confusion matrix in place of figures of single frames and images."""
    iou = list(row.scores.iou)
    confusion = confusion_of_images(row.images, len(iou)).tolist()
    label = precision_label(row.precision, row.execution)
    return {**to_mapping(row.without_raw()), "label": label, "iou": iou, "confusion": confusion}


def _data_uri(file: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode()
