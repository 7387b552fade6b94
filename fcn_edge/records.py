"""What `bench` writes and `gate` reads: the words of a benchmark record, and the seal that shows an edit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fcn_edge.atomic_io import with_checksum
from fcn_edge.errors import BadInput
from fcn_edge.schedule import EVERY

SCHEMA = 2
SEAL = "sha256"
KEY = ("model", "target", "precision", "execution", "height", "width")
FASTEST_MS, SLOWEST_MS = 0.01, 600_000.0  # what a network's p50 may be without being a slip of units

Row = Mapping[str, Any]
RowKey = tuple[Any, ...]


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the hash of all the rest of it."""
    return {**record, SEAL: _seal_of(record)}


def rows_of(record: Mapping[str, Any], where: str) -> dict[RowKey, Row]:
    """Rows by key, of a record that is whole.

    Raises BadInput: another schema, no rows, a row without its words or without raw figures, two rows
    of one key, or content that is not what was sealed.
    """
    _require_schema(record, where)
    found: dict[RowKey, Row] = {}
    for number, row in enumerate(record["rows"], 1):
        missing = [name for name in KEY if not isinstance(row, dict) or not isinstance(row.get(name), (str, int))]
        if missing:
            raise BadInput(f"{where}: row {number} says nothing of {', '.join(missing)}; make it with fcn-edge bench")
        if (key := key_of(row)) in found:
            raise BadInput(f"{where}: two rows are {name_of(key)}; a row is known by these words alone")
        _require_raw(row, f"{where}: {name_of(key)}")
        found[key] = row
    if record.get(SEAL) != _seal_of(record):
        raise BadInput(
            f"{where}: was edited after it was measured (its {SEAL} is not that of its content); measure anew"
        )
    return found


def key_of(row: Row) -> RowKey:
    """What names a row: model, target, precision, execution, height, width, schedule."""
    return (*(row[name] for name in KEY), row.get("schedule") or EVERY)


def frame_ms(row: Row) -> float:
    """What a frame costs: the p50 of a network, the mean where a schedule makes frames uneven."""
    latency = row["latency_ms"]
    return float(latency["p50"] if (row.get("schedule") or EVERY) == EVERY else latency["mean"])


def name_of(key: RowKey) -> str:
    """Such as "fcn8s openvino int8 f32 360x480"; a schedule is named where it is not `every`."""
    name = " ".join(str(part) for part in key[:4]) + f" {key[4]}x{key[5]}"
    return name if key[6] == EVERY else f"{name} {key[6]}"


def device_of(record: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What must agree for times to compare; None where the record does not say."""
    device = record.get("device")
    if not isinstance(device, dict):
        return None
    return tuple(str(device.get(name)) for name in ("cpu", "cores", "instruction_sets"))


def require_plausible(record: Mapping[str, Any], where: str) -> None:
    """Raises BadInput naming the first figure of a whole record that no measurement gives."""
    if device_of(record) is None or not record.get("versions") or not _is_date(record.get("date")):
        raise BadInput(f"{where}: names no device, no versions or no date; make it with fcn-edge bench")
    for key, row in rows_of(record, where).items():
        latency, miou = row["latency_ms"], row.get("miou")
        rising = [latency[name] for name in ("p50", "p90", "p95", "p99")]
        if not FASTEST_MS <= latency["p50"] <= SLOWEST_MS or rising != sorted(rising):
            raise BadInput(f"{where}: {name_of(key)}: latencies of {rising} ms cannot be")
        if not min(latency["raw"]) <= latency["p50"] <= max(latency["raw"]):
            raise BadInput(f"{where}: {name_of(key)}: a p50 of {latency['p50']} ms is not among its raw values")
        if miou is not None and not 0 <= miou <= 1:
            raise BadInput(f"{where}: {name_of(key)}: a mIoU of {miou} is no fraction")


def _require_schema(record: Mapping[str, Any], where: str) -> None:
    rows, schema = record.get("rows"), record.get("schema")
    if not isinstance(rows, list) or not rows or not isinstance(schema, int):
        raise BadInput(f"{where} is not a benchmark record (schema {SCHEMA}, rows); make one with fcn-edge bench")
    if schema != SCHEMA:
        age = "an older" if schema < SCHEMA else "a newer"
        raise BadInput(f"{where}: schema {schema}, written by {age} fcn-edge; this one reads {SCHEMA}: measure anew")


def _require_raw(row: Row, where: str) -> None:
    latency = row.get("latency_ms")
    raw = latency.get("raw") if isinstance(latency, dict) else None
    scores = row.get("scores")
    images = scores.get("images") if isinstance(scores, dict) else None
    for what, held in (("latencies", raw), ("confusions of each image", images)):
        if not isinstance(held, list) or not held:
            raise BadInput(
                f"{where}: holds no raw {what}, so nothing can be tested; keep record.json as bench wrote it"
            )


def _seal_of(record: Mapping[str, Any]) -> str:
    try:
        return str(with_checksum(record, SEAL)[SEAL])
    except ValueError:  # NaN or infinity: bench writes none
        return ""


def _is_date(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).year >= 2020
    except (TypeError, ValueError):
        return False
