"""Benchmark records: what `bench` measures and writes, and `gate` reads. The only module that spells their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fcn_edge.atomic_io import read_json, sha256_of_json, write_json
from fcn_edge.errors import BadInput
from fcn_edge.metrics import ImageScore, Scores
from fcn_edge.percentiles import nearest_rank
from fcn_edge.schedule import EVERY
from fcn_edge.schema import StoredValue, from_mapping, to_mapping

SCHEMA = 2
CHECKSUM = "sha256"
PERCENTS = (50, 90, 95, 99)
REFERENCE = "reference"  # the target that is accurate and not fast: it competes with no other row


class RowKey(NamedTuple):
    """What identifies a row of a record."""

    model: str
    target: str
    precision: str
    execution: str
    height: int
    width: int
    schedule: str = EVERY

    @property
    def name(self) -> str:
        """Such as "fcn8s openvino int8 f32 360x480"; a schedule is named where it is not `every`."""
        name = f"{self.model} {self.target} {self.precision} {self.execution} {self.height}x{self.width}"
        return name if self.schedule == EVERY else f"{name} {self.schedule}"


@dataclass(frozen=True)
class Percentiles(StoredValue):
    """Percentiles by nearest rank, in milliseconds."""

    p50: float
    p90: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values_ms: np.ndarray) -> Percentiles:
        """Those of (N,) times, N at least 1."""
        p50, p90, p95, p99 = _rounded(nearest_rank(values_ms, PERCENTS))
        return cls(p50, p90, p95, p99)


@dataclass(frozen=True)
class Latency(Percentiles):
    """Per-frame latency. raw: of each frame, in the order measured; mean: of all of them."""

    raw: tuple[float, ...] = ()
    mean: float | None = field(default=None, metadata={"omit_default": True})

    @classmethod
    def of(cls, values_ms: np.ndarray) -> Latency:
        """That of (N,) times, N at least 1."""
        p50, p90, p95, p99 = _rounded(nearest_rank(values_ms, PERCENTS))
        return cls(p50, p90, p95, p99, raw=_rounded(values_ms), mean=round(float(values_ms.mean()), 3))


@dataclass(frozen=True)
class PacedRun(StoredValue):
    """Frames at a camera's rate. missed: those not done when the next one came; answer_ms: from due to done."""

    camera_fps: float
    frames: int
    missed: int
    answer_ms: Percentiles


@dataclass(frozen=True)
class RowScores(StoredValue, Scores):
    """The scores of a row. images: the confusion matrix of each image, for paired statistics."""

    images: tuple[ImageScore, ...] = ()

    @classmethod
    def of(cls, scores: Scores, images: Sequence[ImageScore]) -> RowScores:
        """Those of a whole set, with its images' own."""
        return cls(scores.miou, scores.pixel_acc, scores.mean_acc, scores.fw_iou, scores.iou, tuple(images))


