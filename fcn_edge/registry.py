"""The shelves: recipes, calibration sets, benchmark suites and the packaged network, found by name.

In a checkout the shelves are the top-level folders `export/`, `calib/` and `benchmarks/`;
in an installed package they are `fcn_edge/shelves/`. They hold inert data only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fcn_edge.errors import BadInput
from fcn_edge.schema import from_mapping, nearest, read_toml

PACKAGE = Path(__file__).resolve().parent
PACKAGED_NETWORK = "fcn4s_lite0_camvid"
PACKAGED_INT8 = f"{PACKAGED_NETWORK}.int8"  # placed for CPUs with VNNI


@dataclass(frozen=True)
class NetworkRecipe:
    """Which network. stride: of the score map (FCN-32s, 16s, 8s, 4s); the rest as in `fcn_edge.models`.

    form: "fcn" is the paper's, "torchvision" that of its fcn_resnet50 and fcn_resnet101. width: factor
    of the backbone's channels.
    """

    backbone: Literal[
        "alexnet", "efficientnet_lite0", "googlenet", "resnet18", "resnet34", "resnet50", "resnet101", "vgg16", "vgg19"
    ]
    classes: str
    stride: Literal[32, 16, 8, 4] = 8
    fuse: Literal["sum", "concat"] = "sum"
    geometry: Literal["same", "pad100"] = "same"
    learn_last: bool = False
    form: Literal["fcn", "torchvision"] = "fcn"
    width: float = 1.0


@dataclass(frozen=True)
class InputRecipe:
    """Network input. mean and std in 0..255 units, RGB order."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["stretch", "letterbox"] = "stretch"


@dataclass(frozen=True)
class SceneRecipe:
    """Pictures that are composed for training: figures of one class, cut out by their labels, on other backgrounds.

    figure: the class that is cut out; background: the class of everything else. share: of the
    pictures, composed or not, that are composed. empty: share of the composed pictures without a
    figure. most: figures in one picture. scales: range of a cut-out photo's height, in heights of the
    composed picture. drawn: share of the backgrounds that are drawn rooms, gradients and noise; all of
    them where no background sets are given. figures_elsewhere: classes of background sets that
    may show such figures; their pixels are ignored.
    """

    figure: str
    background: str = "background"
    share: float = 0.5
    empty: float = 0.1
    most: int = 3
    scales: tuple[float, float] = (0.3, 1.5)
    drawn: float = 0.3
    figures_elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainRecipe:
    """How it was trained.

    crop: (height, width). scales: range of random resizing. stretch: the ratio of the scales along x
    and y is at most its exponential, either way. rotation: largest turn, in degrees. scenes: how pictures
    are composed, where they are. full_size_epochs: so many last epochs see whole pictures at the
    network's input size. learning_rate: rises over the `warm_up` share of the steps, then falls to
    nothing; times `backbone_rate` for the pretrained layers. photometric: strength of random colours;
    sensor: share of pictures that are blurred or get noise; camera: share of pictures, each, in another
    light, with motion blur and with JPEG artefacts. class_balance: exponent b of the class weights
    frequency ** -b in the loss. jaccard: weight of 1 - soft mean IU of the batch, added to the
    cross-entropy. rare_share: share of crops laid around a pixel of a class below 2 % of the set.
    average: decay, a step, of the moving average of weights that is validated and kept; 0 for the
    last weights themselves. precision: of the arithmetic; weights stay fp32.
    """

    epochs: int
    batch: int = 8
    crop: tuple[int, int] = (256, 352)
    scales: tuple[float, float] = (0.75, 1.6)
    stretch: float = 0.0
    rotation: float = 0.0
    scenes: SceneRecipe | None = None
    full_size_epochs: int = 0
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0
    warm_up: float = 0.15
    weight_decay: float = 1e-2
    synthetic_share: float = 0.0
    photometric: float = 0.2
    sensor: float = 0.0
    camera: float = 0.0
    class_balance: float = 0.0
    jaccard: float = 0.0
    rare_share: float = 0.0
    average: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    """One exportable network of the export shelf."""

    name: str
    network: NetworkRecipe
    input: InputRecipe
    train: TrainRecipe | None = None
    weights_terms: str = ""
    title: str = ""


@dataclass(frozen=True)
class BenchSuite:
    """One suite of the benchmarks shelf. data, calib, models, sizes, targets, precisions, schedules: as on the
    command line.

    calib_images: how many of `calib` are taken, evenly spread. sizes_of: of these targets only these
    sizes, such as {"onnxruntime": ["360x480"]}.
    rounds of `frames` frames each. threads: of each engine's compute; one is steadier on a busy machine. together: rows
    that take turns; the more, the longer a row's turns are spread, and the more memory open engines take.
    """

    data: str
    calib: str | None = None
    calib_images: int | None = None
    models: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    targets: tuple[Any, ...] = ()
    precisions: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    sizes_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rounds: int = 10
    frames: int = 10
    threads: int | None = None
    together: int = 8
    camera_fps: float = 30.0
    title: str = ""


def suite_from_shelf(name: str) -> BenchSuite:
    """The suite `name` of the benchmarks shelf, or of a TOML file."""
    path = shelf_file("benchmarks", name)
    return from_mapping(BenchSuite, read_toml(path), str(path))


def shelf_folder(shelf: str) -> Path:
    """The folder of a shelf ("export", "calib", "benchmarks"), in a checkout or installed."""
    for folder in (PACKAGE.parent / shelf, PACKAGE / "shelves" / shelf):
        if folder.is_dir() and (folder / "README.md").is_file():
            return folder
    raise BadInput(f"the {shelf} shelf is not installed with this package; reinstall fcn-edge")


def shelf_names(shelf: str) -> list[str]:
    """Names of the TOML files of a shelf, sorted."""
    return sorted(path.stem for path in shelf_folder(shelf).glob("*.toml"))


def shelf_file(shelf: str, name: str) -> Path:
    """Path of an entry by name, or `name` itself where it is a TOML file of the user's own."""
    if name.endswith(".toml"):
        return Path(name)
    path = shelf_folder(shelf) / f"{name}.toml"
    if not path.is_file():
        raise BadInput(f"{name}: not on the {shelf} shelf{nearest(name, shelf_names(shelf))}")
    return path


def recipe_from_shelf(name: str) -> Recipe:
    """The recipe `name` of the export shelf, or of a TOML file."""
    path = shelf_file("export", name)
    return from_mapping(Recipe, {"name": path.stem, **read_toml(path)}, str(path))


def table_names() -> list[str]:
    """Names of the calibration tables on the calib shelf, sorted."""
    return sorted(path.stem for path in (shelf_folder("calib") / "tables").glob("*.json"))


def table_file(name: str) -> Path:
    """The calibration table `name` of the calib shelf."""
    path = shelf_folder("calib") / "tables" / f"{name}.json"
    if not path.is_file():
        raise BadInput(f"{name}: no table on the calib shelf{nearest(name, table_names())}")
    return path


def packaged_file(suffix: str) -> Path:
    """A file of the packaged network: suffix ".safetensors", ".onnx" or ".int8.onnx"."""
    path = PACKAGE / "zoo" / f"{PACKAGED_NETWORK}{suffix}"
    if not path.is_file():
        raise BadInput(f"{path.name}: the packaged network is missing from this installation; reinstall fcn-edge")
    return path
