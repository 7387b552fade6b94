"""Compare an engine with the reference run of the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec

import numpy as np

from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines import PACKAGES, EngineOptions, Target, engine_on_target
from fcn_edge.engines.agreement import Agreement, ReferenceCheck, ReferenceLimits, decibels, limits_for
from fcn_edge.engines.base import Engine
from fcn_edge.errors import BadInput, CheckFailed, FcnEdgeError
from fcn_edge.frame import Style
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.transforms import input_from_frame, is_finite, view_from_scores

LEAST_KEPT_DB, LEAST_KEPT = 3.0, 0.5  # below, half of a lower-precision file's output is noise


def compare_with_reference(
    file: OnnxModel, fp32: OnnxModel | None, images: Sequence[np.ndarray], *, target: Target, options: EngineOptions
) -> ReferenceCheck:
    """Open `file` on `target` and compare it with the reference run. fp32: the file it was quantized from, if known.

    Raises CheckFailed if the engine differs from the reference run; suggests a target that does not.
    """
    with engine_on_target(file, "reference", EngineOptions(threads=options.threads)) as reference:
        loss = None
        if fp32 is not None:
            with engine_on_target(fp32, "reference", EngineOptions(threads=options.threads)) as exact:
                loss = agreement_of(reference, exact, images)

        def checked(target: Target, options: EngineOptions) -> tuple[Agreement, ReferenceLimits]:
            with engine_on_target(file, target, options) as engine:
                scores = agreement_of(engine, reference, images)
                return scores, require_agreement(scores, engine, loss)

        try:
            scores, limits = checked(target, options)
        except CheckFailed as error:
            raise CheckFailed(f"{error}{_advice(target, options, checked)}") from error
    return ReferenceCheck(**vars(scores), runtime=reference.runtime, limits=limits, from_fp32=loss)


def require_quantized(loss: Agreement, file: OnnxModel, fp32: OnnxModel, image: np.ndarray) -> None:
    """Raises CheckFailed if a lower-precision file does not compute its fp32 network; names the first wrong tensor.

    loss: its agreement with fp32, both as reference runs. A budget is stricter; this detects broken files.
    """
    is_near = loss.agreement >= LEAST_KEPT if loss.sqnr_db is None else loss.sqnr_db >= LEAST_KEPT_DB
    if is_near:
        return
    ratio = "" if loss.sqnr_db is None else f"{loss.sqnr_db:.1f} dB (at least {LEAST_KEPT_DB:g}) and "
    raise CheckFailed(
        f"{file.path.name} differs too much from its fp32 file: {ratio}{loss.agreement:.1%} equal pixels; the"
        f" first wrong tensor is {_first_lost(file, fp32, image)}. Calibrate on more images, or keep layers in"
        " float with a budget (`max_miou_drop`)"
    )


def require_near_fp32(file: OnnxModel, fp32: OnnxModel, images: Sequence[np.ndarray]) -> None:
    """Run a lower-precision file and its fp32 file on images and compare: see `require_quantized`."""
    with (
        engine_on_target(file, "reference", EngineOptions()) as one,
        engine_on_target(fp32, "reference", EngineOptions()) as other,
    ):
        require_quantized(agreement_of(one, other, images), file, fp32, images[0])


def _first_lost(file: OnnxModel, fp32: OnnxModel, image: np.ndarray) -> str:
    """The first tensor, in the fp32 graph's order, whose ratio is below LEAST_KEPT_DB."""
    from fcn_edge.engines.ort import Taps

    x = input_from_frame(image, fp32.spec.preprocess)
    names = [name for node in fp32.graph.node for name in node.output if name in file.producers]
    expected, actual = (Taps(model.tapped(names), fp32.path.name).run(x) for model in (fp32, file))
    for name in names:
        signal, noise = expected[name].astype(np.float64), actual[name] - expected[name].astype(np.float64)
        if decibels(float(np.square(signal).sum()), float(np.square(noise).sum())) < LEAST_KEPT_DB:
            return name
    return names[-1]


