"""The judgement: stage after stage from frame to arg-max, each with the same input on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fcn_edge.comparison.artefact import Artefact
from fcn_edge.comparison.front import Front
from fcn_edge.comparison.layers import LayerRuns, LayerSqnr
from fcn_edge.comparison.outputs import ClassMaps, Tails, argmax_words
from fcn_edge.engines.agreement import EXACT_DB
from fcn_edge.spec import Preprocess

State = Literal["same", "differs", "unknown"]
# What the less exact of two precisions allows: decibels of a layer alone, and share of pixels of the same class.
# A layer of EfficientNet-Lite0 alone stays at 27 dB in INT8 and 60 dB in half precision; weights 10 % off give 20 dB.
# INT8 of a trained network keeps 99 % of pixels, of random scores 88 %.
ALLOWED = {"fp32": (60.0, 0.999), "half": (40.0, 0.99), "int8": (20.0, 0.8)}
NOISE = {"fp32": "rounding", "half": "half-precision rounding", "int8": "quantization noise"}
SAME_SCORES = 0.001  # share of pixels: a fold of the last bilinear layer moves ties, and nothing else
SAME_CELL = 1e-3
UNSAID = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std of a spec whose graph normalises by itself


@dataclass(frozen=True)
class StageLimits:
    """What still counts as agreement; None takes what the less exact of the two precisions allows.

    levels: of the network's input, 0..255. sqnr_db: of a layer alone. agreement: share of pixels of
    the same class, 0..1.
    """

    levels: float = 0.5
    sqnr_db: float | None = None
    agreement: float | None = None

    def for_precision(self, kind: str) -> tuple[float, float]:
        """sqnr_db and agreement of "fp32", "half" or "int8"."""
        decibels, share = ALLOWED[kind]
        return (
            decibels if self.sqnr_db is None else self.sqnr_db,
            share if self.agreement is None else self.agreement,
        )


@dataclass(frozen=True)
class Stage:
    """One stage's verdict. finding: in plain words, with figures."""

    name: str
    state: State
    finding: str


def noise_kind(a: Artefact, b: Artefact) -> str:
    """The less exact of the two: "int8", "half" (fp16 files, bf16 and f16 execution) or "fp32"."""
    words = {a.precision, b.precision, a.execution, b.execution}
    if any(word.startswith("int8") for word in words):
        return "int8"
    return "half" if words & {"fp16", "bf16", "f16"} else "fp32"


def resize_stage(
    a: Front, b: Front, levels: float, inside: float | None, limits: StageLimits, nodes: tuple[str, str]
) -> Stage:
    """levels: between the frames of both specs; inside: between what both graphs make of A's, None for other sizes."""
    p, q = a.artefact.spec.preprocess, b.artefact.spec.preprocess
    if p.size != q.size:
        return Stage("resize", "differs", f"A's network takes {_by(p.size)}, B's {_by(q.size)}")
    if _resizing(p) != _resizing(q):
        shown = f"frames differ by up to {levels:.0f} levels" if levels else "no difference on frames of that size"
        return Stage("resize", "differs", f"A has {_resizing(p)}, B {_resizing(q)}: {shown}")
    if inside is None or inside > limits.levels:
        own = [f"{side}'s graph has {name}" for side, name in zip(("A", "B"), nodes, strict=True) if name]
        did = " and ".join(own) or "the graphs differ"
        by = "yield other sizes" if inside is None else f"differ by up to {inside:.1f} levels"
        return Stage("resize", "differs", f"{did} in front of the first layer: fed the same frame they {by}")
    return Stage("resize", "same", f"{_resizing(p)} to {_by(p.size)}")


