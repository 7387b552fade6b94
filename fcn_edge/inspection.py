"""Facts about an artefact: what `inspect` reports of a file or an engine directory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import read_json, sha256_of_file
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import Quantization, contract_from_onnx, onnx_from_file, spec_from_onnx, takes_frames
from fcn_edge.onnxgraph import graph_inputs, operator
from fcn_edge.spec import ModelSpec


def facts_from_file(path: Path) -> dict[str, Any]:
    """Plain facts about an engine directory, ONNX file, checkpoint, table, record or manifest."""
    if not path.exists():
        raise BadInput(f"{path}: no such file")
    if path.is_dir():
        return _json_facts(path / "manifest.json")
    if path.suffix == ".onnx":
        return _onnx_facts(path)
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        return _checkpoint_facts(path)
    if path.suffix == ".json":
        return _json_facts(path)
    raise BadInput(f"{path}: not a kind of file that inspect knows (ONNX, checkpoint, engine directory, JSON)")


def _onnx_facts(path: Path) -> dict[str, Any]:
    model = onnx_from_file(path)
    ops = Counter(operator(node) for node in model.graph.node)
    facts: dict[str, Any] = {
        "kind": "ONNX file",
        "size_mb": round(path.stat().st_size / 1e6, 2),
        "sha256": sha256_of_file(path),
        "opset": model.opset_import[0].version,
    }
    facts["inputs"] = [value.name for value in graph_inputs(model.graph)]
    facts["outputs"] = [value.name for value in model.graph.output]
    spec = spec_from_onnx(model, str(path))
    if spec is None:
        facts["contract"] = "none: made elsewhere, needs --spec"
    else:
        facts |= _spec_facts(spec)
        facts["io"] = "contract (uint8 BGR frames)" if takes_frames(model) else "plain (float NCHW)"
        if takes_frames(model):
            quantization = contract_from_onnx(path).quantization
            facts |= {
                "precision": quantization.precision,
                "placement": quantization.placement or None,
                "table_sha256": quantization.table_sha256 or None,
                "kept_float": list(quantization.kept_float),
            }
            if quantization.precision.endswith("fp16"):
                facts |= {"kept_fp32": list(quantization.kept_fp32), "range_checked": _range_words(quantization)}
    return facts | {"operators": dict(ops.most_common())}


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


def _checkpoint_facts(path: Path) -> dict[str, Any]:
    from fcn_edge.engines import require_package

    require_package("pytorch")
    from fcn_edge.models.checkpoint import checkpoint_from_file, spec_from_header

    loaded = checkpoint_from_file(path)
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
        return _manifest_facts(value)
    raise BadInput(f"{path}: JSON, but no table, record or manifest of fcn-edge")


def _manifest_facts(manifest: dict[str, Any]) -> dict[str, Any]:
    layers = Counter(f"{layer['op']} {layer['precision']}" for layer in manifest.get("layers", []))
    return {"kind": "engine directory", **{k: v for k, v in manifest.items() if k != "layers"}, "layers": dict(layers)}
