"""manifest.json of an engine directory: read, checked, and sealed against later edits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, with_checksum
from fcn_edge.errors import BadInput
from fcn_edge.targets import TARGETS


def manifest_of(directory: Path) -> dict[str, Any]:
    """Raises BadInput where the folder is no engine directory, or its manifest was changed by hand."""
    file = directory / "manifest.json"
    if not file.is_file():
        raise BadInput(f"{directory}: not an engine directory (no manifest.json); build one with fcn-edge build-engine")
    manifest = read_json(file)
    if manifest.get("target") not in TARGETS:
        raise BadInput(f"{directory}: the manifest names no known target ({manifest.get('target')!r})")
    if "seal" in manifest and manifest != sealed(manifest):
        raise BadInput(f"{file}: was edited after it was written; restore it, or build the engine anew")
    return manifest


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with a hash of all the rest of it, by which an edit is found."""
    return with_checksum(manifest, "seal")
