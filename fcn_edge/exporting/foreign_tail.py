"""Nodes behind the output of a foreign graph that bring it in the form of a contract."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper

from fcn_edge.exporting.foreign_output import OutputForm
from fcn_edge.onnxgraph import Names


def give_form(model: ModelProto, form: OutputForm) -> None:
    """Make `form`'s output the graph's only one, as (1, C, h, w) float scores or a (1, h, w) uint8 map, in place."""
    tail, size = _OutputTail(model.graph, form), (form.rows, form.columns)
    if form.kind == "classes":
        tail.reshape((1, *size))
        if not form.is_certain:
            tail.guard()
        tail.then("Cast", to=TensorProto.UINT8)
        tail.finish(TensorProto.UINT8, (1, *size))
        return
    element = next(value for value in model.graph.output if value.name == form.name).type.tensor_type.elem_type
    if element != TensorProto.FLOAT:
        tail.then("Cast", to=TensorProto.FLOAT)
    if form.kind == "mask":
        tail.reshape((1, 1, *size))
        mask = tail.tensor
        rest = tail.beside("Sub", tail.stored("mask_twice", np.float32(2 * form.threshold)), mask)
        tail.tensor = tail.beside("Concat", rest, mask, axis=1)
    elif form.channels_last:
        tail.reshape((1, *size, form.classes))
        tail.then("Transpose", perm=[0, 3, 1, 2])
    else:
        tail.reshape((1, form.classes, *size))
    tail.finish(TensorProto.FLOAT, (1, form.classes, *size))


class _OutputTail:
    """Appends nodes behind an output; `tensor` is the latest result."""

    def __init__(self, graph: GraphProto, form: OutputForm) -> None:
        self.graph, self.form, self.names = graph, form, Names(graph)
        self.tensor = form.name

    def stored(self, name: str, value: np.generic | np.ndarray) -> str:
        return self.names.store(self.graph, name, np.asarray(value))

    def beside(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node on `inputs`; its result."""
        made = self.names.fresh(f"{self.form.name}_{kind.lower()}")
        self.graph.node.append(helper.make_node(kind, inputs, [made], f"foreign_out_{made}", **attributes))
        return made

    def then(self, kind: str, *extra: str, **attributes: Any) -> None:
        self.tensor = self.beside(kind, self.tensor, *extra, **attributes)

    def reshape(self, shape: tuple[int, ...]) -> None:
        if self.form.shape != shape:
            self.then("Reshape", self.stored("output_shape", np.array(shape, np.int64)))

    def guard(self) -> None:
        """Count classes from 0; other values, which no picture tried may have shown, become the ignore index."""
        self.then("Cast", to=TensorProto.INT32)
        if self.form.first_class:
            self.then("Sub", self.stored("map_first", np.int32(self.form.first_class)))
        zero, count = self.stored("map_zero", np.int32(0)), self.stored("map_count", np.int32(self.form.classes))
        is_negative = self.beside("Less", self.tensor, zero)
        is_class = self.beside("And", self.beside("Not", is_negative), self.beside("Less", self.tensor, count))
        none = self.stored("map_none", np.int32(self.form.ignore_index))
        self.tensor = self.beside("Where", is_class, self.tensor, none)

    def finish(self, element: int, shape: tuple[int, ...]) -> None:
        del self.graph.output[:]
        self.graph.output.append(helper.make_tensor_value_info(self.tensor, element, shape))
