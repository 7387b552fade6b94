"""Segmentation networks of three libraries with random weights, and the files that PyTorch's ONNX exporters write.

Nothing is downloaded: weights are drawn from seed 0, and the last bias is shifted so that each class has the same mean
score on a few pictures. Without that most class maps would show one class, and agree whatever went wrong.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

CLASSES = 7
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB, 0..255
OLDEST_OPSET, NEWEST_OLD_OPSET = 11, 17
Exporter = Literal["TorchScript", "dynamo"]
Variant = Literal["default", "old opset", "free size"]
EXPORTERS: tuple[Exporter, ...] = ("TorchScript", "dynamo")
VARIANTS: tuple[Variant, ...] = ("default", "old opset", "free size")


@dataclass(frozen=True)
class Family:
    """A network to be built with random weights. package: what it needs. output: of several, the one with the scores.

    size: height and width. Where adaptive pooling to 6x6 cells is part of the network they are chosen so that its
    bins are equally large, which the TorchScript exporter asks for. vanishes: with batch norms as they are initialised
    the activations of this network shrink to nothing, so they take their statistics from pictures.
    """

    name: str
    package: str
    build: Callable[[], torch.nn.Module]
    size: tuple[int, int] = (128, 160)
    output: str | None = None
    vanishes: bool = False

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


@dataclass(frozen=True)
class Exported:
    """A file and the opset that it has."""

    path: Path
    opset: int


def smp(architecture: str, encoder: str, size: tuple[int, int] = (128, 160), **options: Any) -> Family:
    def build() -> torch.nn.Module:
        import segmentation_models_pytorch

        network = getattr(segmentation_models_pytorch, architecture)
        return network(encoder, encoder_weights=None, classes=CLASSES, **options)

    return Family(f"smp {architecture}, {encoder}", "segmentation_models_pytorch", build, size)


def torchvision(name: str, output: str | None = None, vanishes: bool = False, **options: Any) -> Family:
    def build() -> torch.nn.Module:
        from torchvision.models import segmentation

        return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES, **options)

    return Family(f"torchvision {name}", "torchvision", build, output=output, vanishes=vanishes)


def transformers(kind: str, size: tuple[int, int] = (128, 160), vanishes: bool = False, **options: Any) -> Family:
    def build() -> torch.nn.Module:
        import transformers as library

        config = getattr(library, f"{kind}Config")(num_labels=CLASSES, **options)
        return getattr(library, f"{kind}ForSemanticSegmentation")(config)

    return Family(f"transformers {kind}", "transformers", build, size, vanishes=vanishes)


SMALL_VIT = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
SMALL_BEIT = {**SMALL_VIT, "image_size": 192, "out_indices": [0, 1, 2, 3]}
SMALL_DPT = {
    **SMALL_VIT,
    "image_size": 128,
    "backbone_out_indices": [0, 1, 2, 3],
    "neck_hidden_sizes": [16, 32, 64, 64],
    "fusion_hidden_size": 32,
}
FAMILIES = (
    smp("Unet", "resnet18"),
    smp("Unet", "efficientnet-b0"),
    smp("UnetPlusPlus", "resnet18"),
    smp("MAnet", "resnet18"),
    smp("Linknet", "mobilenet_v2"),
    smp("FPN", "efficientnet-b0"),
    smp("PSPNet", "resnet18", (192, 240)),
    smp("PAN", "resnet18"),
    smp("DeepLabV3", "resnet18"),
    smp("DeepLabV3Plus", "mobilenet_v2"),
    smp("UPerNet", "resnet18", (192, 192)),
    smp("Segformer", "mit_b0"),
    torchvision("fcn_resnet50"),
    torchvision("fcn_resnet101", output="out", aux_loss=True),
    torchvision("deeplabv3_resnet50"),
    torchvision("deeplabv3_mobilenet_v3_large", vanishes=True),
    torchvision("lraspp_mobilenet_v3_large"),
    transformers("Segformer"),
    transformers("MobileNetV2", vanishes=True),
    transformers("MobileViT", vanishes=True),
    transformers("MobileViTV2", vanishes=True),
    transformers("Beit", (192, 192), **SMALL_BEIT),
    transformers("DPT", (128, 128), **SMALL_DPT),
)


def network_of(family: Family, pictures: list[np.ndarray]) -> torch.nn.Module:
    """The network for inference. pictures: (H, W, 3) uint8 BGR of the family's size, for its last bias."""
    torch.manual_seed(0)
    network = family.build().eval()
    batch = torch.from_numpy(np.concatenate([network_input(picture) for picture in pictures]))
    last_bias = _last_convolution(network).bias
    assert last_bias is not None
    with torch.no_grad():
        if family.vanishes:
            _take_statistics(network, batch)
        last_bias -= _scores(network(batch)).mean((0, 2, 3))
    return network


