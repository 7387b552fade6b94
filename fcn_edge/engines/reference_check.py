"""Whether an engine computes what its file says, compared with the reference run of the same file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec

import numpy as np

from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines import PACKAGES, EngineOptions, Target, engine_on_target
from fcn_edge.engines.base import Engine
from fcn_edge.engines.fidelity import Fidelity, ReferenceCheck, ReferenceLimits, decibels, limits_for
from fcn_edge.errors import BadInput, CheckFailed, FcnEdgeError
from fcn_edge.frame import Style
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.transforms import input_from_frame, is_finite, view_from_scores

LEAST_KEPT_DB, LEAST_KEPT = 3.0, 0.5  # below, half of what a lower-precision file gives is noise


def compare_with_reference(
    file: OnnxModel, fp32: OnnxModel | None, images: Sequence[np.ndarray], *, target: Target, options: EngineOptions
) -> ReferenceCheck:
    """Open `file` on `target` and hold it against the reference run. fp32: what the file was quantized from, if known.

    Raises CheckFailed where the engine computes something else than its file says; names a target that does not.
    """
    with engine_on_target(file, "reference", EngineOptions(threads=options.threads)) as reference:
        price = None
        if fp32 is not None:
            with engine_on_target(fp32, "reference", EngineOptions(threads=options.threads)) as exact:
                price = fidelity(reference, exact, images)

        def judged(target: Target, options: EngineOptions) -> tuple[Fidelity, ReferenceLimits]:
            with engine_on_target(file, target, options) as engine:
                found = fidelity(engine, reference, images)
                return found, require_faithful(found, engine, price)

        try:
            found, limits = judged(target, options)
        except CheckFailed as error:
            raise CheckFailed(f"{error}{_advice(target, options, judged)}") from error
    return ReferenceCheck(**vars(found), runtime=reference.runtime, limits=limits, from_fp32=price)


def require_quantized(price: Fidelity, file: OnnxModel, fp32: OnnxModel, image: np.ndarray) -> None:
    """Raises CheckFailed where a lower-precision file is no longer the network it was made from, with the first tensor.

    price: how far it is from fp32, both as reference runs. A budget is stricter; this finds files that are broken.
    """
    is_near = price.agreement >= LEAST_KEPT if price.sqnr_db is None else price.sqnr_db >= LEAST_KEPT_DB
    if is_near:
        return
    ratio = "" if price.sqnr_db is None else f"{price.sqnr_db:.1f} dB (at least {LEAST_KEPT_DB:g}) and "
    raise CheckFailed(
        f"{file.path.name} does not compute what its fp32 file does: {ratio}{price.agreement:.1%} equal pixels; the"
        f" first tensor that is lost is {_first_lost(file, fp32, image)}. Calibrate on more pictures, or keep layers in"
        " float by a budget (`max_miou_drop`)"
    )


def require_near_fp32(file: OnnxModel, fp32: OnnxModel, images: Sequence[np.ndarray]) -> None:
    """Run a lower-precision file and its fp32 file on images and compare: see `require_quantized`."""
    with (
        engine_on_target(file, "reference", EngineOptions()) as one,
        engine_on_target(fp32, "reference", EngineOptions()) as other,
    ):
        require_quantized(fidelity(one, other, images), file, fp32, images[0])


def _first_lost(file: OnnxModel, fp32: OnnxModel, image: np.ndarray) -> str:
    """The first tensor, in the fp32 graph's order, of which the other file keeps less than the least that is asked."""
    from fcn_edge.engines.ort import Taps

    x = input_from_frame(image, fp32.spec.preprocess)
    names = [name for node in fp32.graph.node for name in node.output if name in file.producers]
    wanted, found = (Taps(model.tapped(names), fp32.path.name).run(x) for model in (fp32, file))
    for name in names:
        signal, lost = wanted[name].astype(np.float64), found[name] - wanted[name].astype(np.float64)
        if decibels(float(np.square(signal).sum()), float(np.square(lost).sum())) < LEAST_KEPT_DB:
            return name
    return names[-1]


