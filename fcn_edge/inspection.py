"""Facts about an artefact: what `inspect` reports of a file or an engine directory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json
from fcn_edge.engines import CHECKPOINT_SUFFIXES, model_path
from fcn_edge.engines.manifest import Manifest
from fcn_edge.errors import BadInput
from fcn_edge.exporting import onnx_model
from fcn_edge.onnxfile import Quantization
from fcn_edge.onnxgraph import operator
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import Recipe, recipe_from_shelf
from fcn_edge.spec import ModelSpec


def facts_from_artefact(
    model: str | Path | None = None,
    *,
    spec: Path | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Plain facts about an artefact, ready for JSON.

    Args:
        model: a checkpoint, ONNX file, engine directory, packaged name or None (the packaged network); or a
            calibration table, benchmark record or manifest.
        spec: TOML file that describes an ONNX file made elsewhere.
        recipe: the network of a plain state dict, by name, TOML file or value.
        progress: takes warnings about a file made elsewhere.

    Raises:
        BadInput: it is none of these, or `spec` or `recipe` are given for a file that needs none.
    """
    path = model_path(model)
    suffix = path.suffix.lower()
    if spec is not None and suffix != ".onnx":
        raise BadInput(f"{path}: `spec` is for an ONNX file made elsewhere; leave it out")
    if recipe is not None and suffix not in CHECKPOINT_SUFFIXES:
        raise BadInput(f"{path}: `recipe` is for a plain state dict; leave it out")
    if path.is_dir():
        return _manifest_facts(Manifest.from_file(path))
    if suffix == ".onnx":
        return _onnx_facts(path, spec, progress)
    if suffix in CHECKPOINT_SUFFIXES:
        return _checkpoint_facts(path, recipe_from_shelf(recipe) if isinstance(recipe, str) else recipe)
    if suffix == ".json":
        return _json_facts(path)
    raise BadInput(f"{path}: no kind of file that can be inspected (ONNX, checkpoint, engine directory, JSON)")


def _onnx_facts(path: Path, given: Path | None, progress: Progress) -> dict[str, Any]:
    model = OnnxModel.from_file(path)
    facts: dict[str, Any] = {
        "kind": "ONNX file",
        "size_mb": round(path.stat().st_size / 1e6, 2),
        "sha256": model.sha256,
        "opset": model.opset,
        "inputs": [value.name for value in model.inputs],
        "outputs": [value.name for value in model.outputs],
    }
    if given is not None:
        wrapped = onnx_model(model, spec=given, progress=progress)
        facts |= {"contract": f"by {given}", **_spec_facts(wrapped.spec)}
    elif model.spec_inside is None:
        facts["contract"] = "none: made elsewhere, needs a spec"
    else:
        facts |= _spec_facts(model.spec_inside)
        facts["io"] = "contract (uint8 BGR frames)" if model.has_contract else "plain (float NCHW)"
        facts |= _quantization_facts(model.contract.quantization) if model.has_contract else {}
    return facts | {"operators": dict(Counter(operator(node) for node in model.graph.node).most_common())}


def _quantization_facts(quantization: Quantization) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "precision": quantization.precision,
        "placement": quantization.placement or None,
        "table_sha256": quantization.table_sha256 or None,
        "kept_float": list(quantization.kept_float),
    }
    if quantization.precision.endswith("fp16"):
        facts |= {"kept_fp32": list(quantization.kept_fp32), "range_checked": _range_words(quantization)}
    return facts


def _range_words(quantization: Quantization) -> str:
    return f"on {quantization.range_images} images" if quantization.range_images else "no: made without images"


def _spec_facts(spec: ModelSpec) -> dict[str, Any]:
    p = spec.preprocess
    return {
        "name": spec.name,
        "classes": list(spec.classes),
        "input": f"{p.height}x{p.width} {p.resize}",
        "mean": list(p.mean),
        "std": list(p.std),
        "channels": p.channels,
        "head": spec.head.kind,
        "dynamic": spec.dynamic,
        "weights_sha256": spec.weights_sha256,
        "weights_terms": spec.weights_terms,
    }


def _checkpoint_facts(path: Path, recipe: Recipe | None) -> dict[str, Any]:
    from fcn_edge.engines import require_package

    require_package("pytorch")
    from fcn_edge.models.checkpoint import checkpoint_from_file, spec_from_header

    loaded = checkpoint_from_file(path, recipe)
    parameters = sum(p.numel() for p in loaded.network.parameters())
    network = loaded.header.network
    facts = {"kind": "checkpoint", "backbone": network.backbone, "geometry": network.geometry, "parameters": parameters}
    return facts | _spec_facts(spec_from_header(loaded.header, loaded.network, loaded.sha256))


def _json_facts(path: Path) -> dict[str, Any]:
    value = read_json(path)
    try:
        return _facts_from_mapping(value, path)
    except (AttributeError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path}: has the keys of a table, record or manifest of fcn-edge, but not its values"
        ) from error


def _facts_from_mapping(value: dict[str, Any], path: Path) -> dict[str, Any]:
    if "tensors" in value and "images_sha256" in value:
        keys = ("model", "method", "source", "graph_sha256", "preprocess")
        return {
            "kind": "calibration table",
            "tensors": len(value["tensors"]),
            "images": len(value["images_sha256"]),
            **{key: value.get(key) for key in keys},
        }
    if "rows" in value:
        rows = [f"{r['target']} {r['precision']} {r['execution']}" for r in value["rows"]]
        return {"kind": "benchmark record", "date": value.get("date"), "data": value.get("data"), "rows": rows}
    if "plan_sha256" in value:
        return _manifest_facts(Manifest.from_mapping(value, str(path)))
    raise BadInput(f"{path}: JSON, but no table, record or manifest of fcn-edge")


def _manifest_facts(manifest: Manifest) -> dict[str, Any]:
    layers = Counter(f"{layer.op} {layer.precision}" for layer in manifest.layers)
    return {"kind": "engine directory", **manifest.to_mapping(), "layers": dict(layers)}
