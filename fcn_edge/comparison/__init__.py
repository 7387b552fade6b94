"""Where two artefacts first disagree: stage by stage from the frame to the class map.

Each stage is judged with everything before it held equal, at A's values, so that a wrong mean is not
blamed on the network, nor a wrong layer on the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.calibration.images import images_from_source, spread_indices
from fcn_edge.comparison.artefact import Artefact, open_artefact, require_same_classes
from fcn_edge.comparison.front import Front, front_of, same_slots
from fcn_edge.comparison.layers import LayerRuns, LayerSqnr
from fcn_edge.comparison.outputs import ClassMaps, FramePictures, Tails
from fcn_edge.comparison.picture import write_picture
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
from fcn_edge.data import dataset_from_name, is_dataset_name
from fcn_edge.data.notes import Notes
from fcn_edge.errors import BadInput
from fcn_edge.metrics import Scores, iou_by_name
from fcn_edge.schema import to_mapping
from fcn_edge.transforms import input_from_frame

__all__ = ["Comparison", "StageLimits", "compare_artefacts", "write_comparison"]

DEFAULT_COUNT = 8
OnImage = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """What was found. first: the stage that first differs, None where A and B agree within limits.

    limits: levels, sqnr_db, agreement as they were applied. matched: shared tensors of A's so many.
    confusion: (C, C) pixels, rows A's class, columns B's. scores: of A and of B where frames had labels.
    labels: confusion matrices (C, C) of A and of B, rows = labels. picture: the frame that agrees least.
    notes: what was changed or passed over while the pictures were read.
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
    a: dict[str, Any]
    b: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """The comparison as one JSON object; fractions 0..1, `null` where nothing was measured."""
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
            "a": self.a,
            "b": self.b,
        }


def compare_artefacts(
    a: str | Path | None,
    b: str | Path | None,
    *,
    images: str,
    count: int | None = None,
    limits: StageLimits = StageLimits(),  # noqa: B008 - frozen
    on_image: OnImage = lambda done, total: None,
) -> Comparison:
    """Compare two of checkpoint, ONNX file with contract, engine directory and packaged name on `count` [8] pictures.

    Graphs run node by node as they are written (ONNX Runtime, optimisation off); engine directories in
    their own engine. images: folder, glob, video, data set or calibration TOML; a data set's labels
    are used where its classes are the networks'.

    Raises:
        BadInput: another thing than these, other classes, no picture that decodes.
        BackendMissing: a package is not installed, or an engine does not run here.
    """
    with ExitStack() as stack:
        first = stack.enter_context(open_artefact(a, "A"))
        second = stack.enter_context(open_artefact(b, "B"))
        require_same_classes(first, second)
        notes, pictures = _frames(images, count or DEFAULT_COUNT, first)
        return replace(_ComparedRun(first, second, limits).over(pictures, images, on_image), notes=tuple(notes.lines))


def files_of_comparison(out: Path) -> dict[str, Path]:
    """What a comparison writes into the folder `out`."""
    return {"json": out / "compare.json", "png": out / "disagreement.png"}


def write_comparison(found: Comparison, out: Path) -> dict[str, Path]:
    """Write compare.json and disagreement.png into the folder `out`. Raises BadInput where it cannot be written."""
    paths = files_of_comparison(out)
    write_json(paths["json"], found.to_mapping())
    write_picture(found.picture, found.palette, paths["png"])
    return paths


@dataclass(frozen=True)
class _ComparedImage:
    name: str
    image: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray] | None


def _frames(source: str, count: int, artefact: Artefact) -> tuple[Notes, list[_ComparedImage]]:
    if not is_dataset_name(source):
        found = images_from_source(source, count)
        return found.notes, [_ComparedImage(image.name, image.read, None) for image in found.images]
    dataset = dataset_from_name(source)
    items = [dataset.items[index] for index in spread_indices(len(dataset.items), count)]
    fits = dataset.classes == artefact.spec.classes
    return dataset.notes, [_ComparedImage(item.name, item.image, item.labels if fits else None) for item in items]