def require_as_reference(engine: Engine, file: OnnxModel, options: EngineOptions) -> None:
    """Compare an open engine of `file` with the reference run on synthetic images of the network's size.

    Raises CheckFailed if they differ; skipped if ONNX Runtime is not installed.
    """
    if find_spec(PACKAGES["reference"][0]) is None:
        return
    pictures = probe_pictures(*engine.spec.preprocess.size)
    if engine.precision != "fp32":  # noise exceeds the ranges of a quantized file
        pictures = pictures[:1]
    with engine_on_target(file, "reference", EngineOptions(threads=options.threads)) as reference:

        def checked(target: Target, options: EngineOptions) -> None:
            with engine_on_target(file, target, options) as other:
                require_agreement(agreement_of(other, reference, pictures), other)

        try:
            require_agreement(agreement_of(engine, reference, pictures), engine)
        except CheckFailed as error:
            raise CheckFailed(f"{error}{_advice(engine.target, options, checked)}") from error


def _advice(target: Target, options: EngineOptions, checked: Callable[[Target, EngineOptions], object]) -> str:
    """Another CPU target that computes the same file correctly; "" if there is none, or for bf16."""
    other: Target = "onnxruntime" if target == "openvino" else "openvino"
    if options.execution == "bf16" or options.provider != "cpu":
        return ""
    try:
        checked(other, options)
    except FcnEdgeError:
        return ""
    return f'; {other} agrees with the reference run: pass `target="{other}"`'


def agreement_of(engine: Engine, reference: Engine, images: Iterable[np.ndarray]) -> Agreement:
    """Run frames (H, W, 3) uint8 BGR through both. Raises BadInput if there are none, output shapes differ, or scores
    are not finite."""
    signal = noise = 0.0
    shares = []
    for image in images:
        x = input_from_frame(image, reference.spec.preprocess)
        actual, expected = engine.infer(x), reference.infer(x)
        if actual.shape != expected.shape:
            raise BadInput(f"outputs are {actual.shape} and {expected.shape}; compare engines of the same file")
        for one, output in ((reference, expected), (engine, actual)):
            if not is_finite(output):
                raise BadInput(
                    f"{one.path}: scores contain NaN or infinity on {one.runtime}; no engine is built from it"
                )
        if expected.dtype != np.uint8:
            signal += float(np.square(expected, dtype=np.float64).sum())
            noise += float(np.square(np.subtract(actual, expected, dtype=np.float64)).sum())
        style = Style(overlay=False)
        maps = [view_from_scores(y[0], image, reference.spec, style).class_map for y in (actual, expected)]
        shares.append(float((maps[0] == maps[1]).mean()))
    if not shares:
        raise BadInput("no images to compare the engine with the reference run on")
    has_scores = reference.spec.head.kind != "classes"
    return Agreement(len(shares), decibels(signal, noise) if has_scores else None, float(np.mean(shares)), min(shares))


def require_agreement(scores: Agreement, engine: Engine, loss: Agreement | None = None) -> ReferenceLimits:
    """The limits that `scores` meets. Raises CheckFailed if it does not: the engine's result is wrong."""
    limits = limits_for(engine.precision, engine.execution, loss)
    is_near = scores.sqnr_db is None or scores.sqnr_db >= limits.sqnr_db
    if is_near and scores.agreement >= limits.agreement:
        return limits
    ratio = "" if scores.sqnr_db is None else f"{scores.sqnr_db:.1f} dB (at least {limits.sqnr_db:.3g}) and "
    raise CheckFailed(
        f"{engine.runtime} computes {engine.path.name} wrong: compared with the reference run {ratio}"
        f"{100 * scores.agreement:.2f} % equal pixels (at least {100 * limits.agreement:.4g})"
        f" on {scores.images} images"
    )
