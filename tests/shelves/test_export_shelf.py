"""Every recipe of the export shelf is a network that exports, quantizes and compiles on every engine.

Weights are random. VGG-16 is made narrow: the paper's widths are half a gigabyte; its own
geometry, and every layer of it, is the same.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no recipe was built")

from fcn_edge.build import BuildOptions, build_engine  # noqa: E402 - needs torch
from fcn_edge.data import camvid, voc  # noqa: E402
from fcn_edge.engines import open_engine  # noqa: E402
from fcn_edge.models.checkpoint import header_from_recipe, network_from_recipe, save_checkpoint  # noqa: E402
from fcn_edge.shelf import recipe_from_shelf, shelf_names  # noqa: E402

SETS = {
    "camvid": (camvid.CLASSES, camvid.PALETTE, camvid.IGNORE),
    "voc": (voc.CLASSES, voc.voc_palette(), voc.IGNORE),
}
SIZE = (64, 96)
CALIB = "synthetic:street,seed=2,images=1,size=64x96"
RUNNABLE = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("openvino", "onnxruntime")
]


@pytest.fixture(params=shelf_names("export"))
def recipe(request):
    return recipe_from_shelf(request.param)


@pytest.fixture
def checkpoint(recipe, narrow_vgg, tmp_path):
    """The recipe's network with random weights, at a small size."""
    classes = SETS[recipe.network.classes]
    torch.manual_seed(0)
    network = network_from_recipe(recipe.network, len(classes[0]))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    small = replace(recipe, input=replace(recipe.input, height=SIZE[0], width=SIZE[1]))
    save_checkpoint(tmp_path / "net.safetensors", network, header_from_recipe(small, *classes))
    return tmp_path / "net.safetensors"


def test_full_network_has_the_recipe_s_classes_and_geometry(recipe):
    count = len(SETS[recipe.network.classes][0])
    with torch.device("meta"):  # shapes without memory
        network = network_from_recipe(recipe.network, count).eval()
        height, width = (-(-side // 32) * 32 for side in (recipe.input.height, recipe.input.width))
        logits, scores = network(torch.zeros(1, 3, height, width)), network.scores(torch.zeros(1, 3, height, width))
    assert tuple(logits.shape) == (1, count, height, width)
    assert scores.shape[2] >= height // 8 and scores.shape[3] >= width // 8
    assert network.score_sampling(height, width).size == (height, width)


@pytest.mark.parametrize("target", RUNNABLE)
def test_recipe_runs_in_int8(recipe, checkpoint, tmp_path, target):
    options = BuildOptions(target, "int8", calib=CALIB)
    built = build_engine(checkpoint, tmp_path / "engine", options=options)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    with open_engine(built.path) as engine:
        view = engine.segment(frame)
    assert engine.precision == "int8" and engine.spec.name == recipe.name
    assert view.class_map.shape == frame.shape[:2] and view.class_map.max() < engine.spec.num_classes


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing was compiled")
def test_recipe_compiles_for_nvidia_with_every_convolution_in_int8(recipe, checkpoint, tmp_path):
    options = BuildOptions("tensorrt-rtx", "int8", calib=CALIB, sm=(86,))
    manifest = build_engine(checkpoint, tmp_path / "engine", options=options).manifest
    story = manifest["flags"]["story"]
    assert story["convolutions_int8"] > 0
    assert story["convolutions_float"] == len(manifest["kept_float"])
    assert manifest["layers"] and (tmp_path / "engine" / "model.plan").stat().st_size > 0
