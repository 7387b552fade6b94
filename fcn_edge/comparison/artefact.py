"""One side of a comparison: a file or engine directory, its graph, and how to run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fcn_edge.comparison.graph import held_model, layer_tensors, network_input
from fcn_edge.engines import Engine, model_path, open_engine, require_package
from fcn_edge.engines.manifest import Manifest
from fcn_edge.engines.ort import Taps
from fcn_edge.exporting import onnx_model, runnable_file
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.progress import SILENT, Progress
from fcn_edge.spec import ModelSpec


@dataclass(frozen=True)
class Artefact:
    """A network to compare. begin: the tensor that its first layer reads.

    A checkpoint's or ONNX file's graph is run node by node as it is written; an engine directory
    runs in its own `engine`, which shows no tensors inside.
    """

    name: str
    path: Path
    spec: ModelSpec
    model: OnnxModel
    begin: str
    engine: Engine | None
    precision: str
    execution: str

    @property
    def output(self) -> str:
        """The tensor that the graph yields."""
        return str(self.model.outputs[0].name)

    @cached_property
    def _taps(self) -> Taps:
        return Taps(held_model(self.model, {}, [self.begin, *layer_tensors(self.model, self.begin)]), self.path.name)

    def run(self, x: np.ndarray) -> Mapping[str, np.ndarray]:
        """Every tensor from the first layer's input on, or the engine's output alone, for (1, H, W, 3) uint8 BGR."""
        return self._taps.run(x) if self.engine is None else {self.output: self.engine.infer(x)}


@contextmanager
def open_artefact(
    given: str | Path | OnnxModel | None,
    name: str,
    *,
    spec: Path | str | None = None,
    recipe: str | None = None,
    progress: Progress = SILENT,
) -> Iterator[Artefact]:
    """Open a checkpoint (exported here, parity checked), ONNX file, engine directory or packaged name.

    Raises:
        BadInput: none of these. BackendMissing: ONNX Runtime is not installed, or the engine cannot run here.
    """
    require_package("onnxruntime")
    path = given.path if isinstance(given, OnnxModel) else model_path(given)
    if not path.is_dir():
        yield _artefact(name, path, onnx_model(given, spec=spec, recipe=recipe, progress=progress), None)
        return
    with runnable_file(path, spec=spec, recipe=recipe) as folder, open_engine(folder) as engine:
        yield _artefact(name, path, OnnxModel.from_file(Manifest.from_file(path).onnx), engine)


def _artefact(name: str, path: Path, model: OnnxModel, engine: Engine | None) -> Artefact:
    execution = engine.execution if engine else "f32"
    begin = network_input(model, str(path))
    return Artefact(name, path, model.spec, model, begin, engine, model.precision, execution)
