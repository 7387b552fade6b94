"""ONNX files: read with their contract, written whole, metadata in and out; the one door to `onnx` below the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fcn_edge.atomic_io import json_from_text, require_file, whole_file
from fcn_edge.errors import BadInput, first_line
from fcn_edge.onnxgraph import graph_inputs, operator, tensors_of
from fcn_edge.schema import from_mapping
from fcn_edge.spec import ModelSpec, Precision, spec_from_json

if TYPE_CHECKING:
    from onnx import ModelProto

METADATA_KEY = "fcn_edge.spec"
QUANTIZATION_KEY = "fcn_edge.quantization"
ORIGIN_KEY = "fcn_edge.original_sha256"  # of a file made elsewhere that this one was rewritten from
OPSET = 17  # of fp32, fp16 and int8 files; half-precision Q/DQ scales need 19
IR_VERSION = 8
MAX_ONNX_MB = 2048  # protobuf's own limit


def read_onnx(path: Path) -> tuple[ModelProto, bool]:
    """(the graph in `path`, weights included; whether some of them lie in other files). Raises BadInput."""
    import onnx
    from google.protobuf.message import DecodeError

    require_file(path, "an ONNX file")
    if path.stat().st_size > MAX_ONNX_MB * 2**20:
        raise BadInput(f"{path}: larger than {MAX_ONNX_MB} MB; ONNX files of that size are not read")
    try:
        model = onnx.load(str(path), load_external_data=False)
        has_external_data = _load_external_data(model, path)
    except (DecodeError, ValueError, onnx.checker.ValidationError, OSError) as error:
        raise BadInput(f"{path}: not an ONNX file, or its external data is missing ({first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise BadInput(f"{path}: not an ONNX file with a graph in it")
    return model, has_external_data


def onnx_from_file(path: Path) -> ModelProto:
    """The graph in `path`, weights included. Raises BadInput."""
    return read_onnx(path)[0]


def _load_external_data(model: ModelProto, path: Path) -> bool:
    """Read weights that lie in files beside the model, as ONNX Runtime does; whether there are any.

    A symbolic link is followed where it leads into the model's folder, or into the folder that the model's own link
    leads to: model caches keep files so. onnx's own reader refuses every link.
    """
    from onnx import TensorProto
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    external = [tensor for tensor in tensors_of(model) if uses_external_data(tensor)]
    for tensor in external:
        entry = next((item for item in tensor.external_data if item.key == "location"), None)
        file = _external_file(path, "" if entry is None else entry.value)
        if entry is not None:
            entry.value = file.name
        load_external_data_for_tensor(tensor, str(file.parent))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    return bool(external)


def _external_file(path: Path, location: str) -> Path:
    """The file of external data behind a location. Raises BadInput where it is missing, outside, or too large."""
    file = path.parent / location
    target = file.resolve()
    folders = (path.parent.resolve(), path.resolve().parent)
    if not target.is_file():
        raise BadInput(f"{path}: its external data {location!r} is missing; put that file beside it")
    if not any(target.is_relative_to(folder) for folder in folders):
        raise BadInput(
            f"{path}: its external data {location!r} lies outside the model's folder; put it beside the file"
        )
    if target.stat().st_size > MAX_ONNX_MB * 2**20:
        raise BadInput(f"{file}: larger than {MAX_ONNX_MB} MB; ONNX files of that size are not read")
    return target


def spec_from_onnx(model: ModelProto, where: str) -> ModelSpec | None:
    """The spec in a ModelProto's metadata, or None for a file made elsewhere."""
    text = _metadata(model, METADATA_KEY)
    return None if text is None else spec_from_json(text, where)


@dataclass(frozen=True)
class Quantization:
    """How a lower-precision file came to be.

    kept_float: quantizable nodes left in float. refined: how files of earlier versions adjusted weights and
    biases; empty in new ones. kept_fp32: nodes whose values half precision cannot hold. range_images: how many
    images that was looked up on; 0 where it was not, or is no half precision.
    """

    precision: Precision
    placement: str = ""
    method: str = ""
    table_sha256: str = ""
    source_sha256: str = ""
    kept_float: tuple[str, ...] = ()
    refined: tuple[str, ...] = ()
    kept_fp32: tuple[str, ...] = ()
    range_images: int = 0


@dataclass(frozen=True)
class Contract:
    """What an ONNX file of ours says of itself. original_sha256: of the file made elsewhere behind it; "" if none."""

    spec: ModelSpec
    quantization: Quantization
    original_sha256: str = ""


def contract_from_onnx(path: Path) -> Contract:
    """The contract in an ONNX file. Raises BadInput as `contract_of`."""
    return contract_of(onnx_from_file(path), path)


def contract_of(model: ModelProto, path: Path) -> Contract:
    """The contract in the metadata of a graph that takes uint8 NHWC frames. path: for messages.

    Raises:
        BadInput: no spec inside, or a graph with another input (a plain export, or a file made elsewhere).
    """
    spec = spec_from_onnx(model, str(path))
    if spec is None or not takes_frames(model):
        raise BadInput(
            f"{path}: says nothing of classes, mean and geometry; describe them in a TOML file and pass it as `spec`"
        )
    text, original = _metadata(model, QUANTIZATION_KEY), _metadata(model, ORIGIN_KEY) or ""
    if text is None:
        return Contract(spec, Quantization(precision_of_graph(model)), original)
    where = f"{path}: {QUANTIZATION_KEY}"
    return Contract(spec, from_mapping(Quantization, json_from_text(text, where), where), original)


def takes_frames(model: ModelProto) -> bool:
    """Whether the graph has one input, uint8 of shape (N, H, W, 3)."""
    from onnx import TensorProto

    inputs = graph_inputs(model.graph)
    if len(inputs) != 1:
        return False
    tensor = inputs[0].type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type == TensorProto.UINT8 and len(dims) == 4 and dims[3].dim_value == 3


def precision_of_graph(model: ModelProto) -> Precision:
    """What the nodes say: Q/DQ is int8, half-precision weights are fp16."""
    from onnx import TensorProto

    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    if any(operator(node).removeprefix("com.microsoft::") == "QuantizeLinear" for node in model.graph.node):
        return "int8-fp16" if half else "int8"
    return "fp16" if half else "fp32"


def _metadata(model: ModelProto, key: str) -> str | None:
    return next((str(entry.value) for entry in model.metadata_props if entry.key == key), None)


def with_metadata(model: ModelProto, key: str, value: str) -> ModelProto:
    """Set one metadata entry, in place."""
    from onnx import helper

    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != key]
    helper.set_model_props(model, dict([*kept, (key, value)]))
    return model


def require_valid(model: ModelProto, path: Path) -> None:
    """Raises BadInput with the checker's reason where a graph is not valid ONNX."""
    import onnx

    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{path}: the graph is not valid ONNX ({first_line(error)})") from error


def serialized(model: ModelProto, path: Path) -> bytes:
    """The bytes of a file. Raises BadInput where they are more than protobuf takes."""
    try:
        return bytes(model.SerializeToString())
    except ValueError as error:
        raise BadInput(f"{path}: the graph cannot be written as one file ({first_line(error)})") from error


def save_onnx(model: ModelProto, path: Path) -> None:
    """Check and write, whole or not at all."""
    require_valid(model, path)
    data = serialized(model, path)
    with whole_file(path) as part:
        part.write_bytes(data)
