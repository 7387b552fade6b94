"""What a row may lose against its baseline, and what it must reach whatever the baseline says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fcn_edge.errors import BadInput
from fcn_edge.records import RecordRow
from fcn_edge.schema import from_mapping, read_toml

NAMING = ("model", "target", "precision", "execution")  # keys by which an [[only]] table names rows


@dataclass(frozen=True)
class Limits:
    """Relative to the baseline: points of mIoU or of a class's IoU that may be lost, ratios that may be reached.

    Absolute, judged on the estimate alone: min_miou in points, max_p50_ms, max_p99_ms, max_size_mb,
    max_memory_mb. None: not judged.
    """

    max_miou_drop: float = 0.5
    max_class_drop: float | None = None
    max_latency_ratio: float = 1.1
    max_size_ratio: float = 1.02
    max_memory_ratio: float = 1.2
    min_miou: float | None = None
    max_p50_ms: float | None = None
    max_p99_ms: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if value is None:
                continue
            is_points, is_ratio = part.name.endswith(("_drop", "miou")), part.name.endswith("_ratio")
            least, most, what = (0, 100, "0 to 100 points") if is_points else (1 if is_ratio else 0, 1e9, "")
            if not least <= value <= most:  # also true of NaN
                expected = what or ("a ratio of 1 or more" if is_ratio else "0 or more")
                raise BadInput(f"`{part.name}` = {value:g}; expected {expected}")


@dataclass(frozen=True)
class LimitsByRow:
    """Limits of all rows, and of those rows that an `only` table names by model, target, precision or execution."""

    all: Limits = Limits()
    only: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()

    def of(self, row: RecordRow) -> Limits:
        """The limits of one row; a later table overrides an earlier one."""
        limits = self.all
        for names, changes in self.only:
            if all(getattr(row, key) == name for key, name in names.items()):
                limits = replace(limits, **changes)
        return limits


def limits_from(
    given: Limits | LimitsByRow | Path | str | None, overrides: Mapping[str, float | None] = {}
) -> LimitsByRow:
    """Limits, those of a TOML file, or the usual ones, with those `overrides` that are not None.

    Raises BadInput: an unknown key, a limit that cannot be, an `only` table that names no row.
    """
    if isinstance(given, Limits):
        limits = LimitsByRow(given)
    elif isinstance(given, LimitsByRow):
        limits = given
    else:
        limits = LimitsByRow() if given is None else _limits_from_file(Path(given))
    changes = {name: value for name, value in overrides.items() if value is not None}
    return replace(limits, all=Limits(**{**asdict(limits.all), **changes}))


def _limits_from_file(path: Path) -> LimitsByRow:
    table = read_toml(path)
    only = table.pop("only", [])
    if not isinstance(only, list) or not all(isinstance(entry, dict) for entry in only):
        raise BadInput(f"{path}: only: expected [[only]] tables")
    parts = []
    for number, entry in enumerate(only, 1):
        names = {name: entry[name] for name in NAMING if name in entry}
        limits = {name: value for name, value in entry.items() if name not in NAMING}
        if not names or not limits:
            raise BadInput(f"{path}: [[only]] {number}: name a row by {', '.join(NAMING)}, and at least one limit")
        from_mapping(Limits, limits, f"{path}: [[only]] {number}")
        parts.append((names, limits))
    return LimitsByRow(from_mapping(Limits, table, str(path)), tuple(parts))