def colour_stage(a: Front, b: Front, slots: tuple[int, ...] | None, levels: float) -> Stage:
    """slots: of B's first layer for each of A's. levels: between red and blue of the frames."""
    if slots is None:
        return Stage("colour", "unknown", "the first layers are unrelated, so the order that B's expects is unknown")
    ours, theirs = a.colours, tuple(b.colours[slot] for slot in slots)
    if ours != theirs:
        found = f"where A's filters read {', '.join(ours)}, B's read {', '.join(theirs)}"
        return Stage("colour", "differs", f"{found}: inputs differ by up to {levels:.0f} levels")
    p, q = a.artefact.spec.preprocess, b.artefact.spec.preprocess
    if p.channels != q.channels:
        said = f"A's spec says {p.channels}, B's {q.channels}"
        return Stage("colour", "differs", f"{said}, yet both graphs feed the same filters the same colours")
    return Stage("colour", "same", f"the same filters read the same colours; weights trained for {p.channels}")


def mean_stage(a: Front, b: Front, limits: StageLimits) -> Stage:
    """What both graphs truly subtract, in levels, RGB."""
    levels = max(abs(x - y) for x, y in zip(a.mean, b.mean))
    said = a.artefact.spec.preprocess.mean, b.artefact.spec.preprocess.mean
    return _normalising("mean", (a.mean, b.mean), said, levels, limits)


def std_stage(a: Front, b: Front, limits: StageLimits) -> Stage:
    """What both graphs truly divide by, in levels, RGB; differences as they are at the far end of 0..255."""
    reach = [max(mean, 255 - mean) for mean in a.mean]
    levels = max(far * abs(1 - x / y) for far, x, y in zip(reach, a.std, b.std))
    said = a.artefact.spec.preprocess.std, b.artefact.spec.preprocess.std
    return _normalising("std", (a.std, b.std), said, levels, limits)


Triple = Sequence[float]


def _normalising(
    name: str, done: tuple[Triple, Triple], said: tuple[Triple, Triple], levels: float, limits: StageLimits
) -> Stage:
    if levels > limits.levels:
        found = f"A has {_three(done[0])}, B {_three(done[1])}: inputs differ by up to {levels:.1f} levels"
        for side, has, says in zip(("A", "B"), done, said, strict=True):
            if _off(has, says) > limits.levels and tuple(says) not in UNSAID:
                found += f" ({side}'s spec says {_three(says)})"
        return Stage(name, "differs", found)
    if _off(*said) > limits.levels and not any(tuple(s) in UNSAID for s in said):
        words = f"A's spec says {_three(said[0])}, B's {_three(said[1])}"
        return Stage(name, "differs", f"{words}, yet both graphs have {_three(done[0])}")
    return Stage(name, "same", _three(done[0]))


def network_stage(
    layers: Sequence[LayerSqnr], runs: LayerRuns | None, why_not: str, limit_db: float, *, name: str = "network"
) -> Stage:
    """The first layer that, fed A's tensors, yields something else than A's."""
    if runs is None:
        return Stage(name, "unknown", f"layers were not compared: {why_not}")
    mine = [layer for layer in layers if layer.stage == name]
    low = [layer for layer in mine if layer.alone_db < limit_db]
    if not mine:
        return Stage(name, "unknown", "no tensor has the same name and shape in both graphs")
    if not low:
        least = min(mine, key=lambda layer: layer.alone_db)
        if least.alone_db == EXACT_DB:
            return Stage(name, "same", "every layer alone yields A's values exactly")
        return Stage(name, "same", f"every layer alone is at {least.alone_db:.0f} dB or more, the lowest {least.name}")
    first = low[0]
    why = runs.why(first)
    others = f"; {len(low)} of {len(mine)} layers do so" if len(low) > 1 else "; no other layer does"
    found = f"layer {first.name} ({first.op}), fed the same tensors, yields {first.alone_db:.1f} dB against A's"
    return Stage(name, "differs", f"{found} (limit {limit_db:g}){f': {why}' if why else ''}{others}")


