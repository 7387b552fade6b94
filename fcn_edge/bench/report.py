"""A record for people: JSON, CSV and a picture of latency against mIoU."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcn_edge.files import whole_file, write_json
from fcn_edge.stream.sinks.base import require_writable

COLUMNS = (
    "model", "precision", "execution", "target", "runtime", "height", "width", "miou", "p50_ms", "p90_ms", "p95_ms",
    "p99_ms", "fps", "end_to_end_fps", "peak_rss_mb", "size_mb", "pareto",
)  # fmt: skip
COLOURS = {"openvino": "#2463a8", "onnxruntime": "#c4541c", "pytorch": "#6b6b6b"}
MOST_STEPS = 24  # places that are tried for a label, above and below its mark in turn
MARKERS = {"fp32": "o", "bf16": "s", "int8": "^", "fp16": "D", "int8-fp16": "v"}


@contextmanager
def report_folder(out: Path) -> Iterator[None]:
    """Make `out` and try to write there before the minutes of measuring; gone again if it stays empty.

    Raises BadInput where it cannot be written.
    """
    is_new = not out.exists()
    require_writable(out)
    try:
        yield
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()


def write_report(record: dict[str, Any], out: Path) -> dict[str, Path]:
    """Write record.json, record.csv and, where matplotlib is installed, record.png; their paths by kind."""
    paths = {kind: out / f"record.{kind}" for kind in ("json", "csv")}
    write_json(paths["json"], record)
    _write_csv(record["rows"], paths["csv"])
    if find_spec("matplotlib") is not None:
        paths["png"] = out / "record.png"
        _write_picture(record, paths["png"])
    return paths


def label_of(row: dict[str, Any]) -> str:
    """The precision as people say it: bf16 is an execution of the fp32 file."""
    return "bf16" if row["execution"] == "bf16" and row["precision"] == "fp32" else str(row["precision"])


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            flat = row | {f"{name}_ms": value for name, value in row["latency_ms"].items() if name != "raw"}
            writer.writerow([flat[name] for name in COLUMNS])


def _write_picture(record: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted(record["rows"], key=lambda row: row["latency_ms"]["p50"])
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=120)
    for row in rows:
        _draw_row(axes, row)
    front = [_point(row) for row in rows if row["pareto"]]
    axes.plot(*zip(*front, strict=True), color="#999999", linewidth=1, linestyle="--", zorder=1, label="Pareto front")
    _scale(axes, rows)
    axes.set_xlabel("network latency, ms (mark: p50, line: to p95)")
    axes.set_ylabel("mIoU, points")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)
    device = record["device"]
    title = (
        f"{rows[0]['model']} on {device['cpu']}, {device['cores']} cores\n{record['data']}, {record['images']} images"
    )
    axes.set_title(title, fontsize=9)
    figure.tight_layout()
    _write_labels(figure, axes, rows)
    with whole_file(path) as part:
        figure.savefig(part)
    pyplot.close(figure)


def _point(row: dict[str, Any]) -> tuple[float, float]:
    return row["latency_ms"]["p50"], 100 * (row["miou"] or 0)


def _draw_row(axes: Any, row: dict[str, Any]) -> None:
    (x, y), colour = _point(row), _colour(row)
    axes.plot([x, row["latency_ms"]["p95"]], [y, y], color=colour, alpha=0.4, linewidth=1.5)
    axes.scatter(x, y, color=colour, marker=MARKERS.get(label_of(row), "o"), s=60, zorder=3)


def _colour(row: dict[str, Any]) -> str:
    return COLOURS.get(row["target"], "black")


def _scale(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Latency from zero, and at least two points of mIoU, so that nothing looks larger than it is.

    A p95 far from its p50 leaves the picture, so that one slow row does not press the others together.
    """
    slowest, latest = (max(row["latency_ms"][name] for row in rows) for name in ("p50", "p95"))
    axes.set_xlim(0, max(1.25 * slowest, min(1.05 * latest, 1.6 * slowest)))
    mious = [_point(row)[1] for row in rows]
    centre, half = (min(mious) + max(mious)) / 2, max(1.0, 0.65 * (max(mious) - min(mious)))
    axes.set_ylim(centre - half, centre + half)


def _write_labels(figure: Any, axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Name each mark, as near to it as no other mark and no other name is covered."""
    taken = [_box_around(axes.transData.transform(_point(row))) for row in rows]
    several = len({row["model"] for row in rows}) > 1
    for row in rows:
        name = f"{row['target']} {label_of(row)}" + (f", {row['model']}" if several else "")
        style = {"textcoords": "offset points", "fontsize": 8, "color": _colour(row)}
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
