"""The contract of a network: how to feed it, what comes out, what the classes are.

A spec is stored as JSON under one ONNX metadata key, in the header of a checkpoint and in
an engine directory, so no runtime can get the mean, the colour order or the geometry wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fcn_edge.errors import BadInput
from fcn_edge.files import json_from_text, require_file, sha256_of_json
from fcn_edge.geometry import Sampling
from fcn_edge.schema import from_mapping, nearest, to_mapping

METADATA_KEY = "fcn_edge.spec"
QUANTIZATION_KEY = "fcn_edge.quantization"
SCHEMA = 1
MAX_CLASSES = 255  # class maps are uint8, and one value stays free for "ignore"
FREE_SIZE_STEP = 32  # networks of free size take multiples of the deepest layer's stride
MAX_ONNX_MB = 2048  # protobuf's own limit

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
    interpolation: Literal["bilinear", "area"] = "bilinear"

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

    @property
    def preprocess_sha256(self) -> str:
        return sha256_of_json(to_mapping(self.preprocess))

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


def onnx_from_file(path: Path) -> Any:
    """The checked `onnx.ModelProto` in `path`, weights included. Raises BadInput."""
    import onnx
    from google.protobuf.message import DecodeError

    require_file(path, "an ONNX file")
    if path.stat().st_size > MAX_ONNX_MB * 2**20:
        raise BadInput(f"{path}: larger than {MAX_ONNX_MB} MB; ONNX files of that size are not read")
    try:
        model = onnx.load(str(path))
    except (DecodeError, ValueError, onnx.checker.ValidationError, OSError) as error:
        raise BadInput(f"{path}: not an ONNX file, or its external data is missing ({first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise BadInput(f"{path}: not an ONNX file with a graph in it")
    return model


def spec_from_onnx(model: Any, where: str) -> ModelSpec | None:
    """The spec in a ModelProto's metadata, or None for a file made elsewhere."""
    text = _metadata(model, METADATA_KEY)
    return None if text is None else spec_from_json(text, where)


@dataclass(frozen=True)
class Quantization:
    """How a lower-precision file came to be. kept_float: quantizable nodes left in float."""

    precision: Precision
    placement: str = ""
    method: str = ""
    table_sha256: str = ""
    source_sha256: str = ""
    kept_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """What an ONNX file of ours says of itself."""

    spec: ModelSpec
    quantization: Quantization


def contract_from_onnx(path: Path) -> Contract:
    """The contract in an ONNX file that takes uint8 NHWC frames.

    Raises:
        BadInput: not ONNX, no spec inside, or a graph with another input (`--io plain`, foreign).
    """
    model = onnx_from_file(path)
    spec = spec_from_onnx(model, str(path))
    if spec is None or not takes_frames(model):
        raise BadInput(
            f"{path}: says nothing of classes, mean and geometry; give a spec with --spec FILE.toml,"
            f" or convert it once: fcn-edge export {path} --spec FILE.toml --out contract.onnx"
        )
    text = _metadata(model, QUANTIZATION_KEY)
    if text is None:
        return Contract(spec, Quantization(precision_of_graph(model)))
    where = f"{path}: {QUANTIZATION_KEY}"
    return Contract(spec, from_mapping(Quantization, json_from_text(text, where), where))


def takes_frames(model: Any) -> bool:
    """Whether the graph has one input, uint8 of shape (N, H, W, 3)."""
    inputs = graph_inputs(model)
    if len(inputs) != 1:
        return False
    tensor = inputs[0].type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type == 2 and len(dims) == 4 and dims[3].dim_value == 3  # 2: TensorProto.UINT8


def graph_inputs(model: Any) -> list[Any]:
    """Inputs of the graph that are not initializers."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def precision_of_graph(model: Any) -> Precision:
    """What the nodes say: Q/DQ is int8, half-precision weights are fp16."""
    half = any(tensor.data_type == 10 for tensor in model.graph.initializer)  # 10: FLOAT16
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8-fp16" if half else "int8"
    return "fp16" if half else "fp32"


def _metadata(model: Any, key: str) -> str | None:
    return next((str(entry.value) for entry in model.metadata_props if entry.key == key), None)


def first_line(error: BaseException) -> str:
    """The first line of a vendor's message, at most 200 characters, for our own one-line errors."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def class_index(spec: ModelSpec, name: str) -> int:
    """Index of a class by name. Raises BadInput with the nearest name."""
    if name not in spec.classes:
        raise BadInput(f"unknown class {name!r}{nearest(name, spec.classes)}")
    return spec.classes.index(name)