def upsample_stage(inside: Stage, tails: Tails) -> Stage:
    """inside: the verdict on upsampling layers of the graphs; then the way from scores to frame pixels."""
    if inside.state == "differs":
        return inside
    if not tails.pixels:
        return Stage("upsample", "unknown", "the scores of one side are not to be seen")
    share = tails.resampled / tails.pixels
    if tails.shift_cells > SAME_CELL:
        found = f"the class maps look up to {tails.shift_cells:.2f} cells apart on the score map"
        return Stage("upsample", "differs", f"{found}: of the same scores they make {share:.2%} other pixels")
    if share > SAME_SCORES:
        return Stage("upsample", "differs", f"of A's scores B makes {share:.2%} other pixels")
    but = f", but for {share:.3%} of pixels" if share else ""
    return Stage("upsample", "same", f"of the same scores both make the same class map{but}")


def argmax_stage(a: Artefact, b: Artefact, tails: Tails) -> Stage:
    """Whether the class map that a graph yields is the arg-max of its own scores."""
    sides = [side for side in (a, b) if side.spec.head.kind == "classes"]
    if any(not tails.argmax_pixels[side.name] for side in sides):
        return Stage("argmax", "unknown", "the scores behind a class map are not to be seen")
    for side in sides:
        share = tails.argmax_wrong[side.name] / tails.argmax_pixels[side.name]
        if share > SAME_SCORES:
            found = f"{side.name}'s graph takes it {argmax_words(side)}"
            return Stage("argmax", "differs", f"{found}: {share:.1%} of pixels are not the class of the largest score")
    return Stage("argmax", "same", "the class of the largest score, ties to the lower class")


def first_difference(stages: Sequence[Stage]) -> Stage | None:
    """The first stage that differs, or None."""
    return next((stage for stage in stages if stage.state == "differs"), None)


def verdict(stages: Sequence[Stage], maps: ClassMaps, kind: str, limit: float) -> str:
    """One sentence: where the two first disagree, or that they agree, with figures."""
    agreed = f"class maps agree on {_share(maps.agreement)} of pixels"
    first = first_difference(stages)
    if first is None:
        noise = "" if maps.agreement == 1 else f"; what differs is {NOISE[kind]}"
        return f"A and B agree: {agreed} (limit {_share(limit)}){noise}"
    later = stages[stages.index(first) + 1 :]
    others = [stage.name for stage in later if stage.state == "differs"]
    if others:
        rest = f"{', '.join(others)} {'differs' if len(others) == 1 else 'differ'} too"
    elif any(stage.state == "unknown" for stage in later):
        rest = "no later stage was found to differ"
    else:
        rest = "everything after follows from it"
    return f"{first.name}: {first.finding}; {rest}; {agreed}"


def blamed_for_pixels(
    stages: Sequence[Stage], layers: Sequence[LayerSqnr], tails: Tails, agreement: float, limit: float
) -> list[Stage]:
    """The stages, with one blamed where none differs by itself and yet class maps agree on too few pixels."""
    if first_difference(stages) is not None or agreement >= limit:
        return list(stages)
    found = f"more pixels change than the limit of {_share(limit)} allows"
    if tails.grids is not None and tails.grids[0] != tails.grids[1]:
        ours, theirs = (_by(grid) for grid in tails.grids)
        blamed = Stage("upsample", "differs", f"{found}: A samples frames from {ours} scores, B from {theirs}")
    elif layers:
        least = min(layers, key=lambda layer: layer.alone_db)
        found += f", though no layer alone is to blame: noise adds up, most at {least.name} ({least.alone_db:.0f} dB)"
        blamed = Stage("network", "differs", found)
    else:
        hint = "; layers show where ONNX files are compared, such as model.onnx of an engine directory"
        blamed = Stage("network", "differs", found + hint)
    return [blamed if stage.name == blamed.name else stage for stage in stages]


def _share(value: float) -> str:
    """A percentage that says 100 only where it is."""
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def _resizing(preprocess: Preprocess) -> str:
    return f"{preprocess.resize}, {preprocess.interpolation}"


def _by(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def _three(values: Triple) -> str:
    return ",".join(f"{value:.4g}" for value in values)


def _off(a: Triple, b: Triple) -> float:
    return float(np.abs(np.subtract(a, b)).max())
