"""What a comparison found: its stages, layers, pixels and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.comparison.layers import LayerSqnr
from fcn_edge.comparison.outputs import FramePictures
from fcn_edge.comparison.picture import write_picture
from fcn_edge.comparison.stages import Stage, StageLimits
from fcn_edge.errors import CheckFailed
from fcn_edge.metrics import Scores, iou_by_name
from fcn_edge.schema import to_mapping


@dataclass(frozen=True)
class ComparedSide:
    """One of the two that were compared. mean, std: what its graph really subtracts and divides by, in levels."""

    file: str
    name: str
    precision: str
    execution: str
    runtime: str
    head: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Where two networks first differ.

    Args:
        verdict: one sentence, with figures.
        first: the stage that first differs; None where A and B agree within limits.
        stages: frame, resize, colour, mean, std, network, upsample, argmax.
        limits: levels, sqnr_db and agreement as they were applied.
        layers: SQNR of each tensor that both have. matched: their number, and that of A's tensors.
        agreement: share of pixels of the same class, 0..1.
        confusion: (C, C) pixels, rows A's class, columns B's.
        labels: confusion matrices (C, C) of A and of B, rows = labels. scores: of both, where frames had labels.
        classes, palette: of both networks; RGB.
        images: how many were compared. skipped: those that do not decode, each with the reason.
        picture: the frame that agrees least.
        a, b: what was compared.
        notes: what was changed or left out while the images were read.
    """

    verdict: str
    first: str | None
    stages: tuple[Stage, ...]
    limits: StageLimits
    layers: tuple[LayerSqnr, ...]
    matched: tuple[int, int]
    agreement: float
    confusion: np.ndarray
    labels: tuple[np.ndarray, np.ndarray]
    scores: tuple[Scores | None, Scores | None]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    images: int
    skipped: tuple[str, ...]
    picture: FramePictures
    a: ComparedSide
    b: ComparedSide
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> CheckFailed | None:
        """What a program would raise; None where the two agree within limits."""
        return None if self.first is None else CheckFailed(self.verdict)

    @property
    def exit_code(self) -> int:
        """0 where every stage agrees within limits, else 1."""
        return 0 if self.first is None else CheckFailed.exit_code

    def to_mapping(self) -> dict[str, Any]:
        """What `compare --json` prints; fractions 0..1, None where nothing was measured."""
        a, b = self.scores
        return {
            "agree": self.first is None,
            "first": self.first,
            "verdict": self.verdict,
            "agreement": self.agreement,
            "limits": to_mapping(self.limits),
            "stages": to_mapping(self.stages),
            "layers": to_mapping(self.layers),
            "layers_matched": self.matched[0],
            "layers_of_a": self.matched[1],
            "confusion": self.confusion.tolist(),
            "confusion_delta": (self.labels[1] - self.labels[0]).tolist() if a and b else None,
            "miou_a": a.miou if a else None,
            "miou_b": b.miou if b else None,
            "iou_a": iou_by_name(a, self.classes) if a else None,
            "iou_b": iou_by_name(b, self.classes) if b else None,
            "classes": list(self.classes),
            "images": self.images,
            "skipped": list(self.skipped),
            "notes": list(self.notes),
            "a": to_mapping(self.a),
            "b": to_mapping(self.b),
        }

    def save(self, out: Path | str) -> dict[str, Path]:
        """Write compare.json and disagreement.png into the folder `out`; their paths by kind.

        Raises:
            BadInput: they cannot be written, or files there are not of fcn-edge.
        """
        paths = files_of_comparison(Path(out))
        write_json(paths["json"], self.to_mapping())
        write_picture(self.picture, self.palette, paths["png"])
        return paths


def files_of_comparison(out: Path) -> dict[str, Path]:
    """What a comparison writes into the folder `out`, by kind."""
    return {"json": out / "compare.json", "png": out / "disagreement.png"}
