"""A record for people: JSON, CSV, Markdown, an HTML page and a picture of latency against mIoU."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import whole_file
from fcn_edge.benchmark.page import write_page
from fcn_edge.benchmark.partial import NAME as PARTIAL
from fcn_edge.benchmark.samples import FOLDER as SAMPLES
from fcn_edge.outputs import MARK, require_outputs
from fcn_edge.records import REFERENCE, Record, RecordRow, RowKey
from fcn_edge.streaming.sinks.base import require_writable

COLUMNS = (
    "model",
    "precision",
    "execution",
    "target",
    "runtime",
    "height",
    "width",
    "miou",
    "p50_ms",
    "p90_ms",
    "p95_ms",
    "p99_ms",
    "end_to_end_p50_ms",
    "end_to_end_p99_ms",
    "fps",
    "end_to_end_fps",
    "missed",
    "cold_start_ms",
    "warm_start_ms",
    "peak_rss_mb",
    "size_mb",
    "energy_mj",
    "power_w",
    "pareto",
    "dominated_by",
    "schedule",
)
COLOURS = {"openvino": "#2463a8", "onnxruntime": "#c4541c", "pytorch": "#6b6b6b"}
NETWORK_COLOURS = ("#2463a8", "#c4541c", "#2b8a5b", "#7b5ea7", "#b08400", "#c2417c", "#4a8f9b", "#6b6b6b")
MOST_LABELS = 24  # with more rows only those on the front are named; the legend explains the rest
MOST_STEPS = 24  # places that are tried for a label, above and below its mark
MARKERS = {"fp32": "o", "bf16": "s", "int8": "^", "fp16": "D", "int8-fp16": "v"}


@contextmanager
def report_folder(out: Path) -> Iterator[None]:
    """Make `out` and try to write there before the minutes of measuring; gone again if it stays empty.

    Raises BadInput where it cannot be written, or holds files of those names that are not ours.
    """
    require_outputs([*files_of_report(out).values(), out / PARTIAL, *(out / SAMPLES).glob("*.jpg")])
    is_new = not out.exists()
    require_writable(out)
    try:
        yield
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()


def write_report(record: Record, out: Path) -> dict[str, Path]:
    """Write record.json, .csv, .md, .html and, where matplotlib is installed, .png; their paths by kind."""
    paths = files_of_report(out)
    record.save(paths["json"])
    _write_csv(record.rows, paths["csv"])
    with whole_file(paths["md"]) as part:
        part.write_text(markdown_of(record), encoding="utf-8")
    write_page(record, paths["html"])
    if "png" in paths:
        _write_picture(record, paths["png"])
    return paths


def files_of_report(out: Path) -> dict[str, Path]:
    """What `write_report` writes into `out`, by kind; a picture only where matplotlib is installed."""
    kinds = ("json", "csv", "md", "html", *(["png"] if find_spec("matplotlib") else []))
    return {kind: out / f"record.{kind}" for kind in kinds}


def markdown_of(record: Record) -> str:
    """The record as a page of Markdown: its table, and how it was made."""
    lines = [
        f"# {record.data}, {record.images} images",
        "",
        f"{device_words(record)}, {record.date}.",
        "",
        *table_of(record.rows),
        "",
        "±: half the 95 % interval; all rows see the same images. Missed: frames not done when the next came.",
        "",
    ]
    if record.command:
        lines += ["```sh", record.command, "```", ""]
    lines += [f"<!-- {MARK} -->", ""]
    return "\n".join(lines)


def device_words(record: Record, *, short: bool = False) -> str:
    """Such as "AMD EPYC, 2 cores (avx2, avx512_vnni)"; short: without the instruction sets."""
    if record.device is None:
        return "an unknown device"
    words = f"{record.device.cpu}, {record.device.cores} cores"
    return words if short else f"{words} ({', '.join(record.device.instruction_sets)})"


def table_of(rows: Sequence[RecordRow]) -> list[str]:
    """Lines of a Markdown table, fastest first; the reference run is not in it."""
    lines = [
        "| model | precision | engine | network, p50 ms | p99 | end to end, p50 ms | missed | mIoU | MB | peak MB | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.frame_ms):
        if row.target == REFERENCE:
            continue
        cells = (
            f"{row.model} {row.height}x{row.width}",
            row.label,
            row.runtime,
            f"{row.latency_ms.p50:.1f}",
            f"{row.latency_ms.p99:.1f}",
            f"{row.end_to_end_ms.p50:.1f}",
            f"{row.paced.missed} of {row.paced.frames}" if row.paced else "-",
            miou_in_points(row),
            f"{row.size_mb:.1f}",
            "-" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}",
            "front" if row.pareto else f"beaten by {row.dominated_by}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def miou_in_points(row: RecordRow) -> str:
    """Such as "75.09 ± 2.1", with half the width of its interval."""
    shown = "-" if row.miou is None else f"{100 * row.miou:.2f}"
    return f"{shown} ± {50 * (row.miou_ci[1] - row.miou_ci[0]):.1f}" if row.miou_ci else shown


def _write_csv(rows: Sequence[RecordRow], path: Path) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_csv_value(row, name) for name in COLUMNS] for row in rows)


def _csv_value(row: RecordRow, column: str) -> Any:
    percentile = re.fullmatch(r"(end_to_end_)?(p\d+)_ms", column)
    if percentile:
        return getattr(row.end_to_end_ms if percentile[1] else row.latency_ms, percentile[2])
    if column == "missed":
        return None if row.paced is None else row.paced.missed
    return getattr(row, column)


def _write_picture(record: Record, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted(record.competing_rows, key=lambda row: row.frame_ms)
    colours = colours_of(rows)
    figure, axes = pyplot.subplots(figsize=(8, 5) if len(rows) <= MOST_LABELS else (10, 6.5), dpi=120)
    for row in rows:
        _draw_row(axes, row, colours[row.key])
    front = [_point(row) for row in rows if row.pareto]
    axes.plot(*zip(*front), color="#999999", linewidth=1, linestyle="--", zorder=1, label="Pareto front")
    _scale(axes, rows)
    axes.set_xlabel("network latency, ms (mark: p50, line: to p95)")
    axes.set_ylabel("mIoU, points")
    axes.grid(alpha=0.25)
    _write_legend(axes, rows, colours)
    models = {row.model for row in rows}
    what = rows[0].model if len(models) == 1 else f"{len(models)} networks"
    title = f"{what} on {device_words(record, short=True)}\n{record.data}, {record.images} images"
    axes.set_title(title, fontsize=9)
    figure.tight_layout()
    _write_labels(figure, axes, rows, colours)
    with whole_file(path) as part:
        figure.savefig(part, metadata={"Comment": MARK})
    pyplot.close(figure)


def colours_of(rows: Sequence[RecordRow]) -> dict[RowKey, str]:
    """A colour for each network where there are several, else for each engine."""
    models = sorted({row.model for row in rows})
    if len(models) == 1:
        return {row.key: COLOURS.get(row.target, "black") for row in rows}
    own = dict(zip(models, itertools.cycle(NETWORK_COLOURS), strict=False))
    return {row.key: own[row.model] for row in rows}


def _point(row: RecordRow) -> tuple[float, float]:
    return row.frame_ms, 100 * (row.miou or 0)


def _draw_row(axes: Any, row: RecordRow, colour: str) -> None:
    """Hollow: ONNX Runtime."""
    (x, y), face = _point(row), "white" if row.target == "onnxruntime" else colour
    axes.plot([x, row.latency_ms.p95], [y, y], color=colour, alpha=0.4, linewidth=1.5)
    axes.scatter(x, y, edgecolors=colour, facecolors=face, marker=MARKERS.get(row.label, "o"), s=60, zorder=3)


def _write_legend(axes: Any, rows: Sequence[RecordRow], colours: dict[RowKey, str]) -> None:
    """The front; with several networks their colours, what each shape is and who is hollow, too."""
    if len({row.model for row in rows}) > 1:
        plain = {"linestyle": "", "markersize": 7}
        for model, colour in sorted({(row.model, colours[row.key]) for row in rows}):
            axes.plot([], [], marker="o", color=colour, label=model, **plain)
        for label in dict.fromkeys(row.label for row in rows):
            axes.plot([], [], marker=MARKERS.get(label, "o"), color="#555555", label=label, **plain)
        if any(row.target == "onnxruntime" for row in rows):
            axes.plot([], [], marker="o", color="#555555", markerfacecolor="white", label="ONNX Runtime", **plain)
    axes.legend(loc="lower right" if len(rows) <= MOST_LABELS else "best", fontsize=8)


def _scale(axes: Any, rows: Sequence[RecordRow]) -> None:
    """Latency from zero, and at least two points of mIoU, so that nothing looks larger than it is.

    A p95 far from its p50 leaves the picture, so that one slow row does not press the others together.
    """
    slowest = max(row.latency_ms.p50 for row in rows)
    latest = max(row.latency_ms.p95 for row in rows)
    axes.set_xlim(0, max(1.25 * slowest, min(1.05 * latest, 1.6 * slowest)))
    mious = [_point(row)[1] for row in rows]
    centre, half = (min(mious) + max(mious)) / 2, max(1.0, 0.65 * (max(mious) - min(mious)))
    axes.set_ylim(centre - half, centre + half)


def _write_labels(figure: Any, axes: Any, rows: Sequence[RecordRow], colours: dict[RowKey, str]) -> None:
    """Name each mark, or each on the front of many, as near to it as no other mark and no other name is covered."""
    taken = [_box_around(axes.transData.transform(_point(row))) for row in rows]
    taken.append(axes.get_legend().get_window_extent(figure.canvas.get_renderer()))
    is_many = len(rows) > MOST_LABELS  # then the colour shows the network
    several, sizes = len({row.model for row in rows}) > 1, len({row.height for row in rows}) > 1
    for row in rows:
        if is_many and not row.pareto:
            continue
        name = row.label if is_many else f"{row.target} {row.label}"
        name += f", {row.model}" if several and not is_many else ""
        name += f" {row.height}x{row.width}" if sizes else ""
        style = {"textcoords": "offset points", "fontsize": 8, "color": colours[row.key]}
        text = axes.annotate(name, _point(row), (4, 8), **style)
        for step in range(1, MOST_STEPS):
            text.set_position((4, 8 * ((step + 1) // 2) if step % 2 else -8 * (step // 2) - 7))
            box = text.get_window_extent(figure.canvas.get_renderer())
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


def _box_around(centre: Any, half: float = 6.0) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox([[centre[0] - half, centre[1] - half], [centre[0] + half, centre[1] + half]])
