"""What is measured, and how long: a suite of the benchmarks folder, and what the caller chooses otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from fcn_edge.benchmark.timing import BenchOptions
from fcn_edge.benchmark.variants import LABELS, Label, Variant, variants_from_files, with_schedules
from fcn_edge.choices import TargetOrAuto
from fcn_edge.data import DataLike, Dataset, labelled_for, open_dataset
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.registry import BenchSuite, suite_from_shelf
from fcn_edge.schema import nearest
from fcn_edge.targets import TARGETS, Target

if TYPE_CHECKING:
    from fcn_edge.calibration.images import ImagesLike

Size = tuple[int, int]
BenchModel: TypeAlias = "str | Path | OnnxModel | Variant"
QUICK_ROUNDS, QUICK_FRAMES = 3, 5


@dataclass(frozen=True)
class BenchRequest:
    """What is measured.

    Args:
        data: the labelled set, or (image, labels) pairs, which take their classes from the models.
        read: names of what the caller gave, none of which is written over.
        suite: its name in the record; None where there is none.
        models: names and paths; None is the packaged network. variants: beside what is made of these.
        calib, calib_images: images of the INT8 forms, and how many of them; calib None for no INT8.
        sizes: (height, width) that checkpoints are exported at; empty for the models as they are.
        targets, precisions, schedules: only these; empty for all that run here, and for no schedule.
        sizes_of: of these targets only these sizes.
    """

    data: DataLike
    read: tuple[str | Path, ...] = ()
    suite: str | None = None
    models: tuple[str | Path | OnnxModel | None, ...] = (None,)
    variants: tuple[Variant, ...] = ()
    calib: ImagesLike | None = None
    calib_images: int | None = None
    sizes: tuple[Size, ...] = ()
    targets: tuple[Target, ...] = ()
    precisions: tuple[Label, ...] = ()
    schedules: tuple[str, ...] = ()
    sizes_of: Mapping[str, tuple[Size, ...]] = field(default_factory=dict)

    def variants_from(self, files: Sequence[Path]) -> list[Variant]:
        """Its variants, and every file on every engine, as far as it wants them."""
        found = variants_from_files(files, self.targets, self.precisions) if files else []
        chosen = [v for v in found if v.target not in self.sizes_of or _size_of(v) in self.sizes_of[v.target]]
        return with_schedules([*self.variants, *chosen], self.schedules)

    def dataset(self, files: Sequence[Path]) -> Dataset:
        """The labelled set. files: of the networks, whose classes are those of pairs in memory."""
        if isinstance(self.data, (str, Path, Dataset)):
            return open_dataset(self.data)
        with open_engine((*(variant.path for variant in self.variants), *files)[0]) as engine:
            return labelled_for(engine.spec, self.data)


def request_from(
    models: BenchModel | Sequence[BenchModel] | None,
    data: DataLike | None,
    suite: BenchSuite | Path | str | None,
    *,
    calib: ImagesLike | None = None,
    calib_images: int | None = None,
    target: TargetOrAuto | Sequence[TargetOrAuto] | None = None,
    precision: Label | Sequence[Label] | None = None,
    schedule: str | Sequence[str] | None = None,
    size: Size | str | Sequence[Size | str] | None = None,
) -> BenchRequest:
    """What a suite measures, with what is given otherwise; the data set is open. Arguments as of `bench`.

    Raises:
        BadInput: no data, no such suite, or a name that is unknown.
    """
    opened = open_suite(suite)
    given: tuple[BenchModel, ...] = listed(models)
    source = data if data is not None or opened is None else opened.data
    if source is None:
        raise BadInput("bench needs labelled images: give `data` KIND:PATH#SPLIT or a `suite`")
    chosen = opened or BenchSuite("")
    targets = tuple(each for each in listed(target) if each != "auto") or chosen.targets
    for each in targets:
        require_known("`target`", each, TARGETS)
    for each in chosen.sizes_of:
        require_known(f"{suite}: sizes_of:", each, TARGETS)
    named = tuple(model for model in given if not isinstance(model, Variant))
    images: ImagesLike | None = chosen.calib if calib is None else calib
    if images is not None and not isinstance(images, (str, Path, Dataset)):
        images = list(images)  # each network is calibrated on them
    read = [model.path if isinstance(model, OnnxModel) else model for model in named or chosen.models]
    read += [given for given in (images, source) if isinstance(given, (str, Path))]
    return BenchRequest(
        data=open_dataset(source) if isinstance(source, (str, Path)) else source,
        read=tuple(read),
        suite=str(suite) if isinstance(suite, (str, Path)) else None,
        models=named or (() if given else chosen.models or (None,)),
        variants=tuple(model for model in given if isinstance(model, Variant)),
        calib=images,
        calib_images=calib_images or chosen.calib_images,
        sizes=tuple(size_from(each) for each in _sizes(size)) or tuple(map(size_from, chosen.sizes)),
        targets=targets,
        precisions=tuple(_label(each) for each in listed(precision) or chosen.precisions),
        schedules=listed(schedule) or chosen.schedules,
        sizes_of={name: tuple(map(size_from, sizes)) for name, sizes in chosen.sizes_of.items()},
    )


def open_suite(suite: BenchSuite | Path | str | None) -> BenchSuite | None:
    """A suite of the benchmarks folder by its name, or from a TOML file. Raises BadInput."""
    return suite_from_shelf(str(suite)) if isinstance(suite, (str, Path)) else suite


def bench_options(
    suite: BenchSuite | Path | str | None = None,
    *,
    quick: bool = False,
    rounds: int | None = None,
    frames: int | None = None,
    camera_fps: float | None = None,
    threads: int | None = None,
) -> BenchOptions:
    """How long and how often: those of the suite, with what is given otherwise.

    Args:
        suite: name, TOML file or value; None for the defaults of `BenchOptions`.
        quick: fewer rounds and frames and no paced run, for a first look.
        rounds, frames, camera_fps, threads: as in `BenchOptions`; None for those of `quick` or the suite.

    Raises:
        BadInput: no such suite.
    """
    options, opened = BenchOptions(), open_suite(suite)
    if opened is not None:
        names = {part.name for part in fields(BenchOptions)} & {part.name for part in fields(BenchSuite)}
        options = replace(options, **{name: getattr(opened, name) for name in names})
    if quick:
        options = replace(options, rounds=QUICK_ROUNDS, frames=QUICK_FRAMES, camera_fps=0.0)
    if rounds is not None:
        options = replace(options, rounds=rounds)
    if frames is not None:
        options = replace(options, frames=frames)
    if camera_fps is not None:
        options = replace(options, camera_fps=camera_fps)
    if threads is not None:
        options = replace(options, threads=threads)
    return options


def listed(value: Any) -> tuple[Any, ...]:
    """One value, several or none, as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def require_known(where: str, name: str, known: Sequence[str]) -> None:
    """Raises BadInput for a name that is not among the known ones."""
    if name not in known:
        raise BadInput(f"{where} {name}: unknown{nearest(name, known)}")


def _sizes(size: Size | str | Sequence[Size | str] | None) -> tuple[Size | str, ...]:
    if isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return (cast(Size, size),)
    return listed(size)


def size_from(size: Size | str) -> Size:
    """(height, width), also from "HEIGHTxWIDTH". Raises BadInput."""
    if not isinstance(size, str):
        return size
    match = re.fullmatch(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", size)
    if match is None:
        raise BadInput(f"`size` {size}: write HEIGHTxWIDTH, such as 360x480")
    return int(match[1]), int(match[2])


def _label(name: str) -> Label:
    for label in LABELS:
        if name == label:
            return label
    raise BadInput(f"`precision` {name}: unknown{nearest(name, LABELS)}")


def _size_of(variant: Variant) -> Size:
    path = variant.path / "model.onnx" if variant.path.is_dir() else variant.path
    return contract_from_onnx(path).spec.preprocess.size
