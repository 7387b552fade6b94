"""Writes the tables of README.md, docs/ and benchmarks/ from the records that they name.

    python benchmarks/tables.py

A table stands between `<!-- table of FILE -->`, or of `devices` or `methods`, and `<!-- end of table -->`; FILE#fp32
and FILE#int8 are the two tables of a record of `interop.py`. tests/test_tables.py holds each against its record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, whole_file
from fcn_edge.benchmark.report import device_words, miou_in_points
from fcn_edge.gating.plausibility import require_plausible
from fcn_edge.records import REFERENCE, Record, RecordRow

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "docs" / "explanation" / "gate.md",
    ROOT / "docs" / "benchmarks" / "int8.md",
    ROOT / "docs" / "benchmarks" / "interop.md",
    ROOT / "docs" / "benchmarks" / "sweep.md",
)
CHANGES = {
    "nothing": "none",
    "slower, %": "slower by {size} %",
    "mIoU lost, points": "mIoU lower by {size} points",
    "size_mb, x": "file {size} times as large",
    "peak_rss_mb, x": "memory {size} times as large",
}
METHODS = ("minmax", "entropy", "percentile", "mse")
RESULTS = ROOT / "benchmarks" / "results"
PLACE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
MESSAGE = 120  # characters of an exporter's, which can be a whole graph
MANY = 5  # networks and sizes: beyond them a line holds all precisions of one
ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "pytorch": "PyTorch", "tensorrt": "TensorRT"}


def main() -> None:
    for path in DOCUMENTS:
        text = with_tables(path.read_text(encoding="utf-8"))
        with whole_file(path, replaces=True) as part:
            part.write_text(text, encoding="utf-8")


def with_tables(text: str) -> str:
    """The document with each table made anew."""
    return PLACE.sub(lambda found: f"{found[1]}{table_named(found[2])}\n{found[3]}", text)


def table_named(name: str) -> str:
    """The table of a record below the project's folder, of all other devices, or of INT8's methods on all networks."""
    if name == "devices":
        return "\n".join(device_table(results()))
    if name == "methods":
        return "\n".join(method_table([read_json(path) for path in sorted((ROOT / "benchmarks").glob("int8.*.json"))]))
    file, _, part = name.partition("#")
    found = read_json(ROOT / file)
    if part:
        return "\n".join({"fp32": interop_fp32_table, "int8": interop_int8_table}[part](found))
    if name.startswith("benchmarks/int8."):
        return "\n".join(int8_table(found))
    if "trials" in found:
        return "\n".join(trial_table(found))
    if "summary" in found:
        return "\n".join(again_table(found["summary"]))
    record = Record.from_mapping(found, file)
    sizes = {(row.model, row.height, row.width) for row in record.rows}
    return "\n".join(sweep_table(record) if len(sizes) > MANY else row_table(record))


def row_table(record: Record) -> list[str]:
    """Rows that compete, fastest first; sizes and networks are named where there are several."""
    rows = [row for row in record.rows if row.target != REFERENCE]
    several = len({(row.model, row.height, row.width) for row in rows}) > 1
    head = ["network", "size"] if several else []
    head += ["precision", "engine", "network, p50 ms", "with input and overlay, ms", "mIoU", "MB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in sorted(rows, key=lambda row: row.latency_ms.p50):
        version = row.runtime.partition(" ")[2]
        cells = [row.model, f"{row.height}x{row.width}"] if several else []
        cells += [
            row.label,
            f"{ENGINES.get(row.target, row.target)} {version}",
            f"{row.latency_ms.p50:.1f}",
            f"{row.end_to_end_ms.p50:.1f}",
            "random weights" if row.weights.startswith("random") else miou_in_points(row),
            f"{row.size_mb:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def sweep_table(record: Record) -> list[str]:
    """A line for each network and size: p50 of each precision on each engine, and mIoU of each on the first one."""
    kinds = list(dict.fromkeys((row.target, row.label) for row in record.rows if row.target != REFERENCE))
    kinds.sort(key=lambda kind: list(ENGINES).index(kind[0]))
    first = [kind for kind in kinds if kind[0] == kinds[0][0]]
    heads = [f"{ENGINES[target]} {label}, ms" for target, label in kinds] + [f"mIoU {label}" for _, label in first]
    lines = [f"| network | size | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    networks: dict[tuple[str, int, int], dict[tuple[str, str], RecordRow]] = {}
    for row in record.rows:
        networks.setdefault((row.model, row.height, row.width), {})[row.target, row.label] = row
    for (model, height, width), rows in networks.items():
        times = [_time_of(rows.get(kind)) for kind in kinds]
        mious = [_miou_of(rows.get(kind)) for kind in first]
        lines.append(f"| {model} | {height}x{width} | {' | '.join(times + mious)} |")
    return lines


def _time_of(row: RecordRow | None) -> str:
    """Bold on the Pareto front."""
    if row is None:
        return "-"
    time_ms = f"{row.latency_ms.p50:.1f}"
    return f"**{time_ms}**" if row.pareto else time_ms


def _miou_of(row: RecordRow | None) -> str:
    return "-" if row is None or row.miou is None else f"{100 * row.miou:.2f}"


def again_table(summary: Mapping[str, Any]) -> list[str]:
    """How far two runs of one suite differ."""
    lines = ["| | rows | half within | 90 % within | all within |", "|---|---|---|---|---|"]
    for what, count, away in (
        ("p50, ms", "rows", "p50_away"),
        ("relative to the reference workload", "judged", "ratio_away"),
    ):
        if summary[away]:
            lines.append(f"| {what} | {summary[count]} | {' | '.join(f'{value:.1f} %' for value in summary[away])} |")
    summary_line = f"mIoU is the same in {summary['same_miou']} of {summary['rows']} rows."
    if summary["judged"]:
        summary_line += (
            f" Half of a row's 95 % interval is {summary['noise']:.1f} % in the median;"
            f" {summary['intervals_holding_1']} of {summary['judged']} intervals contain 1."
        )
    return [*lines, "", summary_line]


def trial_table(trial: Mapping[str, Any]) -> list[str]:
    """Each change that was made on purpose, how often, and the gate's verdicts."""
    counts: dict[tuple[str, float], list[str]] = {}
    for each in trial["trials"]:
        counts.setdefault((each["planted"], each["size"]), []).append(each["verdict"])
    lines = ["| change | runs | pass | undecidable | fail |", "|---|---|---|---|---|"]
    for (what, size), verdicts in counts.items():
        counts_of = (str(verdicts.count(verdict) or "") for verdict in ("pass", "undecidable", "fail"))
        name = CHANGES.get(what, what).format(size=f"{size:g}")
        lines.append(f"| {name} | {len(verdicts)} | {' | '.join(counts_of)} |")
    return lines