def _take_statistics(network: torch.nn.Module, batch: torch.Tensor) -> None:
    """Give each batch norm the mean and variance of what reaches it."""
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.train()
        layer.momentum = None  # the mean over all that it sees
    network(batch)
    network.eval()


def network_input(picture: np.ndarray) -> np.ndarray:
    """(1, 3, H, W) float32, normalised RGB."""
    ready = (picture[..., ::-1].astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(ready.transpose(2, 0, 1)[None])


def _scores(outputs: Any) -> torch.Tensor:
    """Of a tensor, torchvision's mapping or the outputs of transformers."""
    if isinstance(outputs, torch.Tensor):
        return outputs
    return outputs["out"] if "out" in outputs else outputs["logits"]


def _last_convolution(network: torch.nn.Module) -> torch.nn.Conv2d:
    """The one that gives the scores; auxiliary heads have another."""
    named = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, torch.nn.Conv2d)]
    return [layer for name, layer in named if layer.out_channels == CLASSES and not name.startswith("aux")][-1]


def exported(network: torch.nn.Module, family: Family, exporter: Exporter, variant: Variant, folder: Path) -> Exported:
    """Write the file. Raises what the exporter raises.

    "old opset" is the oldest of 11 to 17 that the TorchScript exporter can write; dynamo is asked for 11 and may
    write a newer one.
    """
    file = folder / f"{exporter}.{variant.replace(' ', '_')}.onnx"
    if variant != "old opset":
        return _export(network, family, exporter, variant, file, None)
    for opset in range(OLDEST_OPSET, NEWEST_OLD_OPSET):
        try:
            return _export(network, family, exporter, variant, file, opset)
        except Exception:  # an operator that is newer
            file.unlink(missing_ok=True)
    return _export(network, family, exporter, variant, file, NEWEST_OLD_OPSET)


def _export(
    network: torch.nn.Module, family: Family, exporter: Exporter, variant: Variant, file: Path, opset: int | None
) -> Exported:
    import onnx

    options: dict[str, Any] = {"dynamo": exporter == "dynamo", "input_names": ["image"]}
    if opset is not None:
        options["opset_version"] = opset
    if family.output is not None:
        options["output_names"] = [family.output, "aux"]
    if variant == "free size" and exporter == "TorchScript":
        options["dynamic_axes"] = {"image": {0: "batch", 2: "height", 3: "width"}}
    elif variant == "free size":
        free = torch.export.Dim.AUTO
        options["dynamic_shapes"] = ({2: free, 3: free},)
    with _quiet():
        torch.onnx.export(network, (torch.zeros(1, 3, *family.size),), str(file), **options)
    opsets = {entry.domain: entry.version for entry in onnx.load(str(file), load_external_data=False).opset_import}
    return Exported(file, opsets[""])


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print graphs of thousands of lines, from C++ too."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved, nowhere = (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    logging.disable(logging.WARNING)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, old in zip((1, 2), saved):
            os.dup2(old, stream)
            os.close(old)
        os.close(nowhere)
        logging.disable(logging.NOTSET)
