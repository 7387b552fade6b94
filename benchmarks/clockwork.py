"""What each schedule costs and saves: mean IU against time a frame, over a labelled video.

    python benchmarks/clockwork.py net.int8.onnx net.onnx --execution f32 bf16 --data camvid:camvid#val

Every file runs in every execution that its precision allows. All schedules of a file are open at once and take
turns, a pass over the video each. Writes clockwork.json (rows that were there and are not measured now stay),
clockwork.png, and the table in clockwork.md where that file is there.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import read_json, whole_file, write_json
from fcn_edge.data import dataset_from_name
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.engines import Engine, EngineOptions, open_engine
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.frame import Frame, Style
from fcn_edge.intervals import difference_from_images
from fcn_edge.percentiles import nearest_rank
from fcn_edge.schema import to_mapping
from fcn_edge.streaming.sources import source_from_dataset

SCHEDULES = (
    "every",
    "fixed:2",
    "fixed:4",
    "fixed:1,2,4",
    "fixed:1,2,4/still",
    "fixed:2,2,6",
    "fixed:2,2,2,2",
    "fixed:2,2,2,2/still",
    "fixed:2,2,2,6",
    "fixed:3,3,3,6",
    "adaptive:0.5",
    "adaptive:1",
)
KEYS = ("model", "target", "precision", "execution", "schedule")
BEGIN, END = "<!-- table of benchmarks/clockwork.py -->", "<!-- end of table -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="ONNX files, or engine directories")
    parser.add_argument("--data", required=True, help="a labelled video, such as camvid:DIR#val")
    parser.add_argument("--target", default="openvino", choices=("openvino", "onnxruntime"))
    parser.add_argument("--execution", nargs="+", default=["f32"], choices=("f32", "bf16"))
    parser.add_argument("--schedules", nargs="+", default=SCHEDULES, help='the first is "every", which ratios are to')
    parser.add_argument("--rounds", type=int, default=5, help="passes over the video, the first not counted")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    given = parser.parse_args()
    rows = []
    for path in given.files:
        for execution in given.execution:
            if execution == "f32" or not is_quantized(path):
                rows += measured(path, execution, given)
    record = updated(given.out / "clockwork.json", rows, given.data)
    write_json(given.out / "clockwork.json", record)
    write_table(given.out / "clockwork.md", record["rows"])
    draw(given.out / "clockwork.png", record["rows"])


def is_quantized(path: Path) -> bool:
    with open_engine(path, target="onnxruntime") as engine:
        return engine.precision.startswith("int8")


def measured(path: Path, execution: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each schedule of one file in one execution."""
    data = dataset_from_name(given.data)
    with ExitStack() as stack:
        engines = []
        for schedule in given.schedules:
            options = EngineOptions(execution, given.threads, schedule=schedule)  # type: ignore[arg-type]
            engines.append(stack.enter_context(open_engine(path, target=given.target, options=options)))
        scores = [evaluate(engine, data) for engine in engines]
        stage_runs = [to_mapping(engine.stage_runs()) for engine in engines]
        times = alternating(engines, frames_of(given.data), given.rounds)
    rows = [row_of(*parts, scores[0], times[0]) for parts in zip(engines, scores, stage_runs, times, strict=True)]
    for row in rows:
        print(
            f"{row['precision']} {row['execution']} {row['schedule']}: mIoU {100 * row['miou']:.2f}"
            f" ({100 * row['difference']:+.2f}), mean {row['time_ms']['mean']:.2f} ms, {row['ratio']:.2f}x",
            flush=True,
        )
    return rows


def frames_of(name: str) -> list[Frame]:
    """The whole video."""
    return list(source_from_dataset(dataset_from_name(name)).frames())


def alternating(engines: list[Engine], frames: list[Frame], rounds: int) -> list[np.ndarray]:
    """Milliseconds of the network on every frame for each engine, as (rounds - 1, frames)."""
    times: list[list[list[float]]] = [[] for _ in engines]
    for _ in range(rounds):
        for engine, passes in zip(engines, times, strict=True):
            passes.append([engine.segment(frame, Style(overlay=False)).times.infer_ns / 1e6 for frame in frames])
    return [np.array(passes[1:]) for passes in times]


