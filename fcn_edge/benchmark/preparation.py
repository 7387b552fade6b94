"""The files that `bench` measures: models as they are, or exported at each size, and their INT8 forms."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.benchmark.suite import BenchRequest, Size
from fcn_edge.calibration import calibrate
from fcn_edge.calibration.coverage import Coverage
from fcn_edge.calibration.images import ImagesLike
from fcn_edge.calibration.placement import placement_for
from fcn_edge.calibration.request import is_table_name
from fcn_edge.data import Dataset
from fcn_edge.device import this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.exporting import export, onnx_model, runnable_file
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.outputs import require_outputs
from fcn_edge.progress import SILENT, Progress
from fcn_edge.registry import PACKAGED_NETWORK, packaged_file
from fcn_edge.schema import to_mapping


@dataclass
class Preparation:
    """Makes the files of a request.

    Args:
        stack: removes what is temporary as it closes.
        kept: a folder whose files are kept, and used again; None for folders that go.
        spec, recipe: of the models, as in `open_model`.
        coverage: what each calibration covered, by network and size; filled as files are made.
    """

    request: BenchRequest
    stack: ExitStack
    kept: Path | None = None
    spec: Path | None = None
    recipe: str | None = None
    progress: Progress = SILENT
    coverage: dict[str, Any] = field(default_factory=dict)

    def models(self) -> list[Path]:
        """The models as files that run, or exported at each size.

        Raises BadInput where two models would share a name in `kept`.
        """
        names = [_name(model) for model in self.request.models]
        if self.kept is not None and (twice := {name for name in names if names.count(name) > 1}):
            raise BadInput(f"`files` {self.kept}: two models are called {', '.join(sorted(twice))}; rename one")
        if self.request.sizes:
            return [self._exported(model, size) for model in self.request.models for size in self.request.sizes]
        return [self._runnable(model) for model in self.request.models]

    def _runnable(self, model: str | Path | OnnxModel | None) -> Path:
        if isinstance(model, OnnxModel):
            net = onnx_model(model, spec=self.spec, recipe=self.recipe, progress=self.progress)
            return self.stack.enter_context(net.on_disk())
        named = runnable_file(model, spec=self.spec, recipe=self.recipe, progress=self.progress)
        return self.stack.enter_context(named)

    def with_int8(self, files: Sequence[Path], held_out: Dataset | None) -> list[Path]:
        """The files, and behind each fp32 ONNX file its INT8 form for this CPU where `calib` is given.

        Raises BadInput where a calibration image is in `held_out`.
        """
        found = list[Path]()
        for path in files:
            found.append(path)
            if self.request.calib and _is_fp32_onnx(path):
                found.append(self._int8(path, self.request.calib, held_out))
        return found

    def _exported(self, model: str | Path | OnnxModel | None, size: Size) -> Path:
        """At that size; the kept file where it is of the same weights."""
        path = model.path if isinstance(model, OnnxModel) else Path(model or PACKAGED_NETWORK)
        if str(path) == PACKAGED_NETWORK:
            path = packaged_file(".safetensors")
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise BadInput(f"{path}: `size` exports again, which takes a checkpoint; an ONNX file has the size it has")
        task = f"exporting {path.stem} {size[0]}x{size[1]}"
        out = self._folder() / f"{path.stem}.{size[0]}x{size[1]}.onnx"
        require_outputs([out, _table_of(out)], self.request.read)
        if not out.is_file() or contract_from_onnx(out).spec.weights_sha256 != sha256_of_file(path):
            self.progress.update(task, 0, 1)
            export(path, out, size=size, recipe=self.recipe)
            _table_of(out).unlink(missing_ok=True)  # it was the older file's
            self.progress.update(task, 1, 1)
        return out

    def _int8(self, path: Path, calib: ImagesLike, held_out: Dataset | None) -> Path:
        """From the table that is kept, which must be of these images; else from the images, and the table is kept."""
        copy = self._folder() / path.name
        out, table = copy.with_suffix(".int8.onnx"), _table_of(copy)
        require_outputs([out, table], self.request.read)
        is_kept = table.is_file() and not is_table_name(calib)
        is_new = not is_kept and not is_table_name(calib)
        made = calibrate(
            path,
            table if is_kept else calib,
            out,
            verify=calib if is_kept else None,
            count=None if is_kept else self.request.calib_images,
            table=table if is_new else self._scratch() / table.name,
            placement=placement_for("openvino", this_device()),
            data=held_out,
            progress=self.progress,
        )
        spec = contract_from_onnx(path).spec
        name = f"{spec.name} {spec.preprocess.height}x{spec.preprocess.width}"
        self.coverage[name] = {
            "calib": str(calib) if isinstance(calib, (str, Path)) else "arrays",
            **_covered(made.coverage),
        }
        return made.path

    def _folder(self) -> Path:
        """The kept one, else one of its own for each file, since two models may have one name."""
        return self._scratch() if self.kept is None else self.kept

    def _scratch(self) -> Path:
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn-edge-")))


def _is_fp32_onnx(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() in CHECKPOINT_SUFFIXES:
        return False
    return contract_from_onnx(path).quantization.precision == "fp32"


def _name(model: str | Path | OnnxModel | None) -> str:
    path = model.path if isinstance(model, OnnxModel) else Path(model or PACKAGED_NETWORK)
    return path.stem


def _table_of(model: Path) -> Path:
    return model.with_suffix(".table.json")


def _covered(coverage: Coverage | None) -> Mapping[str, Any]:
    """What a report shows of a calibration: its verdict, its classes, its worst tensors."""
    if coverage is None:
        return {}
    return {
        "verdict": list(coverage.verdict),
        "predicted": to_mapping(coverage.predicted),
        "labelled": to_mapping(coverage.labelled),
        "worst_sqnr_db": {name: coverage.tensors[name].sqnr_db for name in coverage.worst},
        "tensors": len(coverage.tensors),
    }
