"""Segmentation networks made elsewhere, described by a TOML file beside them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from fcn_edge.data import class_set
from fcn_edge.data.voc import voc_palette
from fcn_edge.engines import EngineOptions, available_targets, engine_on_target
from fcn_edge.errors import BackendMissing, BadInput, first_line
from fcn_edge.export.contract import attach_contract
from fcn_edge.export.folding import fold_head
from fcn_edge.export.parity import draws_the_same
from fcn_edge.export.tidy import tidy_model
from fcn_edge.geometry import Sampling, align_corners, stretch
from fcn_edge.onnxfile import IR_VERSION, graph_inputs, save_onnx, spec_from_onnx
from fcn_edge.schema import from_mapping, read_toml
from fcn_edge.spec import Head, HeadKind, ModelSpec, Preprocess

MIN_OPSET = 13  # per-channel Q/DQ
FLOATS = (TensorProto.FLOAT,)


@dataclass(frozen=True)
class ForeignSpec:
    """What a foreign file does not say. mean and std: 0..255 units, RGB order.

    classes: names, or the name of a known set ("camvid", "voc", "cityscapes"). height and
    width: needed where the graph leaves its size open. align_corners: whether a score map
    smaller than the input was trained with align_corners upsampling. threshold: of two classes, the
    second is where a mask of one channel is above it; 0 for a mask before its sigmoid.
    """

    classes: tuple[str, ...] = ()
    class_set: Literal["camvid", "voc", "cityscapes"] | None = None
    palette: tuple[tuple[int, int, int], ...] = ()
    ignore_index: int = 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["stretch", "letterbox"] = "stretch"
    height: int | None = None
    width: int | None = None
    align_corners: bool = False
    threshold: float = 0.5
    output: str | None = None
    name: str = ""
    weights_terms: str = ""


def contract_from_foreign(model: Any, path: Path, spec_path: Path | None, inside: ModelSpec | None) -> Any:
    """Wrap a foreign graph: its input becomes uint8 BGR frames, its one output scores or classes.

    A fixed bilinear upsample at its end is left out where both graphs then draw the same class map.

    Raises:
        BadInput: no spec, several inputs, a size that nobody gave, classes that do not fit the output.
    """
    given = _spec_in(path, spec_path, inside)
    source = _single_input(model, path)
    model = _at_least_opset(model, path)
    layout, height, width = _input_geometry(source, given, path)
    _require_floats_or_no_mean(source, given, path)
    _keep_one_output(model, given, path)
    _fix_input(model, source.name, layout, (height, width), path)
    model = tidy_model(model)
    model.ir_version = max(model.ir_version, IR_VERSION)  # below 4, weights would have to be inputs as well
    preprocess = Preprocess(height, width, given.mean, given.std, given.channels, given.resize)
    names, palette = _classes(given, path)
    full = Sampling(stretch(height, height), stretch(width, width))
    draft = ModelSpec(
        name=given.name or path.stem, classes=names, palette=palette, ignore_index=given.ignore_index,
        preprocess=preprocess, head=Head("logits", full), weights_terms=given.weights_terms,
    )  # fmt: skip
    whole = _contract_of_all(_copied(model), draft, given, path)
    folded = fold_head(model, (height, width))
    if folded is None or _channels(model) != draft.num_classes:
        return whole
    short = attach_contract(model, replace(draft, head=Head("scores", folded.sampling)))
    return short if draws_the_same(whole, short) else whole


def _contract_of_all(model: Any, draft: ModelSpec, given: ForeignSpec, path: Path) -> Any:
    """The whole graph in its contract."""
    shape = _output_shape(attach_contract(_copied(model), draft), path)
    return attach_contract(model, replace(draft, head=_fit_head(model, shape, draft, given, path)))


def _copied(model: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _channels(model: Any) -> int:
    return int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def _spec_in(path: Path, spec_path: Path | None, inside: ModelSpec | None) -> ForeignSpec:
    if spec_path is not None:
        return from_mapping(ForeignSpec, read_toml(spec_path), str(spec_path))
    if inside is None:
        raise BadInput(f"{path}: made elsewhere; say what it is with --spec FILE.toml (classes, mean, std, channels)")
    p = inside.preprocess
    return ForeignSpec(
        classes=inside.classes, palette=inside.palette, ignore_index=inside.ignore_index, mean=p.mean, std=p.std,
        channels=p.channels, resize=p.resize, height=p.height, width=p.width, name=inside.name,
        weights_terms=inside.weights_terms,
    )  # fmt: skip


def _single_input(model: Any, path: Path) -> Any:
    inputs = graph_inputs(model)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise BadInput(f"{path}: {len(inputs)} inputs ({names}); a segmentation network here has one, the image")
    return inputs[0]


def _at_least_opset(model: Any, path: Path) -> Any:
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version >= MIN_OPSET:
        return model
    try:
        return version_converter.convert_version(model, MIN_OPSET)
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"{path}: opset {version} cannot be raised to {MIN_OPSET} ({first_line(error)})") from error


def _input_geometry(source: Any, given: ForeignSpec, path: Path) -> tuple[str, int, int]:
    tensor = source.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    if len(dims) != 4 or tensor.elem_type not in (*FLOATS, TensorProto.UINT8):
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise BadInput(f"{path}: input {source.name} is {kind} of rank {len(dims)}; expected float or uint8, rank 4")
    layout = "NCHW" if dims[1] == 3 else "NHWC" if dims[3] == 3 else ""
    if not layout:
        raise BadInput(f"{path}: input {source.name} has shape {dims}; no axis of 3 colours at place 1 or 3")
    if dims[0] > 1:
        raise BadInput(f"{path}: fixed to batches of {dims[0]}; export it with batch 1 or a free batch")
    rows, columns = (dims[2], dims[3]) if layout == "NCHW" else (dims[1], dims[2])
    height, width = rows or given.height, columns or given.width
    if not height or not width:
        raise BadInput(f"{path}: the graph leaves its size open; add height and width to the spec")
    if (given.height or height, given.width or width) != (height, width):
        raise BadInput(f"{path}: fixed to {height}x{width}, the spec says {given.height}x{given.width}")
    return layout, height, width


def _require_floats_or_no_mean(source: Any, given: ForeignSpec, path: Path) -> None:
    """Bytes minus a mean would wrap round without a word."""
    if source.type.tensor_type.elem_type == TensorProto.UINT8 and (given.mean, given.std) != ((0.0,) * 3, (1.0,) * 3):
        raise BadInput(f"{path}: takes bytes and normalises them itself; leave mean and std out of the spec")


def _keep_one_output(model: Any, given: ForeignSpec, path: Path) -> None:
    names = [value.name for value in model.graph.output]
    wanted = given.output or names[0]
    if wanted not in names:
        raise BadInput(f"{path}: no output {wanted!r}; it has {', '.join(names)}")
    kept = [value for value in model.graph.output if value.name == wanted]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _fix_input(model: Any, name: str, layout: str, size: tuple[int, int], path: Path) -> None:
    """Replace the input by float NCHW (1, 3, H, W), with the nodes that lead to what the graph took."""
    source = graph_inputs(model)[0]
    element = source.type.tensor_type.elem_type
    nodes, tensor = [], "planar"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [tensor], ["interleaved"], "foreign_transpose", perm=[0, 2, 3, 1]))
        tensor = "interleaved"
    if element == TensorProto.UINT8:
        nodes.append(helper.make_node("Cast", [tensor], ["bytes"], "foreign_cast", to=TensorProto.UINT8))
        tensor = "bytes"
    for node in model.graph.node:
        for position, item in enumerate(node.input):
            if item == name:
                node.input[position] = tensor
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.append(helper.make_tensor_value_info("planar", TensorProto.FLOAT, [1, 3, *size]))
    for offset, node in enumerate(nodes):
        model.graph.node.insert(offset, node)


def _classes(given: ForeignSpec, path: Path) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    if given.class_set is not None:
        known = class_set(given.class_set)
        return known.classes, known.palette
    if not given.classes:
        raise BadInput(f"{path}: the spec names no classes; give classes = [...] or class_set = 'camvid'")
    return given.classes, given.palette or voc_palette(len(given.classes))


def _output_shape(model: Any, path: Path) -> tuple[int, ...]:
    """Run one grey frame: the graph itself tells its output's shape, whatever its metadata says."""
    target = next((t for t in ("onnxruntime", "openvino") if t in available_targets()), None)
    if target is None:
        raise BackendMissing("a foreign file is run once to learn its output: pip install 'fcn-edge[cpu]'")
    spec = spec_from_onnx(model, str(path))
    assert spec is not None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        save_onnx(model, file)
        with engine_on_target(file, target, EngineOptions()) as engine:
            return engine.infer(np.full((1, *spec.preprocess.size, 3), 127, np.uint8)).shape


