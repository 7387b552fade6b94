"""A model of a Triton repository: NAME/config.pbtxt, NAME/1/model.onnx or model.plan, NAME/labels.txt.

Source: Triton's pages on the model repository and the model configuration. The contract stays as it is:
uint8 frames in, scores or classes out; the spec goes along under `parameters`.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, require_file, whole_folder
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx, onnx_from_file
from fcn_edge.onnxgraph import graph_inputs
from fcn_edge.spec import ModelSpec

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32", 7: "TYPE_INT64", 10: "TYPE_FP16"}  # of onnx.TensorProto
PLATFORMS = {"model.onnx": "onnxruntime_onnx", "model.plan": "tensorrt_plan"}


@dataclass(frozen=True)
class TritonModel:
    """What was written. serve: the command that serves the repository it is in."""

    path: Path
    config: Path
    platform: str
    serve: str


def triton_from_onnx(model: Path, repository: Path, *, name: str | None = None) -> TritonModel:
    """Write a model for ONNX Runtime from an ONNX file with a contract. Raises BadInput."""
    return _write(model, model, "model.onnx", repository, name)


def triton_from_engine(engine: Path, repository: Path, *, name: str | None = None) -> TritonModel:
    """Write a model from an engine directory: a TensorRT plan, or the ONNX file of ONNX Runtime.

    Raises:
        BadInput: another target, or a file is missing.
    """
    target = read_json(engine / "manifest.json").get("target")
    if target not in ("tensorrt", "onnxruntime"):
        raise BadInput(f"{engine}: built for {target}; Triton serves tensorrt and onnxruntime engines")
    file = "model.plan" if target == "tensorrt" else "model.onnx"
    onnx = require_file(engine / "model.onnx", "the ONNX file beside the plan, which names its inputs and outputs")
    return _write(require_file(engine / file, "the engine"), onnx, file, repository, name)


def _write(source: Path, onnx: Path, file: str, repository: Path, name: str | None) -> TritonModel:
    spec = contract_from_onnx(onnx).spec
    chosen = spec.name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", chosen):
        raise BadInput(f"{chosen!r} cannot name a model: `name` takes letters, digits, '.', '-' and '_'")
    out = repository / chosen
    if out.exists():
        raise BadInput(f"{out}: exists already; choose another name or folder, or take it away first")
    configuration = _configuration(chosen, PLATFORMS[file], onnx_from_file(onnx), spec)
    with whole_folder(out) as part:
        (part / "1").mkdir()
        shutil.copyfile(source, part / "1" / file)
        (part / "config.pbtxt").write_text(configuration, encoding="utf-8")
        (part / "labels.txt").write_text("".join(f"{label}\n" for label in spec.classes), encoding="utf-8")
    return TritonModel(out, out / "config.pbtxt", PLATFORMS[file], f"tritonserver --model-repository={repository}")


def _configuration(name: str, platform: str, model: Any, spec: ModelSpec) -> str:
    """The text form of inference.ModelConfig. max_batch_size 0: shapes are whole, the batch included."""
    lines = [f"name: {_quoted(name)}", f"platform: {_quoted(platform)}", "max_batch_size: 0"]
    for kind, values in (("input", graph_inputs(model.graph)), ("output", model.graph.output)):
        tensors = ",\n".join(_tensor(value) for value in values)
        lines.append(f"{kind} [\n{tensors}\n]")
    lines.append(
        f"parameters {{\n  key: {_quoted(METADATA_KEY)}\n  value {{ string_value: {_quoted(spec.to_json())} }}\n}}"
    )
    return "\n".join(lines) + "\n"


def _tensor(value: Any) -> str:
    tensor = value.type.tensor_type
    if tensor.elem_type not in TYPES:
        raise BadInput(f"{value.name}: element type {tensor.elem_type} of ONNX has no counterpart here")
    dims = ", ".join(str(dim.dim_value or -1) for dim in tensor.shape.dim)
    return f"  {{ name: {_quoted(value.name)} data_type: {TYPES[tensor.elem_type]} dims: [ {dims} ] }}"


def _quoted(text: str) -> str:
    return json.dumps(text)  # plain ASCII: its escapes are those of protobuf's text form
