"""A network as an ONNX graph: parsed once, then handed on as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fcn_edge.atomic_io import sha256_of_file, whole_file
from fcn_edge.onnxfile import (
    Contract,
    contract_of,
    read_onnx,
    require_valid,
    serialized,
    spec_from_onnx,
    takes_frames,
)
from fcn_edge.onnxgraph import consumers, copied, graph_inputs, opset_of, producers, stored_tensors, tapped_model

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

    from fcn_edge.spec import ModelSpec, Precision


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """An ONNX graph with its weights, and what is known of it. Nobody changes it: `copy` gives a graph to change.

    path: what messages call it; of a graph that was made from another file, that file.
    proto: weights included, those of external data too.
    file: where the bytes of this graph lie; None for one that is only in memory.
    has_external_data: whether `file` keeps weights in other files.
    notes: warnings for people, of how the graph was made.

    Example:
        net = OnnxModel.from_file("net.onnx")
        net.contract.spec.classes, net.sha256, [node.op_type for node in net.graph.node]
    """

    path: Path
    proto: ModelProto
    file: Path | None = None
    has_external_data: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: Path | str) -> OnnxModel:
        """Read and parse a file. Raises BadInput where it is no ONNX file, too large, or lacks its external data."""
        path = Path(path)
        proto, has_external_data = read_onnx(path)
        return cls(path, proto, path, has_external_data)

    @classmethod
    def of(cls, model: OnnxModel | Path | str) -> OnnxModel:
        """The model itself, or that in a file. Raises BadInput as `from_file`."""
        return model if isinstance(model, OnnxModel) else cls.from_file(model)

    @property
    def graph(self) -> GraphProto:
        return self.proto.graph

    @cached_property
    def inputs(self) -> tuple[ValueInfoProto, ...]:
        """Inputs that are not initializers."""
        return tuple(graph_inputs(self.graph))

    @property
    def outputs(self) -> Sequence[ValueInfoProto]:
        return self.graph.output

    @cached_property
    def initializers(self) -> Mapping[str, TensorProto]:
        """Name -> stored tensor."""
        return stored_tensors(self.graph)

    @cached_property
    def producers(self) -> Mapping[str, NodeProto]:
        """Tensor -> the node that writes it."""
        return producers(self.graph)

    @cached_property
    def consumers(self) -> Mapping[str, Sequence[NodeProto]]:
        """Tensor -> the nodes that read it."""
        return consumers(self.graph)

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators; 0 where the file names none."""
        return opset_of(self.proto)

    @cached_property
    def contract(self) -> Contract:
        """What the file says of itself. Raises BadInput where that is nothing, or it takes no uint8 frames."""
        return contract_of(self.proto, self.path)

    @property
    def spec(self) -> ModelSpec:
        """The contract's spec. Raises BadInput as `contract`."""
        return self.contract.spec

    @property
    def precision(self) -> Precision:
        """The contract's precision. Raises BadInput as `contract`."""
        return self.contract.quantization.precision

    @cached_property
    def spec_inside(self) -> ModelSpec | None:
        """The spec in the metadata, which plain exports hold too; None for a file made elsewhere."""
        return spec_from_onnx(self.proto, str(self.path))

    @property
    def has_contract(self) -> bool:
        """Whether it takes uint8 frames and says what comes out."""
        return self.spec_inside is not None and takes_frames(self.proto)

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file, or of the serialized graph where there is none."""
        return sha256_of_file(self.file) if self.file else hashlib.sha256(self.serialized()).hexdigest()

    def sha256_later(self) -> Callable[[], str]:
        """A function that gives `sha256` and keeps no graph in memory."""
        if self.file is not None:
            return partial(sha256_of_file, self.file)
        sha256 = self.sha256
        return lambda: sha256

    def copy(self) -> ModelProto:
        """The graph and its metadata, to be changed; a changed graph is another `OnnxModel`."""
        return copied(self.proto)

    def changed(self, proto: ModelProto) -> OnnxModel:
        """What was made of this model: in memory, called by the same path."""
        return OnnxModel(self.path, proto)

    def serialized(self) -> bytes:
        """The graph as the bytes of an ONNX file, weights included. Raises BadInput where it is too large for one."""
        return serialized(self.proto, self.path)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A file with these bytes: its own, or one that is there inside the block only."""
        if self.file is not None:
            yield self.file
            return
        with TemporaryDirectory(prefix="fcn-edge-") as folder:
            yield self.save(Path(folder) / self.path.with_suffix(".onnx").name).path

    def runtime_source(self) -> Path | bytes:
        """What a runtime reads: the file where there is one, otherwise the serialized graph."""
        return self.file or self.serialized()

    def tapped(self, names: Iterable[str]) -> bytes:
        """The serialized graph with these tensors as its outputs."""
        return tapped_model(self.proto, names)

    def save(self, path: Path | str) -> OnnxModel:
        """Write it, whole or not at all, and give the model that lies there.

        A file is copied byte for byte; weights in external data are put into the file that is written.

        Raises:
            BadInput: it is not valid ONNX, or cannot be written there.
        """
        path = Path(path)
        if self.file is None or self.has_external_data:
            require_valid(self.proto, self.path)
            data = self.serialized()
        else:
            data = self.file.read_bytes()
        with whole_file(path) as part:
            part.write_bytes(data)
        return OnnxModel(path, self.proto, path, notes=self.notes)

    def named(self, path: Path | str) -> OnnxModel:
        """The same model under another name in messages."""
        return replace(self, path=Path(path))
