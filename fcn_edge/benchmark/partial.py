"""Finished rows, kept beside the record to come, so that a run that was cut short goes on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcn_edge.atomic_io import read_json, sha256_of_file, sha256_of_json, write_json
from fcn_edge.benchmark.timing import BenchOptions
from fcn_edge.benchmark.variants import Variant
from fcn_edge.data import Dataset
from fcn_edge.device import git_commit, this_device
from fcn_edge.errors import BadInput
from fcn_edge.outputs import is_ours
from fcn_edge.records import RecordRow
from fcn_edge.schema import from_mapping, to_mapping

NAME = "unfinished.json"


@dataclass(frozen=True)
class FinishedRow:
    """A row, and the images of its set that do not decode, each with the reason."""

    row: RecordRow
    skipped: tuple[str, ...] = ()


class Partial:
    """Finished rows by variant. Those of other data, another protocol, device or commit are not used."""

    def __init__(self, folder: Path | None, data: Dataset, options: BenchOptions) -> None:
        self._path = None if folder is None else folder / NAME
        self._made_by = sha256_of_json([data.name, to_mapping(options), to_mapping(this_device()), git_commit()])
        self._rows: dict[str, FinishedRow] = self._read()

    def has(self, variant: Variant) -> bool:
        """Whether its row is finished."""
        return _key(variant) in self._rows

    def add(self, variants: Sequence[Variant], rows: Sequence[FinishedRow]) -> None:
        """Keep finished rows."""
        self._rows |= {_key(variant): row for variant, row in zip(variants, rows, strict=True)}
        if self._path is not None:
            write_json(self._path, {"made_by": self._made_by, "rows": to_mapping(self._rows)})

    def rows_of(self, variants: Sequence[Variant]) -> list[FinishedRow]:
        """Their rows, in that order."""
        return [self._rows[_key(variant)] for variant in variants]

    def forget(self) -> None:
        """The record holds it all now."""
        if self._path is not None and is_ours(self._path):
            self._path.unlink()

    def _read(self) -> dict[str, FinishedRow]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            saved = read_json(self._path, limit_mb=1024)
            rows = saved.get("rows") if saved.get("made_by") == self._made_by else None
            return {key: from_mapping(FinishedRow, row, key) for key, row in rows.items()} if rows else {}
        except (BadInput, AttributeError):  # of a version that wrote it otherwise
            return {}


def _key(variant: Variant) -> str:
    file = next(iter(sorted(variant.path.glob("model.*"))), variant.path) if variant.path.is_dir() else variant.path
    return f"{sha256_of_file(file)} {variant.target} {variant.execution} {variant.schedule}"