@dataclass(frozen=True, repr=False)
class RecordRow(StoredValue):
    """What was measured of one file on one engine.

    Args:
        model: name of the network. runtime: name and version of what ran it. weights: terms of its weights.
        target, precision, execution, schedule, placement: as in `open_engine` and the file's contract.
        height, width: of the network's input, in pixels. model_sha256: of the file that ran.
        miou, miou_ci: fraction 0..1 and its 95 % interval; None where nothing was labelled or images are too few.
        latency_ms: of the network alone. end_to_end_ms: with input and view. stages_ms: of each of the three.
        cpu_ms, preemptions: of each round: CPU time of a frame, and how often another process took a core away.
        workload_ms, workload_cpu_ms: of each round: time and CPU time of the reference workload beside it.
        fps, end_to_end_fps: frames a second one by one, of the network alone and with input and view.
        energy_mj, power_w: of a frame, and meanwhile, where the device reports it.
        peak_rss_mb, cold_start_ms, warm_start_ms: of a process of its own; None where it failed there.
        pareto: no other row is both faster and more accurate. dominated_by: the name of the fastest row that is.
    """

    model: str
    target: str
    precision: str
    execution: str
    height: int
    width: int
    latency_ms: Latency
    end_to_end_ms: Latency
    fps: float
    end_to_end_fps: float
    size_mb: float
    scores: RowScores
    miou: float | None = None
    miou_ci: tuple[float, float] | None = None
    runtime: str = ""
    schedule: str = EVERY
    placement: str | None = None
    model_sha256: str = ""
    weights: str = ""
    stages_ms: Mapping[str, Percentiles] = field(default_factory=dict)
    cpu_ms: tuple[float, ...] = ()
    preemptions: tuple[float, ...] = ()
    workload_ms: tuple[float, ...] = field(default=(), metadata={"key": "yardstick_ms"})
    workload_cpu_ms: tuple[float, ...] = field(default=(), metadata={"key": "yardstick_cpu_ms"})
    warmup_frames: int = 0
    paced: PacedRun | None = None
    energy_mj: float | None = None
    power_w: float | None = None
    pareto: bool = False
    dominated_by: str | None = None
    peak_rss_mb: float | None = None
    cold_start_ms: float | None = None
    warm_start_ms: float | None = None

    @property
    def key(self) -> RowKey:
        """What identifies it."""
        return RowKey(
            self.model, self.target, self.precision, self.execution, self.height, self.width, self.schedule or EVERY
        )

    @property
    def name(self) -> str:
        """Such as "fcn8s openvino int8 f32 360x480"."""
        return self.key.name

    @property
    def label(self) -> str:
        """The precision in one word, with the schedule if there is one, such as "int8" or "bf16 fixed:2,2,6"."""
        label = precision_label(self.precision, self.execution)
        return label if self.key.schedule == EVERY else f"{label} {self.schedule}"

    @property
    def frame_ms(self) -> float:
        """Per-frame latency of the network: the p50, or the mean where a schedule makes frames uneven."""
        latency = self.latency_ms
        return latency.p50 if self.key.schedule == EVERY or latency.mean is None else latency.mean

    @property
    def images(self) -> tuple[ImageScore, ...]:
        """Confusion matrices of the single images."""
        return self.scores.images

    def without_raw(self) -> RecordRow:
        """The row without figures of single frames, rounds and images."""
        return replace(
            self,
            latency_ms=replace(self.latency_ms, raw=(), stored=None),
            end_to_end_ms=replace(self.end_to_end_ms, raw=(), stored=None),
            scores=replace(self.scores, images=(), stored=None),
            cpu_ms=(),
            preemptions=(),
            workload_ms=(),
            workload_cpu_ms=(),
            stored=None,
        )

    def __repr__(self) -> str:
        miou = "unknown" if self.miou is None else f"{self.miou:.4f}"
        return f"RecordRow({self.name}: p50 {self.latency_ms.p50:g} ms, mIoU {miou})"


@dataclass(frozen=True)
class RecordDevice(StoredValue):
    """The device of a record. name: as in file names of baselines; the rest as in `fcn_edge.device.Device`."""

    name: str
    cpu: str
    cores: int
    instruction_sets: tuple[str, ...] = ()
    architecture: str = ""
    memory_gb: float | None = None
    system: str = ""
    jetpack: str | None = None

    @property
    def comparable(self) -> tuple[str, int, tuple[str, ...]]:
        """What must be equal for times to compare."""
        return self.cpu, self.cores, self.instruction_sets


@dataclass(frozen=True)
class Conditions(StoredValue):
    """temperature_c: the hottest sensor. clock_mhz: mean of the cores. load: processes waiting or running, 1 minute."""

    temperature_c: float | None = None
    clock_mhz: float | None = None
    load: float | None = None


