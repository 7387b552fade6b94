"""The whole pipeline in one command, on synthetic streets or on the user's own video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from fcn_edge.atomic_io import whole_file
from fcn_edge.benchmark import BenchOptions, bench, files_of_report
from fcn_edge.benchmark.report import device_words
from fcn_edge.build import BuildPrecision, Manifest, build_engine
from fcn_edge.calibration import calibrate
from fcn_edge.calibration.placement import placement_for
from fcn_edge.device import this_device
from fcn_edge.engines import available_targets, open_engine
from fcn_edge.errors import BadInput
from fcn_edge.exporting import export
from fcn_edge.outputs import MARK, marked_png, require_outputs
from fcn_edge.progress import SILENT, NamedTask, Progress
from fcn_edge.records import Record
from fcn_edge.redaction import redacted
from fcn_edge.registry import packaged_file
from fcn_edge.schema import to_mapping
from fcn_edge.streaming import run
from fcn_edge.streaming.sinks.base import require_writable
from fcn_edge.streaming.sources import source_from_uri
from fcn_edge.streaming.sources.stills import Stills

# Seeds of the training supplement (900), calibration (2), evaluation (3) and video (4) are disjoint.
CALIBRATION = "synthetic_street"
CALIBRATION_IMAGES = 32
EVALUATION = "synthetic:street,seed=3,images=32,size=360x480"
VIDEO = "synthetic:street,seed=4,images=120,size=540x960,video=1"


@dataclass(frozen=True)
class DemoResult:
    """What was made: the benchmark record, the run's summary, NVIDIA engines, and every file with its meaning."""

    record: Record
    summary: dict[str, Any]
    nvidia: tuple[Manifest, ...]
    files: dict[str, str]

    def to_mapping(self) -> dict[str, Any]:
        """What `demo --json` prints."""
        return {
            "record": self.record.to_mapping(),
            "summary": self.summary,
            "nvidia": [manifest.to_mapping() for manifest in self.nvidia],
            "files": self.files,
        }


def run_demo(out: Path, *, source: str | None = None, progress: Progress = SILENT) -> DemoResult:
    """Checkpoint -> ONNX -> INT8 -> engines -> mIoU and latency -> annotated video and report, all in `out`.

    source: the user's own video; None draws a street. Raises what the verbs behind it raise.
    """
    require_writable(out)
    with source_from_uri(source or VIDEO) as frames:  # a wrong address is an error now, not minutes later
        require_outputs(_files_of_demo(out), frames.files)
    require_outputs(files_of_report(out / "bench").values())
    files: dict[str, str] = {}
    fp32 = _export(out, files, progress)
    int8 = _calibrate(fp32, out, files, progress)
    nvidia = _nvidia_engines(fp32, out, files, progress)
    progress.note("measuring latency and mIoU of every precision on every engine")
    record = bench(
        _with_reference([fp32, int8]),
        EVALUATION,
        options=BenchOptions(rounds=5),
        out=out / "bench",
        pictures=False,
        progress=progress,
    )
    meanings = {
        "json": "the benchmark record",
        "csv": "its rows",
        "md": "its table",
        "html": "its report, for a browser",
        "png": "latency against mIoU, as a picture",
    }
    files |= {str(path): meanings[kind] for kind, path in files_of_report(out / "bench").items()}
    summary = _video(int8, out, source or VIDEO, files, progress)
    result = DemoResult(record, summary, tuple(nvidia), files)
    _write_page(result, out / "report.md")
    files[str(out / "report.md")] = "this demo's report"
    return result


def _files_of_demo(out: Path) -> list[Path]:
    """What is written into `out` itself."""
    names = ("fp32.onnx", "int8.onnx", "table.json", "mp4", "png")
    return [out / "report.md", *(out / f"street.{name}" for name in names)]


def _export(out: Path, files: dict[str, str], progress: Progress) -> Path:
    if "pytorch" not in available_targets():
        progress.note("PyTorch is not installed: taking the packaged ONNX file instead of exporting the checkpoint")
        return packaged_file(".onnx")
    progress.note("exporting the packaged checkpoint to ONNX, checked against PyTorch")
    path = export(packaged_file(".safetensors"), out / "street.fp32.onnx").path
    files[str(path)] = "the network in fp32, with its contract inside"
    return path


