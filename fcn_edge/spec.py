"""The contract of a network: how to feed it, what comes out, what the classes are.

A spec is stored as JSON under one ONNX metadata key, in the header of a checkpoint and in
an engine directory, so no runtime can get the mean, the colour order or the geometry wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fcn_edge.atomic_io import json_from_text, sha256_of_json
from fcn_edge.errors import BadInput
from fcn_edge.geometry import Sampling
from fcn_edge.schema import from_mapping, nearest, to_mapping

SCHEMA = 1
MAX_CLASSES = 255  # class maps are uint8, and one value stays free for "ignore"
FREE_SIZE_STEP = 32  # networks of free size take multiples of the deepest layer's stride

Precision = Literal["fp32", "fp16", "int8", "int8-fp16"]
Resize = Literal["stretch", "letterbox"]
HeadKind = Literal["scores", "logits", "classes"]


@dataclass(frozen=True)
class Preprocess:
    """From a frame to what the weights expect.

    height, width: pixels of the network's input, before any padding inside the graph.
    mean, std: per channel in 0..255 units, in RGB order whatever `channels` says.
    channels: order that the *weights* expect. The graph itself takes BGR frames.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Resize = "stretch"
    interpolation: Literal["bilinear", "area", "nearest"] = "bilinear"

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class Head:
    """What comes out. sampling: pixel of the network's input -> cell of the score map.

    kind "scores": (N, C, h, w) float before the last fixed upsample; "logits": (N, C, H, W)
    float at input size; "classes": (N, H, W) uint8, arg-max inside the graph.
    """

    kind: HeadKind
    sampling: Sampling


@dataclass(frozen=True)
class ModelSpec:
    """Everything that must travel with a network. palette: RGB, one colour a class."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    preprocess: Preprocess
    head: Head
    weights_sha256: str = ""
    weights_terms: str = ""
    recipe: str = ""
    dynamic: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check_classes(self)
        if self.schema != SCHEMA:
            raise BadInput(f"{self.name}: spec schema {self.schema}; this program reads {SCHEMA}")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def sha256(self) -> str:
        return sha256_of_json(to_mapping(self))

    def to_json(self) -> str:
        return json.dumps(to_mapping(self))


def _check_classes(spec: ModelSpec) -> None:
    if not 1 <= len(spec.classes) <= MAX_CLASSES:
        raise BadInput(f"{spec.name}: {len(spec.classes)} classes; 1 to {MAX_CLASSES} are possible")
    if len(spec.palette) != len(spec.classes):
        raise BadInput(f"{spec.name}: {len(spec.palette)} colours for {len(spec.classes)} classes")
    if len(set(spec.classes)) != len(spec.classes):
        raise BadInput(f"{spec.name}: two classes share a name")
    if min(spec.preprocess.size) < 1 or min(spec.preprocess.std) <= 0:
        raise BadInput(f"{spec.name}: size and std must be positive")
    if any(not 0 <= value <= 255 for colour in spec.palette for value in colour):
        raise BadInput(f"{spec.name}: palette values are 0..255")


def spec_from_mapping(mapping: Mapping[str, Any], where: str) -> ModelSpec:
    """A ModelSpec from plain JSON. Raises BadInput naming the key that does not fit."""
    return from_mapping(ModelSpec, mapping, where)


def spec_from_json(text: str, where: str) -> ModelSpec:
    """A ModelSpec from its JSON text."""
    return spec_from_mapping(json_from_text(text, f"{where}: spec"), where)


def require_same_classes(name: str, classes: Sequence[str], other_name: str, other_classes: Sequence[str]) -> None:
    """Raises BadInput where the classes of `name` and `other_name` differ in names, order or number."""
    if len(classes) != len(other_classes):
        raise BadInput(f"{name} has {len(classes)} classes, {other_name} has {len(other_classes)}; both must be equal")
    for index, (ours, theirs) in enumerate(zip(classes, other_classes, strict=True)):
        if ours != theirs:
            raise BadInput(f"{name}: class {index} is {ours!r}; in {other_name} it is {theirs!r}; both must be equal")


def class_index(spec: ModelSpec, name: str) -> int:
    """Index of a class by name. Raises BadInput with the nearest name."""
    if name not in spec.classes:
        raise BadInput(f"unknown class {name!r}{nearest(name, spec.classes)}")
    return spec.classes.index(name)
