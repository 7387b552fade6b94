"""Writes the tables of README.md and of the benchmarks shelf from the records that they name.

    python benchmarks/tables.py

A table stands between `<!-- table of FILE -->`, or `<!-- table of devices -->`, and `<!-- end of table -->`;
tests/test_tables.py holds it against its record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcn_edge.bench.report import label_of, miou_in_points
from fcn_edge.files import read_json, whole_file
from fcn_edge.records import require_plausible

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "benchmarks" / "METHOD.md")
RESULTS = ROOT / "benchmarks" / "results"
PLACE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "pytorch": "PyTorch", "tensorrt": "TensorRT"}


def main() -> None:
    for path in DOCUMENTS:
        text = with_tables(path.read_text(encoding="utf-8"))
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")


def with_tables(text: str) -> str:
    """The document with each table made anew."""
    return PLACE.sub(lambda found: f"{found[1]}{table_named(found[2])}\n{found[3]}", text)


def table_named(name: str) -> str:
    """The table of a record below the project's folder, of all other devices, or of the gate's trial."""
    if name == "devices":
        return "\n".join(device_table(results()))
    found = read_json(ROOT / name)
    return "\n".join(trial_table(found) if "trials" in found else row_table(found))


def row_table(record: Mapping[str, Any]) -> list[str]:
    """Rows that compete, fastest first; sizes and networks are named where there are several."""
    rows = [row for row in record["rows"] if row["target"] != "reference"]
    several = len({(row["model"], row["height"], row["width"]) for row in rows}) > 1
    head = ["network", "size"] if several else []
    head += ["precision", "engine", "network, p50 ms", "with input and overlay, ms", "mIoU", "MB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in sorted(rows, key=lambda row: row["latency_ms"]["p50"]):
        target, version = row["target"], row["runtime"].partition(" ")[2]
        miou = "random weights" if row["weights"].startswith("random") else miou_in_points(row)
        cells = [row["model"], f"{row['height']}x{row['width']}"] if several else []
        cells += [label_of(row), f"{ENGINES.get(target, target)} {version}", f"{row['latency_ms']['p50']:.1f}",
                  f"{row['end_to_end_ms']['p50']:.1f}", miou, f"{row['size_mb']:.1f}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def trial_table(trial: Mapping[str, Any]) -> list[str]:
    """What was planted, how often, and what the gate said."""
    counts: dict[tuple[str, float], list[str]] = {}
    for each in trial["trials"]:
        counts.setdefault((each["planted"], each["size"]), []).append(each["verdict"])
    lines = ["| planted | runs | pass | undecidable | fail |", "|---|---|---|---|---|"]
    for (what, size), verdicts in counts.items():
        told = (str(verdicts.count(verdict) or "") for verdict in ("pass", "undecidable", "fail"))
        name = what if what in ("nothing", "a class lost") else f"{what} {size:g}"
        lines.append(f"| {name} | {len(verdicts)} | {' | '.join(told)} |")
    return lines


def results() -> list[tuple[str, dict[str, Any]]]:
    """Records that others have measured, by file name. Raises BadInput for one that cannot be."""
    found = [(path.name, read_json(path)) for path in sorted(RESULTS.glob("*.json"))]
    for name, record in found:
        require_plausible(record, name)
    return found


def device_table(records: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """A line for each row on the front of each device's record."""
    if not records:
        return ["*No other device has been measured yet.*"]
    lines = ["| device | data | network | precision | engine | p50 ms | mIoU | record |", "|---" * 8 + "|"]
    for name, record in records:
        device = record["device"]
        title = f"{device['cpu']}, {device['cores']} cores" + (f", {device['jetpack']}" if device["jetpack"] else "")
        for row in record["rows"]:
            if row["pareto"]:
                cells = (title, record["data"], f"{row['model']} {row['height']}x{row['width']}", label_of(row),
                         row["runtime"], f"{row['latency_ms']['p50']:.1f}", miou_in_points(row),
                         f"[{name}](results/{name})")  # fmt: skip
                lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