def _calibrate(fp32: Path, out: Path, files: dict[str, str], progress: Progress) -> Path:
    progress.note(f"calibrating INT8 on {CALIBRATION_IMAGES} synthetic streets")
    table = out / "street.table.json"
    made = calibrate(
        fp32,
        CALIBRATION,
        out / "street.int8.onnx",
        count=CALIBRATION_IMAGES,
        placement=placement_for("openvino", this_device()),
        table=table,
        progress=progress,
    )
    files[str(made.path)] = "the network in INT8 (Q/DQ), placed for this CPU"
    files[str(table)] = "the calibration table, with the hash of every image"
    return made.path


def _nvidia_engines(fp32: Path, out: Path, files: dict[str, str], progress: Progress) -> list[Manifest]:
    if "tensorrt-rtx" not in available_targets():
        progress.note("TensorRT-RTX is not installed (pip install 'fcn-edge[rtx]'): no NVIDIA engine is compiled")
        return []
    manifests = []
    precisions: tuple[BuildPrecision, ...] = ("fp16", "int8")
    for precision in precisions:
        progress.note(f"compiling a TensorRT-RTX engine in {precision} on this CPU (it runs on an RTX GPU)")
        calib = out / "street.table.json" if precision == "int8" else None
        folder = out / f"street.{precision}.rtx"
        manifests.append(
            build_engine(fp32, folder, target="tensorrt-rtx", precision=precision, calib=calib, progress=progress)
        )
        files[str(folder)] = f"a TensorRT-RTX engine in {precision}, compiled, not run"
    return manifests


def _with_reference(files: list[Path]) -> list[Path]:
    """The checkpoint, which runs in PyTorch, before the files, where PyTorch is installed."""
    if "pytorch" not in available_targets():
        return files
    return [packaged_file(".safetensors"), *files]


def _video(model: Path, out: Path, source: str, files: dict[str, str], progress: Progress) -> dict[str, Any]:
    progress.note(f"segmenting {redacted(source)} into an annotated video")
    path = out / "street.mp4"
    with open_engine(model) as net:
        summary = run(net, source=source, sinks=[path], progress=NamedTask(progress, "segmenting"))
    if summary.failed:
        raise BadInput(summary.failed)
    files[str(path)] = "the annotated video"
    picture = out / "street.png"
    _write_middle_frame(path, summary.frames_out // 2, picture)
    files[str(picture)] = "a frame of it"
    mapping: dict[str, Any] = to_mapping(summary)
    return mapping


def plan_in_words(manifest: Manifest) -> str:
    """What the compiler made of the convolutions, by its own account."""
    report, name = manifest.layer_report, f"{manifest.runtime} {manifest.precision}"
    if report is None or report.convolutions_int8 is None:
        return f"{name}: compiled"
    total = report.convolutions_int8 + (report.convolutions_float or 0)
    return f"{name}: compiled, {report.convolutions_int8} of {total} convolutions in INT8"


def _write_middle_frame(video: Path, index: int, picture: Path) -> None:
    image = Stills(video).image(index)
    with whole_file(picture) as part:
        part.write_bytes(marked_png(cv2.imencode(".png", image)[1].tobytes()))


def _write_page(result: DemoResult, path: Path) -> None:
    record = result.record
    lines = [
        "# fcn-edge demo",
        "",
        f"Measured on {device_words(record, short=True)}, {record.date}.",
        "",
        f"mIoU on `{record.data}` ({record.images} images), latency of the network alone.",
        "",
        "| precision | engine | p50 ms | p95 ms | mIoU | MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in record.rows:
        miou = "-" if row.miou is None else f"{100 * row.miou:.1f}"
        lines.append(
            f"| {row.label} | {row.runtime} | {row.latency_ms.p50:.1f} | {row.latency_ms.p95:.1f}"
            f" | {miou} | {row.size_mb:.1f} |"
        )
    if any(name.endswith("record.png") for name in result.files):
        lines += ["", "![latency against mIoU](bench/record.png)"]
    lines.append("")
    for manifest in result.nvidia:
        lines.append(f"- {plan_in_words(manifest)}; mIoU and latency {manifest.miou_note}")
    with whole_file(path) as part:
        part.write_text("\n".join([*lines, "", f"<!-- {MARK} -->", ""]), encoding="utf-8")
