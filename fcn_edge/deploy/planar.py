"""A file with a contract as nvinfer feeds and reads it: planar float frames in, probabilities at that size out."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fcn_edge.errors import BadInput
from fcn_edge.geometry import Axis, stride
from fcn_edge.onnxgraph import graph_inputs, operator
from fcn_edge.spec import ModelSpec

PROBABILITIES = "probabilities"
_NEAR = 1e-9  # what composing Axes may lose to rounding


def planar_from_contract(model: ModelProto, spec: ModelSpec, where: str) -> ModelProto:
    """The same network from float (1, 3, H, W) BGR, 0..255, to probabilities (1, C, H, W) at that size.

    Mean and std stay inside: nvinfer has one scale for all channels, and a configuration can be wrong.
    Softmax keeps the order of the classes and makes all values positive, which nvinfer asks for: it leaves
    pixels without a class where no value is above its threshold.

    Raises:
        BadInput: free size, a class map in the graph, another front, or a geometry that no Resize has.
    """
    if spec.dynamic or spec.head.kind == "classes":
        found = "has a free size" if spec.dynamic else "ends in a class map"
        raise BadInput(f'{where}: {found}; nvinfer needs a fixed size and scores: export again with `head="scores"`')
    _take_planar_frames(model, spec, where)
    output = model.graph.output[0].name
    if spec.head.kind == "scores":
        output = _at_input_size(model.graph, output, spec, where)
    model.graph.node.append(helper.make_node("Softmax", [output], [PROBABILITIES], PROBABILITIES, axis=1))
    del model.graph.output[:], model.graph.value_info[:], model.metadata_props[:]
    shape = [1, spec.num_classes, *spec.preprocess.size]
    model.graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, shape))
    return model


def _take_planar_frames(model: ModelProto, spec: ModelSpec, where: str) -> None:
    """Take away the Transpose at the front. The Cast before it stays: in half-precision files it makes halves."""
    graph, source = model.graph, graph_inputs(model.graph)[0]
    cast = _only_reader(graph, source.name, "Cast", where)
    transpose = _only_reader(graph, cast.output[0], "Transpose", where)
    graph.node.remove(transpose)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == transpose.output[0]:
                node.input[place] = cast.output[0]
    shape = [1, 3, *spec.preprocess.size]
    source.CopyFrom(helper.make_tensor_value_info(source.name, TensorProto.FLOAT, shape))


def _only_reader(graph: GraphProto, tensor: str, op: str, where: str) -> NodeProto:
    readers = [node for node in graph.node if tensor in node.input]
    if len(readers) != 1 or operator(readers[0]) != op:
        found = " and ".join(operator(node) for node in readers) or "nothing"
        raise BadInput(f"{where}: {tensor} goes into {found}, not into one {op}: its front is none of fcn-edge's")
    return readers[0]


def _at_input_size(graph: GraphProto, scores: str, spec: ModelSpec, where: str) -> str:
    """Sample the scores bilinearly at each pixel of the input: a Resize, and what is beyond the frame cut off."""
    steps = [_step(axis, where) for axis in (spec.head.sampling.y, spec.head.sampling.x)]
    tables: dict[str, np.ndarray] = {
        "scales": np.array([1, 1, *steps], np.float32),
        "starts": np.zeros(2, np.int64),
        "ends": np.array(spec.preprocess.size, np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"nvinfer_{name}") for name, value in tables.items())
    scales, *cut = (f"nvinfer_{name}" for name in tables)
    grown, logits = "nvinfer_upsampled", "nvinfer_logits"
    half_pixel = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    graph.node.append(helper.make_node("Resize", [scores, "", scales], [grown], "nvinfer_upsample", **half_pixel))
    graph.node.append(helper.make_node("Slice", [grown, *cut], [logits], "nvinfer_crop"))
    return logits


def _step(axis: Axis, where: str) -> int:
    """The whole number of pixels between two cells of a half-pixel stride."""
    step = max(1, round(1 / axis.scale))
    wanted = stride(axis.valid, step)
    if abs(axis.scale - wanted.scale) > _NEAR or abs(axis.offset - wanted.offset) > _NEAR:
        raise BadInput(
            f"{where}: cells lie at {axis.scale:g} * pixel + {axis.offset:g}, which no Resize does: export the"
            ' checkpoint again with `head="logits"`'
        )
    return step
