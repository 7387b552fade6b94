"""The TOML file beside a network made elsewhere: what its ONNX file does not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fcn_edge.data import class_set
from fcn_edge.data.voc import voc_palette
from fcn_edge.errors import BadInput
from fcn_edge.schema import from_mapping, read_toml
from fcn_edge.spec import ModelSpec

Colour = tuple[int, int, int]
USUAL = "mean = [123.675, 116.28, 103.53] and std = [58.395, 57.12, 57.375]"  # ImageNet's, RGB, in 0..255 units


@dataclass(frozen=True)
class ForeignSpec:
    """What a foreign file does not say.

    classes: names, or class_set: the name of a known set. mean, std: 0..255 units, RGB order; one value for a
    grey input. layout, height, width: needed where the graph leaves its input open. output: which output, where
    several could be class scores. align_corners: whether a score map smaller than the input was trained with
    align_corners upsampling. threshold: of two classes, the second is where a mask of one channel is above it; 0
    for a mask before its sigmoid, and 0.5 where it is not given. first_class, ignore_value: of a class map, the
    value of the first class, and the value of pixels without a class.
    """

    classes: tuple[str, ...] = ()
    class_set: Literal["camvid", "voc", "cityscapes"] | None = None
    palette: tuple[Colour, ...] = ()
    ignore_index: int = 255
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["NCHW", "NHWC"] | None = None
    resize: Literal["stretch", "letterbox"] = "stretch"
    height: int | None = None
    width: int | None = None
    align_corners: bool = False
    threshold: float | None = None
    first_class: int | None = None
    ignore_value: int | None = None
    output: str | None = None
    name: str = ""
    weights_terms: str = ""

    @property
    def has_map_values(self) -> bool:
        """Whether the spec says which values a class map holds."""
        return self.first_class is not None or self.ignore_value is not None


def foreign_spec(path: Path, spec_path: Path | None, inside: ModelSpec | None) -> ForeignSpec:
    """The spec of the ONNX file `path`: from the TOML file, or from the spec inside an exported plain graph.

    Raises:
        BadInput: neither is there, or the TOML does not fit.
    """
    if spec_path is not None:
        return from_mapping(ForeignSpec, read_toml(spec_path), str(spec_path))
    if inside is None:
        raise BadInput(f"{path}: made elsewhere; describe it with `spec`, a TOML file (classes, mean, std, channels)")
    p = inside.preprocess
    return ForeignSpec(
        classes=inside.classes,
        palette=inside.palette,
        ignore_index=inside.ignore_index,
        mean=p.mean,
        std=p.std,
        channels=p.channels,
        resize=p.resize,
        height=p.height,
        width=p.width,
        name=inside.name,
        weights_terms=inside.weights_terms,
    )


def classes_of(given: ForeignSpec, path: Path) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """(names, RGB palette). Raises BadInput where there are fewer than two."""
    if given.class_set is not None:
        known = class_set(given.class_set)
        return known.classes, known.palette
    if not given.classes:
        raise BadInput(f"{path}: the spec names no classes; give classes = [...] or class_set = 'camvid'")
    if len(given.classes) == 1:
        raise BadInput(
            f"{path}: the spec names one class ({given.classes[0]}); name the background too, first:"
            f' classes = ["background", "{given.classes[0]}"]'
        )
    return given.classes, given.palette or voc_palette(len(given.classes))


def range_warnings(given: ForeignSpec, path: Path) -> tuple[str, ...]:
    """A warning where mean and std are absent or look as if pixels were 0..1: the usual mistake, and a silent one."""
    if given.mean is None and given.std is None:
        return (
            f"{path}: the spec gives neither mean nor std, so pixels reach the network as 0..255; most networks expect"
            f" {USUAL}. If 0..255 is right, say so with mean = [0, 0, 0]",
        )
    mean, std = given.mean or (0.0,), given.std or (1.0,)
    is_fraction = any(mean) and max(map(abs, mean)) <= 1
    if is_fraction or (given.std is not None and max(std) < 1):
        lowest, highest = (0 - max(mean)) / min(std), (255 - min(mean)) / min(std)
        return (
            f"{path}: mean and std are in 0..255 units and were given as {list(mean)} and {list(std)}, as if pixels"
            f" were 0..1: values from {lowest:.4g} to {highest:.4g} reach the network. Multiply both by 255; usual:"
            f" {USUAL}",
        )
    return ()