def int8_table(record: Mapping[str, Any]) -> list[str]:
    """What each variant keeps of fp32, and its time as a ratio to fp32's; mIoU only where there are labels."""
    rows = record["rows"]
    is_scored = "miou" in rows[0]
    head = [record["model"], *(["mIoU", "points lost, 95 %"] if is_scored else []), "SQNR dB", "equal pixels", "MB"]
    head.append("time, fp32 = 1")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [row["variant"]]
        if is_scored:
            cells += [f"{100 * row['miou']:.2f}", "" if row is rows[0] else "{:+.2f} to {:+.2f}".format(*row["lost"])]
        ratio = f"{row['latency_ms'] / rows[0]['latency_ms']:.2f}" if "latency_ms" in row else ""
        cells += [f"{row['sqnr_db']:.1f}", f"{100 * row['agreement']:.2f} %", f"{row['size_mb']:.1f}", ratio]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def method_table(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Points of mIoU that each method loses on each network with labels, and the SQNR of its scores on all."""
    lines = [f"| {' | '.join(['', *METHODS])} |", "|---" * (1 + len(METHODS)) + "|"]
    for record in records:
        rows = {row["variant"]: row for row in record["rows"]}
        cells = []
        for method in METHODS:
            lost = 100 * (rows["fp32"]["miou"] - rows[method]["miou"]) if "miou" in rows[method] else None
            points = "" if lost is None else f"{lost:+.2f} points, "
            cells.append(f"{points}{rows[method]['sqnr_db']:.1f} dB")
        lines.append(f"| {' | '.join([record['model'], *cells])} |")
    return lines


def interop_fp32_table(record: Mapping[str, Any]) -> list[str]:
    """The opset of each exported file, and equal pixels of the engine that has fewer; below it all messages."""
    files = [(row["family"], file) for row in record["rows"] for file in row["files"]]
    columns = list(dict.fromkeys((file["exporter"], file["variant"]) for _, file in files))
    cells = {(family, file["exporter"], file["variant"]): _fp32_cell(file) for family, file in files}
    lines = [f"| network | {' | '.join(', '.join(column) for column in columns)} |", "|---" * (1 + len(columns)) + "|"]
    for family in dict.fromkeys(family for family, _ in files):
        shown = (cells.get((family, *column), "-") for column in columns)
        lines.append(f"| {family} | {' | '.join(shown)} |")
    notes = [
        f"- {family}, {file['exporter']}, {file['variant']}: {text}"
        for family, file in files
        for text in _messages_of(file)
    ]
    return [*lines, "", *notes] if notes else lines


def _fp32_cell(file: Mapping[str, Any]) -> str:
    if "exporter_error" in file:
        return "not written"
    shares = [engine["agreement"] for engine in file.get("fp32", {}).values() if "agreement" in engine]
    if file["refused"] or not shares:
        return f"{file['opset']}: **refused**"
    missing = "" if len(shares) == len(file["fp32"]) else ", one engine **refused**"
    return f"{file['opset']}: {_percent(min(shares), 2)}{missing}"


def _messages_of(file: Mapping[str, Any]) -> list[str]:
    """Of an exporter, the contract, an engine in fp32 or a build in INT8."""
    messages = [file["refused"]] if file.get("refused") else []
    if "exporter_error" in file:
        messages.append(f"{file['exporter_error'][:MESSAGE]} …")
    for precision in ("fp32", "int8"):
        entries = file.get(precision, {})
        if "error" in entries:
            messages.append(f"{precision}: {entries['error']}")
            continue
        said = {target: entry.get("refused") or entry.get("error") for target, entry in entries.items()}
        messages += [f"{ENGINES[target]}, {precision}: {text}" for target, text in said.items() if text]
    return [text.replace("|", r"\|") for text in messages]


def interop_int8_table(record: Mapping[str, Any]) -> list[str]:
    """SQNR and equal pixels of each INT8 file and of each engine that runs it, and its convolutions on integers."""
    heads = ["network", "exporter", "INT8 file"]
    for target in ("onnxruntime", "openvino"):
        heads += [ENGINES[target], "against the file", "convolutions"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in record["rows"]:
        for file in row["files"]:
            entries = file.get("int8", {})
            measured = [entry["file"] for entry in entries.values() if "file" in entry]
            if measured:
                cells = [row["family"], file["exporter"], _nearness(measured[0])]
                cells += [*_int8_cells(entries["onnxruntime"]), *_int8_cells(entries["openvino"])]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _int8_cells(entry: Mapping[str, Any]) -> list[str]:
    if "whole" not in entry:
        return ["**refused**", "-", "-"]
    verdict = "**refused**: " if entry["refused"] else ""
    integers, all_of_them = entry["convolutions"]
    return [verdict + _nearness(entry["whole"]), _nearness(entry["engine"]), f"{integers} of {all_of_them}"]


def _nearness(pair: Sequence[float]) -> str:
    sqnr_db, agreement = pair
    return f"{sqnr_db:.1f} dB, {_percent(agreement, 1)}"


def _percent(share: float, digits: int) -> str:
    """Rounded down: 100 % is all."""
    return f"{math.floor(share * 10 ** (2 + digits)) / 10**digits:.{digits}f} %"


def results() -> list[tuple[str, Record]]:
    """Records that others have measured, by file name. Raises BadInput for one that cannot be."""
    records = [(path.name, Record.from_file(path)) for path in sorted(RESULTS.glob("*.json"))]
    for name, record in records:
        require_plausible(record, name)
    return records


def device_table(records: Sequence[tuple[str, Record]]) -> list[str]:
    """A line for each Pareto row of each device's record."""
    if not records:
        return ["*No other device has been measured yet.*"]
    lines = ["| device | data | network | precision | engine | p50 ms | mIoU | record |", "|---" * 8 + "|"]
    for name, record in records:
        title = device_words(record, short=True)
        if record.device is not None and record.device.jetpack:
            title += f", {record.device.jetpack}"
        for row in record.rows:
            if row.pareto:
                cells = (
                    title,
                    record.data,
                    f"{row.model} {row.height}x{row.width}",
                    row.label,
                    row.runtime,
                    f"{row.latency_ms.p50:.1f}",
                    miou_in_points(row),
                    f"[{name}](results/{name})",
                )
                lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
