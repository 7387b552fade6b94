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

from fcn_edge.atomic_io import require_file, whole_folder
from fcn_edge.engines.manifest import Manifest
from fcn_edge.errors import BadInput
from fcn_edge.exporting import onnx_model, runnable_file
from fcn_edge.onnxfile import METADATA_KEY
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe

TYPES = {1: "TYPE_FP32", 2: "TYPE_UINT8", 6: "TYPE_INT32", 7: "TYPE_INT64", 10: "TYPE_FP16"}  # of onnx.TensorProto
PLATFORMS = {"model.onnx": "onnxruntime_onnx", "model.plan": "tensorrt_plan"}


@dataclass(frozen=True)
class TritonModel:
    """What was written. serve: the command that serves its repository."""

    path: Path
    config: Path
    platform: str
    serve: str


def triton_from_onnx(
    model: str | Path | OnnxModel | None,
    repository: str | Path,
    *,
    name: str | None = None,
    spec: str | Path | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> TritonModel:
    """Write a model of a Triton repository, for ONNX Runtime or for the TensorRT plan of an engine directory.

    Args:
        model: an ONNX file, a checkpoint (exported first), an engine directory, a packaged name, or None for the
            packaged network.
        repository: folder of models; the model's own folder in it must not be there.
        name: of the model there; None for the network's.
        spec: TOML file that describes an ONNX file made elsewhere. recipe: the network of a plain state dict.
        progress: takes warnings about a file made elsewhere.

    Returns:
        What was written, with the command that serves it.

    Raises:
        BadInput: an engine for a target that Triton does not serve, a name that is none, or one that is taken.

    Example:
        >>> triton_from_onnx("net.onnx", "models", name="street").config
        PosixPath('models/street/config.pbtxt')
    """
    if isinstance(model, (str, Path)) and Path(model).is_dir():
        with runnable_file(model, spec=spec, recipe=recipe) as engine:
            return triton_from_engine(engine, repository, name=name)
    net = onnx_model(model, spec=spec, recipe=recipe, progress=progress)
    return _write(None, net, "model.onnx", Path(repository), name)


def triton_from_engine(engine: str | Path, repository: str | Path, *, name: str | None = None) -> TritonModel:
    """Write a model from an engine directory: a TensorRT plan, or the ONNX file of ONNX Runtime.

    Args: as of `triton_from_onnx`.

    Raises:
        BadInput: another target, or a file is missing.
    """
    manifest = Manifest.from_file(Path(engine))
    if manifest.target not in ("tensorrt", "onnxruntime"):
        raise BadInput(f"{engine}: built for {manifest.target}; Triton serves tensorrt and onnxruntime engines")
    onnx = require_file(manifest.onnx, "the ONNX file beside the plan, which names its inputs and outputs")
    plan = require_file(manifest.plan, "the engine") if manifest.is_nvidia else None
    file = "model.plan" if plan else "model.onnx"
    return _write(plan, OnnxModel.from_file(onnx), file, Path(repository), name)


def _write(plan: Path | None, model: OnnxModel, file: str, repository: Path, name: str | None) -> TritonModel:
    """plan: what is served in place of the ONNX model itself."""
    spec = model.spec
    chosen = spec.name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", chosen):
        raise BadInput(f"{chosen!r} cannot name a model: `name` takes letters, digits, '.', '-' and '_'")
    out = repository / chosen
    if out.exists():
        raise BadInput(f"{out}: exists already; choose another name or folder, or take it away first")
    configuration = _configuration(chosen, PLATFORMS[file], model)
    with whole_folder(out) as part:
        (part / "1").mkdir()
        if plan is None:
            model.save(part / "1" / file)
        else:
            shutil.copyfile(plan, part / "1" / file)
        (part / "config.pbtxt").write_text(configuration, encoding="utf-8")
        (part / "labels.txt").write_text("".join(f"{label}\n" for label in spec.classes), encoding="utf-8")
    return TritonModel(out, out / "config.pbtxt", PLATFORMS[file], f"tritonserver --model-repository={repository}")


def _configuration(name: str, platform: str, model: OnnxModel) -> str:
    """The text form of inference.ModelConfig. max_batch_size 0: shapes are whole, the batch included."""
    lines = [f"name: {_quoted(name)}", f"platform: {_quoted(platform)}", "max_batch_size: 0"]
    for kind, values in (("input", model.inputs), ("output", model.outputs)):
        tensors = ",\n".join(_tensor(value) for value in values)
        lines.append(f"{kind} [\n{tensors}\n]")
    lines.append(
        f"parameters {{\n  key: {_quoted(METADATA_KEY)}\n"
        f"  value {{ string_value: {_quoted(model.spec.to_json())} }}\n}}"
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