def row_of(
    engine: Engine, found: Evaluation, stage_runs: Any, times: np.ndarray, every: Evaluation, every_times: np.ndarray
) -> dict[str, Any]:
    """ratio: how many times as many frames a second as `every`, of the mean times."""
    difference = difference_from_images(found.images, every.images, engine.spec.num_classes)
    return {
        "model": engine.spec.name,
        "target": engine.target,
        "runtime": engine.runtime,
        "precision": engine.precision,
        "execution": engine.execution,
        "schedule": engine.schedule,
        "stage_runs": stage_runs,
        "miou": found.scores.miou,
        "difference": difference.miou,
        "difference_ci": to_mapping(difference.intervals.miou),
        "time_ms": {"mean": round(typical_mean(times), 3)}
        | {f"p{q}": round(ms, 3) for q, ms in zip((50, 99), nearest_rank(times, (50, 99)))},
        "ratio": round(typical_mean(every_times) / typical_mean(times), 3),
        "passes": len(times),
        "frames": times.shape[1],
    }


def typical_mean(times: np.ndarray) -> float:
    """The mean over the frames of the video, each frame's time being the median of all passes."""
    return float(np.median(times, axis=0).mean())


def updated(path: Path, rows: list[dict[str, Any]], data: str) -> dict[str, Any]:
    """The record with these rows, and those of other files or executions that it held already."""
    measured_now = {tuple(row[key] for key in KEYS[:-1]) for row in rows}
    held = read_json(path)["rows"] if path.is_file() else []
    kept = [row for row in held if tuple(row[key] for key in KEYS[:-1]) not in measured_now]
    return {
        "schema": 1,
        "data": data.split(":")[0] + " " + data.partition("#")[2],
        "rows": kept + rows,
        "device": {**to_mapping(this_device()), "name": this_device().name},
        "versions": package_versions(("fcn-edge", "numpy", "opencv-python", "openvino", "onnxruntime")),
        "commit": git_commit(),
    }


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the table in a document that has a place for it."""
    if not path.is_file():
        return
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        with whole_file(path, replaces=True) as part:
            part.write_text(f"{before}{BEGIN}\n\n{table_of(rows)}\n{END}{after}", encoding="utf-8")


def table_of(rows: list[dict[str, Any]]) -> str:
    """Markdown, a row a schedule, each with its stages' runs in percent of the frames."""
    columns = ("", "schedule", "stages run, % of frames", "mIoU", "difference, 95 % interval", "mean ms", "p50", "p99")
    lines = [f"| {' | '.join(columns)} | times as fast |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        runs = " ".join(f"{100 * stage['runs'] / stage['frames']:.0f}" for stage in row["stage_runs"]) or "100"
        ci = row["difference_ci"]
        between = f"{100 * row['difference']:+.2f} ({100 * ci[0]:+.2f} to {100 * ci[1]:+.2f})" if ci else "-"
        t = row["time_ms"]
        lines.append(
            f"| {label(row)} | `{row['schedule']}` | {runs} | {100 * row['miou']:.2f} |"
            f" {'' if row['schedule'] == 'every' else between} | {t['mean']:.2f} | {t['p50']:.2f} | {t['p99']:.2f} |"
            f" {row['ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def label(row: dict[str, Any]) -> str:
    """Such as "int8" or "bf16"."""
    kind = row["execution"] if row["precision"] == "fp32" and row["execution"] != "f32" else row["precision"]
    return kind if row["target"] == "openvino" else f"{kind}, ONNX Runtime"


def draw(path: Path, rows: list[dict[str, Any]]) -> None:
    """mIoU lost against how many times as many frames a second; old scores left where they are in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), constrained_layout=True)
    for kind, colour in zip(dict.fromkeys(label(row) for row in rows), ("#1f6feb", "#d1495b", "#2a9d8f", "#8d6a9f")):
        for is_still in (False, True):
            mine = [row for row in rows if label(row) == kind and row["schedule"].endswith("/still") == is_still]
            name = f"{kind}{', old scores left where they are' if is_still else ''}"
            axes.scatter(
                [row["ratio"] for row in mine],
                [100 * row["difference"] for row in mine],
                s=34,
                label=name,
                color=colour,
                marker="x" if is_still else "o",
                alpha=0.5 if is_still else 1,
            )
    first = label(rows[0])
    for row in rows:
        if label(row) == first:
            axes.annotate(
                row["schedule"],
                (row["ratio"], 100 * row["difference"]),
                fontsize=7.5,
                xytext=(5, -9),
                textcoords="offset points",
            )
    axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    axes.set_xlabel("times the frames a second of running every stage on every frame (network alone, mean)")
    axes.set_ylabel("mean IU, points against every")
    axes.legend(fontsize=8, loc="lower left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with whole_file(path, replaces=True) as part:
        figure.savefig(part, dpi=130, format="png")
    pyplot.close(figure)


if __name__ == "__main__":
    main()
