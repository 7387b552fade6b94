"""The calibration table: the range of every tensor that will be quantized, and where it came from.

The file ends in the hash of all that stands before it, so that a figure changed by hand is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from fcn_edge.atomic_io import read_json, sha256_of_json, with_checksum, write_json
from fcn_edge.calibration.images import CalibrationImages, difference
from fcn_edge.calibration.methods import SIGNED, UNSIGNED, Method, limit_from_histogram
from fcn_edge.errors import BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.schema import from_mapping, to_mapping
from fcn_edge.spec import Preprocess

if TYPE_CHECKING:
    from onnx import ModelProto

SCHEMA = 3


@dataclass(frozen=True)
class TensorRange:
    """One tensor over all images.

    amax: largest magnitude. minimum: smallest value. histogram: counts of |x| in 2048 equal bins of
    0..amax. channels, means: largest magnitude, and mean, of each channel. halves: method -> limits (int8) that every
    second image, and the others, would give alone; empty for a single image.
    """

    amax: float
    minimum: float
    histogram: tuple[int, ...]
    channels: tuple[float, ...] = ()
    means: tuple[float, ...] = ()
    halves: Mapping[str, tuple[float, float]] | None = None

    def limit(self, method: Method, levels: int = SIGNED) -> float:
        """The magnitude that maps to integer `levels`."""
        return limit_from_histogram(np.array(self.histogram), self.amax, method, levels)


@dataclass(frozen=True)
class Magnitude:
    """Largest, smallest non-zero and root mean square magnitude of a float tensor, zeros left out; 0 where all are."""

    largest: float
    smallest: float
    rms: float


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges with their origin.

    tensors: what some placement quantizes. magnitudes: every float tensor, for half precision.
    predicted, labelled: class -> cells of the score map, and labelled pixels; None without labels of
    the network's classes. roundings: of tables of earlier versions, which could round weights otherwise than
    to the nearest; not used. images: names, with `images_sha256` beside them. flat: those of one colour.
    """

    tensors: Mapping[str, TensorRange]
    magnitudes: Mapping[str, Magnitude]
    predicted: Mapping[str, int]
    labelled: Mapping[str, int] | None
    method: Method
    model: str
    source: str
    graph_sha256: str
    weights_sha256: str
    preprocess: Preprocess
    images: tuple[str, ...]
    images_sha256: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    roundings: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @cached_property
    def sha256(self) -> str:
        return sha256_of_json(to_mapping(self))

    @property
    def hashes(self) -> dict[str, str]:
        """Image name -> SHA-256 of its content."""
        return dict(zip(self.images, self.images_sha256))

    def limits(self, unsigned: Collection[str] = ()) -> dict[str, float]:
        """Tensor name -> magnitude at the end of the integer range (255 for `unsigned`, else 127), by the method."""
        return {
            name: entry.limit(self.method, UNSIGNED if name in unsigned else SIGNED)
            for name, entry in self.tensors.items()
        }

    def save(self, path: Path) -> None:
        write_json(path, with_checksum(to_mapping(self), "sha256"))


def table_from_file(path: Path) -> CalibrationTable:
    """Read a table. Raises BadInput where the JSON is not one, or not what was written."""
    mapping = read_json(path)
    schema, written = mapping.get("schema"), mapping.pop("sha256", None)
    if isinstance(schema, int) and schema != SCHEMA:
        raise BadInput(f"{path}: a calibration table of schema {schema}; this version reads {SCHEMA}: calibrate again")
    table = from_mapping(CalibrationTable, mapping, str(path))
    if written != table.sha256:
        raise BadInput(f"{path}: was changed after it was written (its own sha256 does not fit); calibrate again")
    return table


def graph_sha256(model: ModelProto) -> str:
    """Hex SHA-256 of the graph alone: nodes, weights, inputs and outputs, without metadata."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def weights_sha256(model: ModelProto) -> str:
    """Hex SHA-256 of the stored weights alone."""
    weights = onnx.GraphProto(initializer=model.graph.initializer)
    return hashlib.sha256(weights.SerializeToString(deterministic=True)).hexdigest()


def require_same_origin(table: CalibrationTable, model: OnnxModel) -> None:
    """Raises BadInput, telling what changed, where the table was made with another preprocessing or graph."""
    was, now = asdict(table.preprocess), asdict(model.spec.preprocess)
    changed = [f"{key} was {_plain(was[key])}, is {_plain(now[key])}" for key in was if was[key] != now[key]]
    if changed:
        raise BadInput(
            f"the table was made for {table.model} with another preprocessing ({'; '.join(changed)}); calibrate again"
        )
    if table.graph_sha256 != graph_sha256(model.proto):
        what = "nodes" if table.weights_sha256 == weights_sha256(model.proto) else "weights"
        raise BadInput(
            f"the table was made from another graph than this {model.spec.name}: its {what} differ; calibrate again"
        )


def require_same_images(table: CalibrationTable, images: CalibrationImages) -> None:
    """Raises BadInput, naming them, where the table was made of other images than these."""
    found = {image.name: image.sha256() for image in images.images if image.name not in table.skipped}
    wrong = difference(table.hashes, found)
    if wrong:
        raise BadInput(f"the table was not made of {images.source}: {wrong}; calibrate again")


def with_method(table: CalibrationTable, method: Method) -> CalibrationTable:
    """The same ranges read by another method."""
    return replace(table, method=method)


def _plain(value: Any) -> str:
    return "/".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