def _fit_head(model: Any, shape: tuple[int, ...], spec: ModelSpec, given: ForeignSpec, path: Path) -> Head:
    """Bring the output to (1, C, h, w) float or (1, h, w) uint8 and say how it is sampled."""
    classes = spec.num_classes
    kind: HeadKind = "scores"
    if len(shape) == 4 and shape[1] == classes:
        rows, columns = shape[2:]
    elif len(shape) == 4 and shape[3] == classes and shape[1] != 1:
        rows, columns = shape[1:3]
        _append(model, "Transpose", (1, classes, rows, columns), perm=[0, 3, 1, 2])
    elif _is_mask(model, shape, classes):
        rows, columns = shape[1:3] if shape[-1] == 1 else shape[-2:]
        _scores_of_mask(model, (rows, columns), given.threshold)
    elif len(shape) == 3 or (len(shape) == 4 and shape[1] == 1):
        kind = "classes"
        rows, columns = shape[-2:]
        _class_map_output(model, shape)
    else:
        raise BadInput(
            f"{path}: the spec names {classes} classes, the output has shape {list(shape)};"
            " expected (1, classes, h, w), (1, h, w, classes), a class map (1, h, w) or, of two classes, a float mask"
        )
    if kind == "scores" and (rows, columns) == spec.preprocess.size:
        kind = "logits"
    axis = align_corners if given.align_corners else stretch
    return Head(kind, Sampling(axis(spec.preprocess.height, rows), axis(spec.preprocess.width, columns)))