class _ComparedRun:
    """Everything that is counted over the frames, and the judgement at their end."""

    def __init__(self, a: Artefact, b: Artefact, limits: StageLimits) -> None:
        self.a, self.b, self.limits = a, b, limits
        self.fronts: tuple[Front, Front] = (front_of(a), front_of(b))
        self.is_same_size = a.spec.preprocess.size == b.spec.preprocess.size
        self.slots = same_slots(*self.fronts) if self.is_same_size else None
        self.maps, self.tails = ClassMaps(a, b), Tails(a, b)
        self.runs: LayerRuns | None = None
        self.why_not = self._why_no_layers()
        self.resize_levels = self.colour_levels = 0.0
        self.inside_levels: float | None = 0.0

    def _why_no_layers(self) -> str:
        engines = [f"{side.name} ({side.engine.runtime})" for side in (self.a, self.b) if side.engine]
        if engines:
            verb = "shows" if len(engines) == 1 else "show"
            return f"{' and '.join(engines)} {verb} no tensors inside; outputs were compared"
        return "" if self.is_same_size else "the networks take frames of different sizes"

    def over(self, pictures: Sequence[_ComparedImage], source: str, on_image: OnImage) -> Comparison:
        skipped = []
        for done, picture in enumerate(pictures, 1):
            try:
                image = picture.image()
            except BadInput as error:
                skipped.append(str(error))
                continue
            self._add(picture.name, image, picture.labels() if picture.labels else None)
            on_image(done, len(pictures))
        if self.maps.worst is None:
            raise BadInput(f"{source}: none of {len(pictures)} images decodes")
        return self._judged(len(pictures) - len(skipped), tuple(skipped), self.maps.worst)

    def _add(self, name: str, image: np.ndarray, labels: np.ndarray | None) -> None:
        p, q = self.a.spec.preprocess, self.b.spec.preprocess
        x, other = input_from_frame(image, p), input_from_frame(image, q)
        ours, theirs = self.a.run(x), self.b.run(other)
        if self.is_same_size:
            self._compare_inputs(x, input_from_frame(image, replace(q, mean=p.mean)))
        held = self._held(x, ours)
        if self.is_same_size:
            self.tails.add(ours, held, theirs)
        self.maps.add(name, image, labels, ours[self.a.output], theirs[self.b.output])

    def _compare_inputs(self, x: np.ndarray, other: np.ndarray) -> None:
        """Levels between A's frame and B's, and between what both graphs make of A's before their first layer."""
        self.resize_levels = max(self.resize_levels, float(np.abs(x.astype(int) - other).max()))
        self.colour_levels = max(self.colour_levels, float(np.abs(x[..., 0].astype(int) - x[..., 2]).max()))
        mine, theirs = (front.arriving(x) for front in self.fronts)
        if self.inside_levels is None or mine.shape != theirs.shape:
            self.inside_levels = None
        else:
            self.inside_levels = max(self.inside_levels, float(np.abs(mine - theirs).max()))

    def _held(self, x: np.ndarray, ours: Any) -> dict[str, np.ndarray] | None:
        if not self.why_not and self.inside_levels is None:
            self.why_not = "their first layers read other sizes"
        if self.why_not:
            return None
        if self.runs is None:
            self.runs = LayerRuns(self.a, self.b, self.slots or (0, 1, 2), x)
        return self.runs.run(ours)

    def _judged(self, images: int, skipped: tuple[str, ...], worst: FramePictures) -> Comparison:
        kind = noise_kind(self.a, self.b)
        sqnr_db, agreement = self.limits.for_precision(kind)
        layers = self.runs.sqnr() if self.runs else ()
        stages = blamed_for_pixels(self._stages(layers, sqnr_db), layers, self.tails, self.maps.agreement, agreement)
        first = first_difference(stages)
        return Comparison(
            verdict=verdict(stages, self.maps, kind, agreement),
            first=first.name if first else None,
            stages=tuple(stages),
            limits=StageLimits(self.limits.levels, sqnr_db, agreement),
            layers=layers,
            matched=(len(layers), self.runs.total if self.runs else 0),
            agreement=self.maps.agreement,
            confusion=self.maps.between,
            labels=(self.maps.labels_a, self.maps.labels_b),
            scores=self.maps.scores(),
            classes=self.a.spec.classes,
            palette=self.a.spec.palette,
            images=images,
            skipped=skipped,
            picture=worst,
            a=_facts(self.a, self.fronts[0]),
            b=_facts(self.b, self.fronts[1]),
        )

    def _stages(self, layers: tuple[LayerSqnr, ...], sqnr_db: float) -> list[Stage]:
        a, b = self.fronts
        nodes = (a.own_nodes, b.own_nodes)
        inside = network_stage(layers, self.runs, self.why_not, sqnr_db, name="upsample")
        return [
            Stage("frame", "same", "both take the decoded frame as uint8 BGR"),
            resize_stage(a, b, self.resize_levels, self.inside_levels, self.limits, nodes),
            colour_stage(a, b, self.slots, self.colour_levels),
            mean_stage(a, b, self.limits),
            std_stage(a, b, self.limits),
            network_stage(layers, self.runs, self.why_not, sqnr_db),
            upsample_stage(inside, self.tails),
            argmax_stage(self.a, self.b, self.tails),
        ]


def _facts(artefact: Artefact, front: Front) -> dict[str, Any]:
    """What one side is, for JSON; mean and std are those that its graph truly has."""
    return {
        "file": str(artefact.path),
        "name": artefact.spec.name,
        "precision": artefact.precision,
        "execution": artefact.execution,
        "runtime": artefact.engine.runtime if artefact.engine else "onnxruntime, node by node",
        "head": artefact.spec.head.kind,
        "mean": list(front.mean),
        "std": list(front.std),
    }
