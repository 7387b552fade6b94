"""ONNX files: read with their contract, written whole, metadata in and out; the one door to `onnx` below the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import json_from_text, require_file, whole_file
from fcn_edge.errors import BadInput, first_line
from fcn_edge.onnxgraph import operator, stored_tensors, tensors_of
from fcn_edge.schema import from_mapping
from fcn_edge.spec import ModelSpec, Precision, spec_from_json

METADATA_KEY = "fcn_edge.spec"
QUANTIZATION_KEY = "fcn_edge.quantization"
ORIGIN_KEY = "fcn_edge.original_sha256"  # of a file made elsewhere that this one was rewritten from
OPSET = 17  # of fp32, fp16 and int8 files; half-precision Q/DQ scales need 19
IR_VERSION = 8
MAX_ONNX_MB = 2048  # protobuf's own limit


def onnx_from_file(path: Path) -> Any:
    """The checked `onnx.ModelProto` in `path`, weights included. Raises BadInput."""
    import onnx
    from google.protobuf.message import DecodeError

    require_file(path, "an ONNX file")
    if path.stat().st_size > MAX_ONNX_MB * 2**20:
        raise BadInput(f"{path}: larger than {MAX_ONNX_MB} MB; ONNX files of that size are not read")
    try:
        model = onnx.load(str(path), load_external_data=False)
        _load_external_data(model, path)
    except (DecodeError, ValueError, onnx.checker.ValidationError, OSError) as error:
        raise BadInput(f"{path}: not an ONNX file, or its external data is missing ({first_line(error)})") from error
    if not model.graph.node or not model.graph.output:
        raise BadInput(f"{path}: not an ONNX file with a graph in it")
    return model


def _load_external_data(model: Any, path: Path) -> None:
    """Read weights that lie in files beside the model, as ONNX Runtime does.

    A symbolic link is followed where it leads into the model's folder, or into the folder that the model's own link
    leads to: model caches keep files so. onnx's own reader refuses every link.
    """
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    for tensor in tensors_of(model):
        if uses_external_data(tensor):
            entry = next((item for item in tensor.external_data if item.key == "location"), None)
            file = _external_file(path, "" if entry is None else entry.value)
            if entry is not None:
                entry.value = file.name
            load_external_data_for_tensor(tensor, str(file.parent))
            tensor.data_location = tensor.DEFAULT
            del tensor.external_data[:]


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


def spec_from_onnx(model: Any, where: str) -> ModelSpec | None:
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
    text, original = _metadata(model, QUANTIZATION_KEY), _metadata(model, ORIGIN_KEY) or ""
    if text is None:
        return Contract(spec, Quantization(precision_of_graph(model)), original)
    where = f"{path}: {QUANTIZATION_KEY}"
    return Contract(spec, from_mapping(Quantization, json_from_text(text, where), where), original)


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
    weights = set(stored_tensors(model.graph))
    return [value for value in model.graph.input if value.name not in weights]


def precision_of_graph(model: Any) -> Precision:
    """What the nodes say: Q/DQ is int8, half-precision weights are fp16."""
    half = any(tensor.data_type == 10 for tensor in model.graph.initializer)  # 10: FLOAT16
    if any(operator(node).removeprefix("com.microsoft::") == "QuantizeLinear" for node in model.graph.node):
        return "int8-fp16" if half else "int8"
    return "fp16" if half else "fp32"


def _metadata(model: Any, key: str) -> str | None:
    return next((str(entry.value) for entry in model.metadata_props if entry.key == key), None)


def with_metadata(model: Any, key: str, value: str) -> Any:
    """Set one metadata entry."""
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != key]
    from onnx import helper

    helper.set_model_props(model, dict([*kept, (key, value)]))
    return model


def save_onnx(model: Any, path: Path) -> None:
    """Check and write, whole or not at all."""
    import onnx

    try:
        onnx.checker.check_model(model)
        data = model.SerializeToString()
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{path}: the graph is not valid ONNX ({first_line(error)})") from error
    with whole_file(path) as part:
        part.write_bytes(data)
