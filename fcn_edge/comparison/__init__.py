"""Where two networks first disagree: stage by stage from the frame to the class map.

Each stage is judged with everything before it at A's values, so that a wrong mean is not blamed on the network, nor a
wrong layer on the mean.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from fcn_edge.calibration.images import ImagesLike
from fcn_edge.comparison.artefact import open_artefact
from fcn_edge.comparison.counting import ComparedRun
from fcn_edge.comparison.images import compared_images
from fcn_edge.comparison.result import ComparedSide, Comparison, files_of_comparison
from fcn_edge.comparison.stages import StageLimits
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_apart, require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import PACKAGED_NETWORK
from fcn_edge.spec import require_same_classes

__all__ = ["ComparedSide", "Comparison", "StageLimits", "compare", "files_of_comparison"]

DEFAULT_COUNT = 8


def compare(
    a: str | Path | OnnxModel | None,
    b: str | Path | OnnxModel | None,
    images: ImagesLike,
    *,
    count: int = DEFAULT_COUNT,
    limits: StageLimits = StageLimits(),  # noqa: B008 - frozen
    spec_a: Path | None = None,
    spec_b: Path | None = None,
    recipe_a: str | None = None,
    recipe_b: str | None = None,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Find the first stage in which two networks differ.

    Graphs run node by node as they are written (ONNX Runtime, optimisation off); engine directories in their own
    engine, which shows no layers.

    Args:
        a, b: the reference, and what is compared with it: checkpoint, ONNX file, engine directory or packaged name;
            None for the packaged network.
        images: folder, glob, video, data set or TOML, by name or path, or (H, W, 3) uint8 BGR arrays; labels of a
            data set are used where its classes are the networks'.
        count: at most so many, evenly spread.
        limits: what still counts as agreement; by default what the less exact of both precisions allows.
        spec_a, spec_b: TOML of an ONNX file of another tool.
        recipe_a, recipe_b: network of a plain state dict.
        out: folder for compare.json and disagreement.png; None writes nothing.
        progress: receives each step.

    Returns:
        The comparison: its verdict, the stages, and what was counted.

    Raises:
        BadInput: something else than these, other classes, no image that decodes.
        BackendMissing: a package is not installed, or an engine does not run here.

    Example:
        >>> compare("net.onnx", "net.int8.onnx", "camvid:camvid#val").verdict
        'A and B agree: class maps agree on 99.04% of pixels (limit 80.00%); what differs is quantization noise'
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        read = [part for part in (a, b, images, spec_a, spec_b) if isinstance(part, (str, Path))]
        require_outputs(files_of_comparison(folder).values(), read)
        require_apart([folder], [images] if isinstance(images, (str, Path)) else [])
    with ExitStack() as stack:
        first = stack.enter_context(open_artefact(a, "A", spec=spec_a, recipe=recipe_a, progress=progress))
        second = stack.enter_context(open_artefact(b, "B", spec=spec_b, recipe=recipe_b, progress=progress))
        ours, theirs = first.spec, second.spec
        require_same_classes(f"A ({ours.name})", ours.classes, f"B ({theirs.name})", theirs.classes)
        chosen = compared_images(images, count, ours.classes)
        run = ComparedRun(first, second, limits).over(chosen.images, chosen.source, progress)
    found = replace(
        run,
        a=replace(run.a, file=_shown(a)),
        b=replace(run.b, file=_shown(b)),
        notes=tuple(chosen.notes.lines),
    )
    if folder is not None:
        found.save(folder)
    return found


def _shown(model: str | Path | OnnxModel | None) -> str:
    """The model as the caller named it."""
    return str(model.path if isinstance(model, OnnxModel) else model or PACKAGED_NETWORK)
