"""What `bench` measures: the suite, and its files: models as they are, or exported at each size, and INT8."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.benchmark import BenchOptions, Variant, variants_from_files, with_schedules
from fcn_edge.calibration import int8_from_onnx
from fcn_edge.calibration.placement import placement_for
from fcn_edge.choices import BuildPrecision
from fcn_edge.cli._parse import recipe_of, size_from_text
from fcn_edge.data import Dataset
from fcn_edge.device import this_device
from fcn_edge.engines import CHECKPOINT_SUFFIXES
from fcn_edge.errors import BadInput
from fcn_edge.exporting.runnable import runnable_file
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.outputs import require_outputs
from fcn_edge.progress import Progress
from fcn_edge.registry import PACKAGED_NETWORK, BenchSuite, packaged_file, suite_from_shelf, table_names
from fcn_edge.schema import nearest, to_mapping
from fcn_edge.targets import TARGETS

QUICK = {"rounds": 3, "frames": 5, "camera_fps": 0.0}
PRECISIONS = get_args(BuildPrecision)


def suite_from_options(name: str | None, given: Mapping[str, Any]) -> BenchSuite:
    """The suite of that name with what the command line says otherwise. BadInput without a name and data."""
    if name is None and given["data"] is None:
        raise BadInput("bench needs labelled images: give --data KIND:PATH#SPLIT or --suite NAME")
    suite = suite_from_shelf(name) if name is not None else BenchSuite(given["data"])
    if unknown := [target for target in suite.sizes_of if target not in TARGETS]:
        raise BadInput(f"{name}: sizes_of: {unknown[0]} is no engine{nearest(unknown[0], TARGETS)}")
    _require_known("--target", given["targets"], TARGETS)
    _require_known("--precision", given["precisions"], PRECISIONS)
    return replace(suite, **{key: value for key, value in given.items() if value is not None})


def _require_known(option: str, names: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in names or ():
        if name not in known:
            raise BadInput(f"{option} {name}: unknown{nearest(name, known)}")


def options_of(suite: BenchSuite, *, quick: bool) -> BenchOptions:
    """How long and how often; `quick` for a first look."""
    shared = {part.name: getattr(suite, part.name) for part in fields(BenchOptions) if hasattr(suite, part.name)}
    return replace(BenchOptions(**shared), **(QUICK if quick else {}))  # type: ignore[arg-type]


def variants_of_suite(suite: BenchSuite, files: Sequence[Path]) -> list[Variant]:
    """Every file on every engine, as far as the suite wants it."""
    found = variants_from_files(files, suite.targets, suite.precisions)
    wanted = {target: [size_from_text(size) for size in sizes] for target, sizes in suite.sizes_of.items()}
    chosen = [v for v in found if v.target not in wanted or _size_of(v) in wanted[v.target]]
    return with_schedules(chosen, suite.schedules)


def _size_of(variant: Variant) -> tuple[int, int]:
    path = variant.path / "model.onnx" if variant.path.is_dir() else variant.path
    return contract_from_onnx(path).spec.preprocess.size


@dataclass
class Preparation:
    """What the files are made with. kept: a folder whose files are taken up again; None for a folder that goes.

    held_out: a set that no calibration image may be in. coverage: what each calibration covered, by network and size.
    """

    suite: BenchSuite
    stack: ExitStack
    progress: Progress
    held_out: Dataset | None
    kept: Path | None = None
    spec: Path | None = None
    recipe: str | None = None
    coverage: dict[str, Any] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """Files that can be measured: the models, or these exported at each size, then INT8 where asked for.

        Raises BadInput where a calibration image is in `held_out`, or two models would share a name in `kept`.
        """
        models = self.suite.models or (None,)
        names = [Path(name or PACKAGED_NETWORK).stem for name in models]
        if self.kept is not None and (twice := {name for name in names if names.count(name) > 1}):
            raise BadInput(f"--files {self.kept}: two models are called {', '.join(sorted(twice))}; rename one")
        if self.suite.sizes:
            found = [self._exported(name, size) for name in models for size in self.suite.sizes]
        else:
            found = [
                self.stack.enter_context(runnable_file(name, spec=self.spec, recipe=self.recipe)) for name in models
            ]
        return self._with_int8(found)

    def _exported(self, name: str | None, size: str) -> Path:
        from fcn_edge.exporting import ExportOptions, onnx_from_checkpoint

        path = packaged_file(".safetensors") if name in (None, PACKAGED_NETWORK) else Path(str(name))
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise BadInput(f"{path}: --size exports anew, which takes a checkpoint; an ONNX file has the size it has")
        out, options = self._folder() / f"{path.stem}.{size}.onnx", ExportOptions(size_from_text(size))
        require_outputs([out, _table_of(out)], self._read())
        if not out.is_file() or contract_from_onnx(out).spec.weights_sha256 != sha256_of_file(path):
            self.progress.update(f"exporting {path.stem} {size}", 0, 1)
            onnx_from_checkpoint(path, out, options=options, recipe=recipe_of(self.recipe))
            _table_of(out).unlink(missing_ok=True)  # it was the older file's
            self.progress.update(f"exporting {path.stem} {size}", 1, 1)
        return out

    def _with_int8(self, files: Sequence[Path]) -> list[Path]:
        """The files, behind each fp32 ONNX file its INT8 form for this CPU where the suite has `calib`."""
        found = list[Path]()
        for path in files:
            found.append(path)
            is_onnx = path.is_file() and path.suffix.lower() not in CHECKPOINT_SUFFIXES
            if self.suite.calib and is_onnx and contract_from_onnx(path).quantization.precision == "fp32":
                found.append(self._int8(path, self.suite.calib))
        return found

    def _int8(self, path: Path, calib: str) -> Path:
        """From the table that is kept, which must be of these images; else from the images, and the table is kept."""
        copy = self._folder() / path.name
        require_outputs([copy.with_suffix(".int8.onnx"), _table_of(copy)], self._read())
        table, is_table = _table_of(copy), calib in table_names() or calib.endswith(".json")
        made = int8_from_onnx(
            path,
            copy.with_suffix(".int8.onnx"),
            placement=placement_for("openvino", this_device()),
            held_out=self.held_out,
            progress=self.progress,
            **(
                {"calib": str(table), "verify": calib}
                if table.is_file() and not is_table
                else {"calib": calib, "count": self.suite.calib_images, "table_out": None if is_table else table}
            ),
        )
        spec = contract_from_onnx(path).spec
        label = f"{spec.name} {spec.preprocess.height}x{spec.preprocess.width}"
        self.coverage[label] = {"calib": calib, **_covered(made.coverage)}
        return made.path

    def _read(self) -> tuple[str | None, ...]:
        """What the user named, none of which is written over."""
        return (*self.suite.models, self.suite.calib, self.suite.data)

    def _folder(self) -> Path:
        """The kept one, else one of its own for each file, since two models may have one name."""
        if self.kept is not None:
            return self.kept
        return Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="fcn-edge-")))


def _table_of(model: Path) -> Path:
    return model.with_suffix(".table.json")


def _covered(coverage: Any) -> Mapping[str, Any]:
    """What a report shows of a calibration: its verdict, its classes, its worst tensors."""
    if coverage is None:
        return {}
    worst = {name: coverage.tensors[name].sqnr_db for name in coverage.worst}
    return {
        "verdict": list(coverage.verdict),
        "predicted": to_mapping(coverage.predicted),
        "labelled": to_mapping(coverage.labelled),
        "worst_sqnr_db": worst,
        "tensors": len(coverage.tensors),
    }
