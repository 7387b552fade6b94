"""What is counted over the frames of a comparison, and the judgement at their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fcn_edge.calibration.images import CalibrationImage
from fcn_edge.comparison.artefact import Artefact
from fcn_edge.comparison.front import Front, front_of, same_slots
from fcn_edge.comparison.layers import LayerRuns, LayerSqnr
from fcn_edge.comparison.outputs import ClassMaps, FramePictures, Tails
from fcn_edge.comparison.result import ComparedSide, Comparison
from fcn_edge.comparison.stages import (
    Stage,
    StageLimits,
    argmax_stage,
    blamed_for_pixels,
    colour_stage,
    first_difference,
    mean_stage,
    network_stage,
    noise_kind,
    resize_stage,
    std_stage,
    upsample_stage,
    verdict,
)
from fcn_edge.errors import BadInput
from fcn_edge.progress import Progress
from fcn_edge.transforms import input_from_frame


class ComparedRun:
    """Runs both networks over frames, each stage of B with A's values before it."""

    def __init__(self, a: Artefact, b: Artefact, limits: StageLimits) -> None:
        self._a, self._b, self._limits = a, b, limits
        self._fronts: tuple[Front, Front] = (front_of(a), front_of(b))
        self._is_same_size = a.spec.preprocess.size == b.spec.preprocess.size
        self._slots = same_slots(*self._fronts) if self._is_same_size else None
        self._maps, self._tails = ClassMaps(a, b), Tails(a, b)
        self._runs: LayerRuns | None = None
        self._why_no_layers = self._reason_for_no_layers()
        self._resize_levels = self._colour_levels = 0.0
        self._inside_levels: float | None = 0.0

    def _reason_for_no_layers(self) -> str:
        engines = [f"{side.name} ({side.engine.runtime})" for side in (self._a, self._b) if side.engine]
        if engines:
            verb = "shows" if len(engines) == 1 else "show"
            return f"{' and '.join(engines)} {verb} no tensors inside; outputs were compared"
        return "" if self._is_same_size else "the networks take frames of different sizes"

    def over(self, images: Sequence[CalibrationImage], source: str, progress: Progress) -> Comparison:
        """Compare on these images. Raises BadInput where none decodes."""
        skipped = []
        for done, image in enumerate(images, 1):
            try:
                pixels = image.read()
            except BadInput as error:
                skipped.append(str(error))
                continue
            self._add(image.name, pixels, image.labels() if image.labels else None)
            progress.update("comparing", done, len(images))
        if self._maps.worst is None:
            raise BadInput(f"{source}: none of {len(images)} images decodes")
        return self._judged(len(images) - len(skipped), tuple(skipped), self._maps.worst)

    def _add(self, name: str, image: np.ndarray, labels: np.ndarray | None) -> None:
        p, q = self._a.spec.preprocess, self._b.spec.preprocess
        x, other = input_from_frame(image, p), input_from_frame(image, q)
        ours, theirs = self._a.run(x), self._b.run(other)
        if self._is_same_size:
            self._compare_inputs(x, input_from_frame(image, replace(q, mean=p.mean)))
        held = self._run_layers(x, ours)
        if self._is_same_size:
            self._tails.add(ours, held, theirs)
        self._maps.add(name, image, labels, ours[self._a.output], theirs[self._b.output])

    def _compare_inputs(self, x: np.ndarray, other: np.ndarray) -> None:
        """Levels between A's frame and B's, and between what both graphs make of A's before their first layer."""
        self._resize_levels = max(self._resize_levels, float(np.abs(x.astype(int) - other).max()))
        self._colour_levels = max(self._colour_levels, float(np.abs(x[..., 0].astype(int) - x[..., 2]).max()))
        ours, theirs = (front.arriving(x) for front in self._fronts)
        if self._inside_levels is None or ours.shape != theirs.shape:
            self._inside_levels = None
        else:
            self._inside_levels = max(self._inside_levels, float(np.abs(ours - theirs).max()))

    def _run_layers(self, x: np.ndarray, ours: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """B's tensors, each layer fed A's; None where layers cannot be compared."""
        if not self._why_no_layers and self._inside_levels is None:
            self._why_no_layers = "their first layers read other sizes"
        if self._why_no_layers:
            return None
        if self._runs is None:
            self._runs = LayerRuns(self._a, self._b, self._slots or (0, 1, 2), x)
        return self._runs.run(ours)

    def _judged(self, images: int, skipped: tuple[str, ...], worst: FramePictures) -> Comparison:
        kind, maps = noise_kind(self._a, self._b), self._maps
        sqnr_db, agreement = self._limits.for_precision(kind)
        layers = self._runs.sqnr() if self._runs else ()
        stages = blamed_for_pixels(self._stages(layers, sqnr_db), layers, self._tails, maps.agreement, agreement)
        first = first_difference(stages)
        return Comparison(
            verdict=verdict(stages, maps, kind, agreement),
            first=first.name if first else None,
            stages=tuple(stages),
            limits=StageLimits(self._limits.levels, sqnr_db, agreement),
            layers=layers,
            matched=(len(layers), self._runs.total if self._runs else 0),
            agreement=maps.agreement,
            confusion=maps.between,
            labels=(maps.labels_a, maps.labels_b),
            scores=maps.scores(),
            classes=self._a.spec.classes,
            palette=self._a.spec.palette,
            images=images,
            skipped=skipped,
            picture=worst,
            a=_side(self._a, self._fronts[0]),
            b=_side(self._b, self._fronts[1]),
        )

    def _stages(self, layers: tuple[LayerSqnr, ...], sqnr_db: float) -> list[Stage]:
        a, b = self._fronts
        nodes = (a.own_nodes, b.own_nodes)
        inside = network_stage(layers, self._runs, self._why_no_layers, sqnr_db, name="upsample")
        return [
            Stage("frame", "same", "both take the decoded frame as uint8 BGR"),
            resize_stage(a, b, self._resize_levels, self._inside_levels, self._limits, nodes),
            colour_stage(a, b, self._slots, self._colour_levels),
            mean_stage(a, b, self._limits),
            std_stage(a, b, self._limits),
            network_stage(layers, self._runs, self._why_no_layers, sqnr_db),
            upsample_stage(inside, self._tails),
            argmax_stage(self._a, self._b, self._tails),
        ]


def _side(artefact: Artefact, front: Front) -> ComparedSide:
    return ComparedSide(
        file=str(artefact.path),
        name=artefact.spec.name,
        precision=artefact.precision,
        execution=artefact.execution,
        runtime=artefact.engine.runtime if artefact.engine else "onnxruntime, node by node",
        head=artefact.spec.head.kind,
        mean=tuple(front.mean),
        std=tuple(front.std),
    )