@dataclass(frozen=True)
class Acceptance(StoredValue):
    """Why a record became a baseline. accepted: names of the checks that it failed against the one before."""

    reason: str
    date: str
    verdict_before: str | None = None
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Record(StoredValue):
    """A benchmark record: rows on one data set on one device, with how they were measured.

    Args:
        data: name of the labelled set. classes: its names, in order. images: how many were scored.
        skipped: images that do not decode, each with the reason.
        rows: one or more. protocol: the `BenchOptions`.
        reference_workload: what was timed beside each frame. energy_source: what reported energy, if anything.
        suite, command, calibration: of how the files were chosen and made.
        conditions: of the device, before and after. versions: of the packages. date: ISO 8601.
        acceptance: set where this is a baseline that replaced another one.

    Example:
        >>> record = Record.from_file(Path("bench/record.json"))
        >>> min(record.rows, key=lambda row: row.frame_ms).name
        'fcn4s_lite0_camvid openvino int8 f32 360x480'
    """

    data: str
    rows: tuple[RecordRow, ...]
    schema: int = SCHEMA
    classes: tuple[str, ...] = ()
    images: int = 0
    skipped: tuple[str, ...] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)
    reference_workload: str = field(default="", metadata={"key": "yardstick"})
    energy_source: str | None = None
    suite: str | None = None
    command: str | None = None
    calibration: Mapping[str, Any] = field(default_factory=dict)
    device: RecordDevice | None = None
    conditions: Mapping[str, Conditions] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    date: str = ""
    acceptance: Acceptance | None = field(default=None, metadata={"key": "baseline", "omit_default": True})

    @classmethod
    def from_file(cls, path: Path | str) -> Record:
        """Read record.json, or one packed by xz.

        Raises:
            BadInput: no such file, not JSON, or what `from_mapping` raises.
        """
        return cls.from_mapping(read_json(Path(path)), str(path))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], where: str = "the record") -> Record:
        """The record in a JSON object; `where` names its origin in errors.

        Raises:
            BadInput: another schema, no rows, a row without its key or without raw figures, counts outside the
                confusion matrix, or a checksum that is not that of the content.
        """
        _require_schema(mapping, where)
        rows = tuple(_row(row, f"{where}: row {number}") for number, row in enumerate(mapping["rows"], 1))
        record = replace(from_mapping(cls, {**mapping, "rows": []}, where), rows=rows, stored=mapping)
        if mapping.get(CHECKSUM) != _checksum_of(mapping):
            raise BadInput(f"{where}: was edited after it was measured (its {CHECKSUM} does not match); measure again")
        return record

    @cached_property
    def by_key(self) -> dict[RowKey, RecordRow]:
        """The rows by what identifies them.

        Raises BadInput where two rows are of one key, as those of two networks that have one name.
        """
        rows: dict[RowKey, RecordRow] = {}
        for row in self.rows:
            if row.key in rows:
                raise BadInput(f"{self}: two rows are {row.name}; give one of the networks another name")
            rows[row.key] = row
        return rows

    @property
    def competing_rows(self) -> tuple[RecordRow, ...]:
        """All rows but the reference run's, unless there is nothing else."""
        return tuple(row for row in self.rows if row.target != REFERENCE) or self.rows

    @cached_property
    def sha256(self) -> str:
        """Checksum of the content, as in the file."""
        return _checksum_of(to_mapping(self))

    def to_mapping(self) -> dict[str, Any]:
        """The record as one JSON object, with its checksum; what `bench --json` prints."""
        table: dict[str, Any] = to_mapping(self)
        return {"schema": self.schema, **table, CHECKSUM: self.sha256}  # `outputs` recognises the file by its first key

    def save(self, path: Path | str, *, replaces: bool = False) -> None:
        """Write it as JSON, whole or not at all.

        Args:
            replaces: whatever is at `path`, since the caller has read it.

        Raises:
            BadInput: `path` cannot be written, or holds what fcn-edge did not write.
        """
        write_json(Path(path), self.to_mapping(), replaces=replaces)

    def __repr__(self) -> str:
        device = "unknown device" if self.device is None else self.device.name
        return f"Record({self.data}, {self.images} images, {len(self.rows)} rows, {device}, {self.date})"


def precision_label(precision: str, execution: str) -> str:
    """The precision as people say it: bf16 is an execution of the fp32 file."""
    return "bf16" if execution == "bf16" and precision == "fp32" else precision


def _require_schema(mapping: Mapping[str, Any], where: str) -> None:
    rows, schema = mapping.get("rows"), mapping.get("schema")
    if not isinstance(rows, list) or not rows or not isinstance(schema, int):
        raise BadInput(f"{where} is not a benchmark record (schema {SCHEMA}, rows); make one with `bench`")
    if schema != SCHEMA:
        age = "an older" if schema < SCHEMA else "a newer"
        raise BadInput(f"{where}: schema {schema}, written by {age} fcn-edge; this one reads {SCHEMA}: measure again")


def _row(mapping: Any, where: str) -> RecordRow:
    """Raises BadInput where nothing could be tested, or an image counts what its confusion matrix does not have."""
    row = from_mapping(RecordRow, mapping, where)
    where = f"{where}, {row.name}"
    for what, values in (("latencies", row.latency_ms.raw), ("confusions of each image", row.images)):
        if not values:
            raise BadInput(
                f"{where}: holds no raw {what}, so nothing can be tested; keep record.json as `bench` wrote it"
            )
    cells = len(row.scores.iou) ** 2
    if not all(0 <= index < cells and count >= 0 for image in row.images for index, count in image.cells):
        raise BadInput(f"{where}: counts outside the confusion matrix; keep record.json as `bench` wrote it")
    return row


def _checksum_of(table: Mapping[str, Any]) -> str:
    """Of all but the checksum; empty for NaN or infinity, which `bench` does not write."""
    try:
        return sha256_of_json({name: value for name, value in table.items() if name != CHECKSUM})
    except ValueError:
        return ""


def _rounded(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in values)
