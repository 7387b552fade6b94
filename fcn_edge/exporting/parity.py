"""Is the exported graph the same network? Held against PyTorch before a file appears."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines import EngineOptions, available_targets, engine_on_target
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import class_map_from_scores

if TYPE_CHECKING:
    from fcn_edge.models.checkpoint import Checkpoint

# fp32 graphs differ by the order of sums only; batch norms folded into weights round once more.
MAX_RELATIVE_ERROR = 1e-3
MIN_AGREEMENT = 0.999


@dataclass(frozen=True)
class Parity:
    """relative_error: largest difference of scores over their largest magnitude (None for a class
    map); agreement: share of pixels of the same class; engine: what ran the exported graph."""

    relative_error: float | None
    agreement: float
    engine: str


def parity_with_checkpoint(model: OnnxModel, checkpoint: Checkpoint) -> Parity:
    """Run one street and one noise frame through both. Raises BadInput where they disagree."""
    from fcn_edge.engines.pyt import TorchEngine
    from fcn_edge.models.checkpoint import head_of_network

    path, spec = model.path, model.spec
    frames = _probe_frames(*spec.preprocess.size)
    reference = TorchEngine(path, EngineOptions(), checkpoint)
    reference.spec = replace(spec, head=head_of_network(checkpoint.network, *spec.preprocess.size))
    outputs, name = _outputs(model, frames)
    pairs = [(reference.infer(frame)[0], found) for frame, found in zip(frames, outputs, strict=True)]
    parity = _worst([_compare(expected, found, reference.spec, spec) for expected, found in pairs], name)
    _require(parity, path)
    return parity


def _outputs(model: OnnxModel, frames: list[np.ndarray]) -> tuple[list[np.ndarray], str]:
    """What a contract gives for each frame, without the batch axis, and the runtime that ran it."""
    target = next((t for t in ("onnxruntime", "openvino") if t in available_targets()), None)
    if target is None:
        raise BackendMissing("parity is checked with ONNX Runtime or OpenVINO: pip install 'fcn-edge[cpu]'")
    with engine_on_target(model, target, EngineOptions()) as engine:
        return [engine.infer(frame)[0] for frame in frames], engine.runtime


def _probe_frames(height: int, width: int) -> list[np.ndarray]:
    return [picture[None] for picture in probe_pictures(height, width)[:2]]


def _compare(expected: np.ndarray, found: np.ndarray, reference: ModelSpec, spec: ModelSpec) -> Parity:
    wanted = class_map_from_scores(expected, reference.head.sampling)
    if spec.head.kind == "classes":
        return Parity(None, float((wanted == found).mean()), "")
    agreement = float((wanted == class_map_from_scores(found, spec.head.sampling)).mean())
    if found.shape != expected.shape:  # logits against scores: borders differ by a factor, classes do not
        return Parity(None, agreement, "")
    scale = float(np.abs(expected).max()) or 1.0
    return Parity(float(np.abs(expected - found).max()) / scale, agreement, "")


def _worst(parts: list[Parity], engine: str) -> Parity:
    errors = [part.relative_error for part in parts if part.relative_error is not None]
    return Parity(max(errors) if errors else None, min(part.agreement for part in parts), engine)


def _require(parity: Parity, path: Path) -> None:
    error = parity.relative_error or 0.0
    if not (error <= MAX_RELATIVE_ERROR and parity.agreement >= MIN_AGREEMENT):
        raise BadInput(
            f"{path}: the exported graph is not the same network: relative error {error:.2g}"
            f" (limit {MAX_RELATIVE_ERROR}), {parity.agreement:.2%} of pixels agree (limit {MIN_AGREEMENT:.1%})"
        )
