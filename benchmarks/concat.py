"""INT8 of networks that concatenate: OpenVINO with int8 pairs as before, with uint8 pairs as now, and ONNX Runtime.

    python benchmarks/concat.py
    python benchmarks/concat.py --detector ch_PP-OCRv4_det_infer.onnx

Prints a table: SQNR of the scores, and equal pixels, against the fp32 reference run. Weights are random (seed 0).
--detector: the text detector of the package rapidocr-onnxruntime 1.4.4, on streets with drawn text.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import torch
from torch import nn

from fcn_edge.calibration import images_from_source, quantized_file, table_from_images
from fcn_edge.calibration.placement import PLACEMENT, PlacementName
from fcn_edge.data import class_set, dataset_from_name
from fcn_edge.engines import EngineOptions, Target, engine_on_target
from fcn_edge.engines.reference_check import agreement_of
from fcn_edge.exporting import export, onnx_model
from fcn_edge.models.checkpoint import header_from_recipe, network_from_recipe, save_checkpoint
from fcn_edge.registry import recipe_from_shelf

RECIPES = ("fcn16s_googlenet_voc", "fcn8s_lite0_concat_camvid")
CALIB, COMPARED = "synthetic:street,seed=0,images=12,size=256x256", "synthetic:street,seed=1,images=3,size=256x256"
SPEC = 'class_set = "camvid"\nmean = [123.675, 116.28, 103.53]\nstd = [58.395, 57.12, 57.375]\n'
DETECTOR = """
classes = ["ground", "text"]
mean = [103.53, 116.28, 123.675]
std = [57.375, 57.12, 58.395]
channels = "bgr"
height = 352
width = 480
threshold = 0.3
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path)
    given = parser.parse_args()
    print("| network | placement | OpenVINO, before | OpenVINO | ONNX Runtime |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        streets = images_of(COMPARED)
        for file in networks(Path(folder)):
            print_rows(file, CALIB, streets)
        if given.detector is not None:
            spec, calib = Path(folder) / "detector.toml", Path(folder) / "calib"
            spec.write_text(DETECTOR)
            calib.mkdir()
            for number in range(12):
                cv2.imwrite(str(calib / f"{number}.png"), with_text(number))
            file = onnx_model(given.detector, spec=spec).save(Path(folder) / "detector.onnx").path
            print_rows(file, str(calib), [with_text(20), with_text(21)])


def networks(folder: Path) -> Iterator[Path]:
    """ONNX files with a contract, 256x256."""
    for name in RECIPES:
        recipe = recipe_from_shelf(name)
        recipe = replace(recipe, input=replace(recipe.input, height=256, width=256))
        classes = class_set(recipe.network.classes)
        torch.manual_seed(0)
        network = network_from_recipe(recipe.network, len(classes.classes)).eval()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        save_checkpoint(folder / f"{name}.safetensors", network, header_from_recipe(recipe, *classes))
        yield export(folder / f"{name}.safetensors", folder / f"{name}.onnx").path
    spec = folder / "camvid.toml"
    spec.write_text(SPEC)
    for name, kind in (("unet", UNet), ("dense_block", DenseBlock)):
        torch.manual_seed(0)
        raw = folder / f"{name}.raw.onnx"
        torch.onnx.export(kind().eval(), torch.zeros(1, 3, 256, 256), str(raw), opset_version=17, dynamo=False)
        yield onnx_model(raw, spec=spec).save(folder / f"{name}.onnx").path


class UNet(nn.Module):
    """Four levels, leaky ReLU, so that what is concatenated has both signs."""

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64, 128), classes: int = 11) -> None:
        super().__init__()
        self.down = nn.ModuleList([twice(a, b) for a, b in zip((3, *channels), channels)])
        self.up = nn.ModuleList([twice(a + b, b) for a, b in zip(channels[:0:-1], channels[-2::-1])])
        self.score = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips: list[torch.Tensor] = []
        for block in self.down:
            x = block(nn.functional.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1]):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="bilinear"), skip], 1))
        return self.score(x)


def twice(inputs: int, outputs: int) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.1))


class DenseBlock(nn.Module):
    """Each convolution reads all maps before it, through batch norm and ReLU."""

    def __init__(self, width: int = 24, depth: int = 5, classes: int = 11) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width * (n + 1)) for n in range(depth)])
        self.convs = nn.ModuleList([nn.Conv2d(width * (n + 1), width, 3, padding=1) for n in range(depth)])
        self.score = nn.Conv2d(width * (depth + 1), classes, 1)
        for norm in self.norms:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs):
            x = torch.cat([x, conv(nn.functional.relu(norm(x)))], 1)
        return self.score(x)


def images_of(name: str) -> list[np.ndarray]:
    return [item.image() for item in dataset_from_name(name).items]


def with_text(number: int) -> np.ndarray:
    """A street of 352x480 with eight words on it."""
    image = images_of(f"synthetic:street,seed=5,images={number + 1},size=352x480")[number]
    random = np.random.default_rng(number)
    for _ in range(8):
        word = "".join(chr(65 + letter) for letter in random.integers(0, 26, 8))
        where, size = (int(random.integers(0, 300)), int(random.integers(30, 340))), float(random.uniform(0.6, 1.6))
        colour = [int(value) for value in random.integers(0, 256, 3)]
        cv2.putText(image, word, where, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 2)
    return image


def print_rows(fp32: Path, calib: str, images: list[np.ndarray]) -> None:
    table = table_from_images(fp32, images_from_source(calib))

    def cell(placement: PlacementName, target: Target) -> str:
        file = fp32.with_suffix(".int8.onnx")
        quantized_file(fp32, file, precision="int8", table=table, placement=placement)
        with (
            engine_on_target(fp32, "reference", EngineOptions()) as exact,
            engine_on_target(file, target, EngineOptions()) as engine,
        ):
            found = agreement_of(engine, exact, images)
        return f"{found.sqnr_db:.1f} dB, {100 * found.agreement:.2f} %"

    placements: tuple[PlacementName, ...] = ("any", "x86")
    for placement in placements:
        int8 = {**PLACEMENT, "x86": replace(PLACEMENT["x86"], shifted=False)}
        with patch.dict(PLACEMENT, int8), patch("fcn_edge.engines.ov.model_with_shifted_pairs", lambda model: model):
            before = cell(placement, "openvino")
        now = [cell(placement, "openvino"), cell(placement, "onnxruntime")]
        print(f"| {fp32.stem} | `{placement}` | {before} | {' | '.join(now)} |", flush=True)


if __name__ == "__main__":
    main()
