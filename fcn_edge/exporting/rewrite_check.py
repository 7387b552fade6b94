"""Does a rewritten graph still compute what the file computed? The original file, run by plain ONNX Runtime, says.

Opset conversion, inlining, the contract, folding and tidying all rewrite a foreign file. Whatever they do, the
result is compared with the file as it was found, on pictures, before it is written anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.exporting.foreign_input import InputForm
from fcn_edge.exporting.foreign_output import OutputForm
from fcn_edge.geometry import Sampling
from fcn_edge.onnxfile import spec_from_onnx
from fcn_edge.onnxgraph import graph_inputs, producers, tapped_model
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.transforms import class_map_from_output
from fcn_edge.transforms import taps as taps_of

# Sums in another order and batch norms folded into weights round apart by less; half precision rounds each tensor.
MAX_RELATIVE_ERROR, MAX_RELATIVE_ERROR_HALF = 1e-3, 2e-2
MIN_AGREEMENT = 0.999
MAX_TIE = 1e-5  # of the largest score: interpolation in another order rounds apart by less


def original_of(given: OnnxModel, renamed: Mapping[str, str]) -> Original:
    """The file as it was found; where it says that a side of its input is 0 or -1, it means that any will do."""
    copy = given.copy()
    for value in graph_inputs(copy.graph):
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.Clear()
    return Original(given.path, copy, renamed)


@dataclass(frozen=True)
class Original:
    """A foreign file as it was found. renamed: tensors that the rewritten graph calls otherwise."""

    path: Path
    model: ModelProto
    renamed: Mapping[str, str]

    def run(self, form: InputForm, frames: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """Output -> (frames, *shape) for frames (H, W, 3) uint8 BGR of the input's size.

        Outputs have their names in the rewritten graph.

        Raises BadInput where ONNX Runtime does not run the file.
        """
        taps = Taps(self.model.SerializeToString(), self.path.name)
        found = [taps.run(form.array(frame)) for frame in frames]
        return {self.renamed.get(name, name): np.stack([outputs[name] for outputs in found]) for name in found[0]}


def require_same_meaning(
    original: Original,
    expected: np.ndarray,
    rewritten: ModelProto,
    source: InputForm,
    result: OutputForm,
    frames: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Compare the contract `rewritten` with what the file itself gave for `frames`: `expected`, (frames, *shape).

    Returns the file's own class maps, (H, W) uint8 at the input's size.

    Raises:
        BadInput: they differ; the message names the first tensor that does.
    """
    taps = Taps(rewritten.SerializeToString(), original.path.name)
    spec = spec_from_onnx(rewritten, str(original.path))
    assert spec is not None
    is_half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in rewritten.graph.initializer)
    limit = MAX_RELATIVE_ERROR_HALF if is_half else MAX_RELATIVE_ERROR
    class_maps = []
    for frame, output in zip(frames, expected, strict=True):
        (found,) = taps.run(frame[None]).values()
        wanted = result.read(output)
        error = None if wanted.shape != found[0].shape else 0.0
        if result.kind != "classes" and error is not None:
            error = relative_error(wanted, found[0])
        maps = [class_map_from_output(one, spec, source.size) for one in (wanted, found[0])]
        agreement = float((maps[0] == maps[1]).mean())
        if not (error is not None and error <= limit and agreement >= MIN_AGREEMENT):
            first = _first_difference(original, rewritten, source, frame, limit)
            raise BadInput(
                f"{original.path}: converting it changes what it computes: {agreement:.2%} of pixels keep their class"
                f" (at least {MIN_AGREEMENT:.1%}){_apart(error)}. {first}. The file was not converted"
            )
        class_maps.append(maps[0])
    return class_maps


def gives_class_maps(
    folded: ModelProto, class_maps: Sequence[np.ndarray], frames: Sequence[np.ndarray], path: Path
) -> bool:
    """Whether `folded`, a contract that ends in scores, gives these class maps (H, W) for `frames`, but for ties.

    A tie: its scores of the two classes differ by no more than rounding.
    """
    taps, spec = Taps(folded.SerializeToString(), path.name), spec_from_onnx(folded, str(path))
    assert spec is not None
    for frame, wanted in zip(frames, class_maps, strict=True):
        (output,) = taps.run(frame[None]).values()
        found = class_map_from_output(output[0], spec, spec.preprocess.size)
        rows, columns = np.nonzero(found != wanted)
        scores = _sampled_at(output[0], spec.head.sampling, rows, columns)
        of_each = [
            np.take_along_axis(scores, one[rows, columns][None].astype(np.int64), 0)[0] for one in (found, wanted)
        ]
        if (np.abs(of_each[0] - of_each[1]) > MAX_TIE * np.abs(output).max()).any():
            return False
    return True


def _sampled_at(scores: np.ndarray, sampling: Sampling, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(C, N) scores of single pixels."""
    (y, down), (x, across) = taps_of(sampling.y, scores.shape[1]), taps_of(sampling.x, scores.shape[2])
    y, x, down, across = y[rows], x[columns], down[rows], across[columns]
    y_next, x_next = np.minimum(y + 1, scores.shape[1] - 1), np.minimum(x + 1, scores.shape[2] - 1)
    left = scores[:, y, x] * (1 - down) + scores[:, y_next, x] * down
    right = scores[:, y, x_next] * (1 - down) + scores[:, y_next, x_next] * down
    return np.asarray(left * (1 - across) + right * across)


def _apart(error: float | None) -> str:
    return ", its output has another shape" if error is None else f", relative error {error:.2g}"


def relative_error(wanted: np.ndarray, found: np.ndarray) -> float:
    """Largest difference over the largest magnitude of what is wanted."""
    scale = float(np.abs(wanted.astype(np.float64)).max()) or 1.0
    return float(np.abs(wanted.astype(np.float64) - found).max()) / scale


def _first_difference(
    original: Original, rewritten: ModelProto, source: InputForm, frame: np.ndarray, limit: float
) -> str:
    """The first tensor, in the file's order, that both graphs have and that differs, in words."""
    model = original.model
    names = {name: original.renamed.get(name, name) for node in model.graph.node for name in node.output if name}
    theirs = producers(rewritten.graph)
    shared = [name for name in names if names[name] in theirs]
    wanted = Taps(tapped_model(model, shared), original.path.name).run(source.array(frame))
    found = Taps(tapped_model(rewritten, [names[name] for name in shared]), original.path.name).run(frame[None])
    for name in shared:
        one, other = np.asarray(wanted[name]), np.asarray(found[names[name]])
        if one.shape != other.shape or relative_error(one, other) > limit:
            return f"The first tensor that differs is {name}"
    return "All tensors inside are equal: the outputs differ"