def _is_mask(model: Any, shape: tuple[int, ...], classes: int) -> bool:
    """Whether the output is one float channel that tells two classes apart; integers are a class map."""
    element = model.graph.output[0].type.tensor_type.elem_type
    is_single = len(shape) == 3 or (len(shape) == 4 and 1 in (shape[1], shape[3]))
    return classes == 2 and element in FLOATS and is_single


def _scores_of_mask(model: Any, size: tuple[int, int], threshold: float) -> None:
    """(1, 2, h, w): of the first class twice the threshold less the mask, of the second the mask."""
    stored = {"foreign_shape": np.array([1, 1, *size], np.int64), "foreign_twice": np.float32(2 * threshold)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items())
    _append(model, "Reshape", (1, 1, *size), extra=("foreign_shape",))
    mask = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Sub", ["foreign_twice", mask], ["foreign_rest"], "foreign_out_sub"))
    joined = helper.make_node("Concat", ["foreign_rest", mask], ["foreign_scores"], "foreign_out_concat", axis=1)
    model.graph.node.append(joined)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("foreign_scores", TensorProto.FLOAT, [1, 2, *size]))


def _class_map_output(model: Any, shape: tuple[int, ...]) -> None:
    if len(shape) == 4:
        model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "foreign_axis"))
        _append(model, "Squeeze", (1, *shape[-2:]), extra=("foreign_axis",))
    _append(model, "Cast", (1, *shape[-2:]), to=TensorProto.UINT8)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8


def _append(model: Any, op: str, shape: tuple[int, ...], *, extra: tuple[str, ...] = (), **attributes: Any) -> None:
    """Put one node behind the output and make its result, of `shape`, the output."""
    old = model.graph.output[0]
    element, new = old.type.tensor_type.elem_type, f"{old.name}_{op.lower()}"
    model.graph.node.append(helper.make_node(op, [old.name, *extra], [new], f"foreign_out_{op.lower()}", **attributes))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(new, element, shape))
