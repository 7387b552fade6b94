"""Latency against mIoU: every precision on every engine, in one run of interleaved rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn_edge.benchmark.measurement import measured_record
from fcn_edge.benchmark.report import files_of_report, report_folder, write_report
from fcn_edge.benchmark.suite import BenchModel, BenchRequest, Size, bench_options, request_from
from fcn_edge.benchmark.timing import BenchOptions
from fcn_edge.benchmark.variants import Label, Variant, variants_from_files, with_schedules
from fcn_edge.choices import TargetOrAuto
from fcn_edge.data import DataLike, Dataset
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_apart
from fcn_edge.progress import SILENT, Progress
from fcn_edge.records import Record
from fcn_edge.registry import BenchSuite

if TYPE_CHECKING:
    from fcn_edge.calibration.images import ImagesLike

__all__ = [
    "BenchOptions",
    "Variant",
    "bench",
    "bench_options",
    "files_of_report",
    "prepare",
    "report_folder",
    "variants_from_files",
    "with_schedules",
    "write_report",
]


def bench(
    models: BenchModel | Sequence[BenchModel] | None = None,
    data: DataLike | None = None,
    *,
    suite: BenchSuite | Path | str | None = None,
    calib: ImagesLike | None = None,
    calib_images: int | None = None,
    allow_overlap: bool = False,
    target: TargetOrAuto | Sequence[TargetOrAuto] | None = None,
    precision: Label | Sequence[Label] | None = None,
    schedule: str | Sequence[str] | None = None,
    size: Size | str | Sequence[Size | str] | None = None,
    files: Path | None = None,
    spec: Path | None = None,
    recipe: str | None = None,
    options: BenchOptions | None = None,
    out: Path | str | None = None,
    pictures: bool = True,
    command: str | None = None,
    progress: Progress = SILENT,
) -> Record:
    """Measure latency, mIoU, size and memory of models on every engine that is here.

    fp32, bf16 where the CPU has it, and with `calib` INT8 are measured in interleaved rounds, so drift affects all
    variants equally; a fixed reference workload is timed beside each frame, so that `gate` can compare the record
    with another day's.

    Args:
        models: names, paths of checkpoints, ONNX files and engine directories, `OnnxModel` values or variants; None
            for those of the suite, else the packaged network.
        data: the labelled set that mIoU is measured on (`open_dataset`); None for the suite's.
        suite: name in the benchmarks folder, TOML file or value; other arguments override what it says.
        calib: calibration images or a table, as of `calibrate`: INT8 of each fp32 file is made and measured too.
        calib_images: how many of them, evenly spread.
        allow_overlap: calibration images may be in `data`; mIoU is then optimistic.
        target: only these; None for all that run here.
        precision: only these; None for all that run here.
        schedule: also by these, on data that is a video.
        size: (height, width) or "HxW" that checkpoints are exported at.
        files: folder that keeps exported and INT8 files, and whose files are used again; None for temporary ones.
        spec: TOML of models that are ONNX files made elsewhere.
        recipe: network of plain state dicts.
        options: rounds, frames, threads; None for those of the suite (`bench_options`).
        out: folder for record.json, .csv, .md, .html and .png; a run that was cut short goes on from its finished
            rows there. None writes nothing.
        pictures: show sample pictures in the HTML report.
        command: the command that is being run, for the record.
        progress: receives each step.

    Returns:
        The record: a row for each file, engine and execution.

    Raises:
        BadInput: no data, an unknown name, a calibration image in `data`, other classes than the network's.
        BackendMissing: no engine is installed, or a package that a model needs.

    Example:
        >>> record = bench(["net.onnx", "net.int8.onnx"], "camvid:camvid#val", options=BenchOptions(rounds=3))
        >>> [(row.name, row.latency_ms.p50, row.miou) for row in record.rows]
    """
    request = request_from(
        models,
        data,
        suite,
        calib=calib,
        calib_images=calib_images,
        target=target,
        precision=precision,
        schedule=schedule,
        size=size,
    )
    folder = None if out is None else Path(out)
    with ExitStack() as stack:
        if folder is not None:
            require_apart([folder], request.read)
            stack.enter_context(report_folder(folder))
        files_of_request, coverage, labelled = _prepared(request, stack, files, spec, recipe, allow_overlap, progress)
        record = measured_record(
            request.variants_from(files_of_request),
            labelled,
            options=bench_options(suite) if options is None else options,
            folder=folder,
            pictures=pictures,
            suite=request.suite,
            command=command,
            calibration=coverage,
            progress=progress,
        )
        if folder is not None:
            write_report(record, folder)
    for note in labelled.notes.lines:
        progress.note(note)
    return record


def prepare(
    models: str | Path | OnnxModel | Sequence[str | Path | OnnxModel] | None = None,
    data: DataLike | None = None,
    *,
    files: Path,
    suite: BenchSuite | Path | str | None = None,
    calib: ImagesLike | None = None,
    calib_images: int | None = None,
    allow_overlap: bool = False,
    size: Size | str | Sequence[Size | str] | None = None,
    spec: Path | None = None,
    recipe: str | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Make the files that `bench` measures, in the folder `files`, and measure nothing.

    Args: as of `bench`.

    Returns:
        The files, INT8 ones behind those that they were made from.

    Raises:
        BadInput: as `bench`.
    """
    request = request_from(models, data, suite, calib=calib, calib_images=calib_images, size=size)
    with ExitStack() as stack:
        return _prepared(request, stack, files, spec, recipe, allow_overlap, progress)[0]


def _prepared(
    request: BenchRequest,
    stack: ExitStack,
    kept: Path | None,
    spec: Path | None,
    recipe: str | None,
    allow_overlap: bool,
    progress: Progress,
) -> tuple[list[Path], Mapping[str, Any], Dataset]:
    """The files of a request, what calibrations covered, and the labelled set."""
    if not request.models:
        return [], {}, request.dataset([])
    from fcn_edge.benchmark.preparation import Preparation  # exporting and calibration are heavy to import

    preparation = Preparation(request, stack, kept, spec, recipe, progress)
    files = preparation.models()
    labelled = request.dataset(files)
    return preparation.with_int8(files, None if allow_overlap else labelled), preparation.coverage, labelled
