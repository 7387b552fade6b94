"""What a row may lose against its baseline, and what it must reach whatever the baseline says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fcn_edge.errors import BadInput
from fcn_edge.records import KEY
from fcn_edge.schema import from_mapping, read_toml

WORDS = KEY[:4]  # that an [[only]] table can name


@dataclass(frozen=True)
class Limits:
    """Relative to the baseline: points of mIoU or of a class's IU that may be lost, ratios that may be reached.

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
                raise BadInput(f"{part.name} = {value:g}; expected {expected}")


@dataclass(frozen=True)
class LimitsFile:
    """Limits of all rows, and of those rows that an `only` table names by model, target, precision or execution."""

    all: Limits = Limits()
    only: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()

    def of(self, row: Mapping[str, Any]) -> Limits:
        """The limits of one row; a later table overrides an earlier one."""
        found = self.all
        for words, limits in self.only:
            if all(row.get(name) == word for name, word in words.items()):
                found = replace(found, **limits)
        return found


def limits_from_file(path: Path | None, **given: float | None) -> LimitsFile:
    """The limits of a TOML file, or the usual ones; what the command line says overrides its top.

    Raises BadInput: an unknown key, a limit that cannot be, an `only` table that names no row.
    """
    table = {} if path is None else read_toml(path)
    only = table.pop("only", [])
    if not isinstance(only, list) or not all(isinstance(entry, dict) for entry in only):
        raise BadInput(f"{path}: only: expected [[only]] tables")
    top = table | {name: value for name, value in given.items() if value is not None}
    whole = from_mapping(Limits, top, str(path or "limits"))
    parts = []
    for number, entry in enumerate(only, 1):
        words = {name: entry[name] for name in WORDS if name in entry}
        limits = {name: value for name, value in entry.items() if name not in WORDS}
        if not words or not limits:
            raise BadInput(f"{path}: [[only]] {number}: name a row by {', '.join(WORDS)}, and at least one limit")
        from_mapping(Limits, limits, f"{path}: [[only]] {number}")
        parts.append((words, limits))
    return LimitsFile(whole, tuple(parts))
