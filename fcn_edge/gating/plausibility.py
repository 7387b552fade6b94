"""Whether the figures of a record can be those of a measurement."""

from __future__ import annotations

from datetime import datetime

from fcn_edge.errors import BadInput
from fcn_edge.records import Record

FASTEST_MS, SLOWEST_MS = 0.01, 600_000.0  # what a network's p50 may be without being a slip of units


def require_plausible(record: Record, where: str) -> None:
    """Raises BadInput naming the first figure that no measurement gives."""
    if record.device is None or not record.versions or not _is_date(record.date):
        raise BadInput(f"{where}: names no device, no versions or no date; make it with `bench`")
    for row in record.rows:
        latency = row.latency_ms
        rising = [latency.p50, latency.p90, latency.p95, latency.p99]
        if not FASTEST_MS <= latency.p50 <= SLOWEST_MS or rising != sorted(rising):
            raise BadInput(f"{where}: {row.name}: latencies of {rising} ms cannot be")
        if not min(latency.raw) <= latency.p50 <= max(latency.raw):
            raise BadInput(f"{where}: {row.name}: a p50 of {latency.p50} ms is not among its raw values")
        if row.miou is not None and not 0 <= row.miou <= 1:
            raise BadInput(f"{where}: {row.name}: a mIoU of {row.miou} is no fraction")


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).year >= 2020
    except ValueError:
        return False