def require_as_reference(engine: Engine, file: OnnxModel, options: EngineOptions) -> None:
    """Compare an open engine of `file` with the reference run on drawn pictures of the network's size.

    Raises CheckFailed where the engine computes something else; nothing is compared without ONNX Runtime.
    """
    if find_spec(PACKAGES["reference"][0]) is None:
        return
    pictures = probe_pictures(*engine.spec.preprocess.size)
    if engine.precision != "fp32":  # noise lies beyond the ranges that a quantized file was made for
        pictures = pictures[:1]
    with engine_on_target(file, "reference", EngineOptions(threads=options.threads)) as reference:

        def judged(target: Target, options: EngineOptions) -> None:
            with engine_on_target(file, target, options) as other:
                require_faithful(fidelity(other, reference, pictures), other)

        try:
            require_faithful(fidelity(engine, reference, pictures), engine)
        except CheckFailed as error:
            raise CheckFailed(f"{error}{_advice(engine.target, options, judged)}") from error


def _advice(target: Target, options: EngineOptions, judged: Callable[[Target, EngineOptions], object]) -> str:
    """Which other target for CPUs computes the same file right; "" where none does, or bf16 is asked for."""
    other: Target = "onnxruntime" if target == "openvino" else "openvino"
    if options.execution == "bf16" or options.provider != "cpu":
        return ""
    try:
        judged(other, options)
    except FcnEdgeError:
        return ""
    return f'; {other} computes it as the file says: pass `target="{other}"`'


def fidelity(engine: Engine, reference: Engine, images: Iterable[np.ndarray]) -> Fidelity:
    """Run frames (H, W, 3) uint8 BGR through both. Raises BadInput where there are none,
    outputs differ in form, or scores are not finite."""
    signal = noise = 0.0
    shares = []
    for image in images:
        x = input_from_frame(image, reference.spec.preprocess)
        found, wanted = engine.infer(x), reference.infer(x)
        if found.shape != wanted.shape:
            raise BadInput(f"outputs are {found.shape} and {wanted.shape}; only engines of one file can be compared")
        for one, output in ((reference, wanted), (engine, found)):
            if not is_finite(output):
                raise BadInput(
                    f"{one.path}: on {one.runtime} its scores hold NaN or infinity; no engine is built of it"
                )
        if wanted.dtype != np.uint8:
            signal += float(np.square(wanted, dtype=np.float64).sum())
            noise += float(np.square(np.subtract(found, wanted, dtype=np.float64)).sum())
        maps = [view_from_scores(y[0], image, reference.spec, Style(overlay=False)).class_map for y in (found, wanted)]
        shares.append(float((maps[0] == maps[1]).mean()))
    if not shares:
        raise BadInput("no images to hold an engine against the reference with")
    has_scores = reference.spec.head.kind != "classes"
    return Fidelity(len(shares), decibels(signal, noise) if has_scores else None, float(np.mean(shares)), min(shares))


def require_faithful(found: Fidelity, engine: Engine, price: Fidelity | None = None) -> ReferenceLimits:
    """The limits that `found` keeps. Raises CheckFailed where it does not: the engine computes something else."""
    limits = limits_for(engine.precision, engine.execution, price)
    is_near = found.sqnr_db is None or found.sqnr_db >= limits.sqnr_db
    if is_near and found.agreement >= limits.agreement:
        return limits
    ratio = "" if found.sqnr_db is None else f"{found.sqnr_db:.1f} dB (at least {limits.sqnr_db:.3g}) and "
    raise CheckFailed(
        f"{engine.runtime} does not compute what {engine.path.name} says: against the reference run {ratio}"
        f"{100 * found.agreement:.2f} % equal pixels (at least {100 * limits.agreement:.4g}) on {found.images} images"
    )
