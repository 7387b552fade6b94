"""Segmentation networks made elsewhere, described by a TOML file beside them, become graphs with a contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from onnx import ModelProto, TensorProto

from fcn_edge.data.probes import probe_pictures
from fcn_edge.engines import require_package
from fcn_edge.exporting.canonical import canonical_model
from fcn_edge.exporting.contract import attach_contract
from fcn_edge.exporting.folding import fold_head
from fcn_edge.exporting.foreign_input import InputForm, input_form, take_planes
from fcn_edge.exporting.foreign_output import OutputForm, OutputQuery, output_form
from fcn_edge.exporting.foreign_spec import ForeignSpec, classes_of, foreign_spec, range_warnings
from fcn_edge.exporting.foreign_tail import give_form
from fcn_edge.exporting.rewrite_check import gives_class_maps, original_of, require_same_meaning
from fcn_edge.exporting.tidy import tidy_model
from fcn_edge.geometry import Sampling, align_corners, stretch
from fcn_edge.onnxfile import ORIGIN_KEY, with_metadata
from fcn_edge.onnxgraph import copied
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.spec import Head, ModelSpec, Preprocess


def contract_from_foreign(
    given_file: OnnxModel, spec_path: Path | None, *, images: Sequence[np.ndarray] = ()
) -> OnnxModel:
    """Wrap a foreign graph: its input becomes uint8 BGR frames, its one output scores or classes.

    A fixed bilinear upsample at its end is left out where both graphs then draw the same class map. The result is
    compared with the file itself, run by ONNX Runtime, on `images` ((H, W, 3) uint8 BGR, any size) and on pictures
    made here. Its `notes` warn of what the spec probably does not mean.

    Raises:
        BadInput: no spec, several inputs, a size that nobody gave, an output that cannot be read for certain, or a
            result that computes something else than the file.
        BackendMissing: ONNX Runtime is not installed.
    """
    path = given_file.path
    given = foreign_spec(path, spec_path, given_file.spec_inside)
    names, palette = classes_of(given, path)
    require_package("onnxruntime")
    model, renamed = canonical_model(given_file.proto, path)
    original = original_of(given_file, renamed)
    source = input_form(model, given, path)
    notes = () if source.element == TensorProto.UINT8 else range_warnings(given, path)
    pictures = [cv2.resize(image, source.size[::-1]) for image in images] + probe_pictures(*source.size)
    outputs = original.run(source, pictures)
    take_planes(model, source)
    given = replace(given, output=renamed.get(given.output or "", given.output))
    result = output_form(outputs, given, OutputQuery(path, model, source.size, len(names), given.ignore_index))
    _keep_output(model, result.name)
    model = tidy_model(model)
    draft = ModelSpec(
        name=given.name or path.stem,
        classes=names,
        palette=palette,
        ignore_index=given.ignore_index,
        preprocess=Preprocess(*source.size, source.mean, source.std, source.order, given.resize),
        head=_head(result, given, source),
        weights_terms=given.weights_terms,
    )
    whole = copied(model)
    give_form(whole, result)
    whole = attach_contract(whole, draft)
    class_maps = require_same_meaning(original, outputs[result.name], whole, source, result, pictures)
    short = _without_upsampling(model, draft, result)
    is_short = short is not None and gives_class_maps(short, class_maps, pictures, path)
    contract = with_metadata(short if short is not None and is_short else whole, ORIGIN_KEY, given_file.sha256)
    return OnnxModel(path, contract, notes=notes)


def _without_upsampling(model: ModelProto, draft: ModelSpec, result: OutputForm) -> ModelProto | None:
    """The contract of `model` without its last fixed upsample; None where there is none to leave out."""
    folded = fold_head(model, draft.preprocess.size)
    if folded is None or result.kind == "mask" or result.first_class or _channels(model) != draft.num_classes:
        return None
    return attach_contract(model, replace(draft, head=Head("scores", folded.sampling)))


def _head(result: OutputForm, given: ForeignSpec, source: InputForm) -> Head:
    """How the output, brought in form, is sampled."""
    size = (result.rows, result.columns)
    axis = align_corners if given.align_corners else stretch
    sampling = Sampling(axis(source.height, result.rows), axis(source.width, result.columns))
    if result.kind == "classes":
        return Head("classes", sampling)
    return Head("logits" if size == source.size else "scores", sampling)


def _keep_output(model: ModelProto, name: str) -> None:
    kept = [value for value in model.graph.output if value.name == name]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _channels(model: ModelProto) -> int:
    return int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)
