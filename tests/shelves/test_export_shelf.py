"""Every recipe of the export shelf is a network that exports, quantizes and compiles on every engine.

Weights are random and networks narrow: the published widths are up to half a gigabyte; their
geometry, and every layer, is the same. A recipe is exported and calibrated once for all engines.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: no recipe was built")

from fcn_edge.build import build_engine  # noqa: E402 - needs torch
from fcn_edge.calibration import images_from_source, table_from_images  # noqa: E402
from fcn_edge.calibration.quantized import quantized_file  # noqa: E402
from fcn_edge.calibration.table import table_from_file  # noqa: E402
from fcn_edge.data import class_set  # noqa: E402
from fcn_edge.engines import open_engine  # noqa: E402
from fcn_edge.engines.trt import PlanOptions, plan_from_onnx  # noqa: E402
from fcn_edge.exporting import export  # noqa: E402
from fcn_edge.models.checkpoint import header_from_recipe, network_from_recipe, save_checkpoint  # noqa: E402
from fcn_edge.onnxfile import onnx_from_file  # noqa: E402
from fcn_edge.registry import recipe_from_shelf, shelf_names  # noqa: E402
from tests.recipes import narrow_recipe, random_network  # noqa: E402

SIZE = (64, 96)
CALIB = "synthetic:street,seed=2,images=1,size=64x96"
QUICK = "fcn8s_vgg16_voc"
COARSE = ("fcn16s_", "fcn32s_")  # fewer skips than the fcn8s recipe of the same backbone, and no layer beside
RECIPES = [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in shelf_names("export")]
of_fine_recipes = pytest.mark.parametrize(
    "name", [recipe for recipe in RECIPES if not recipe.values[0].startswith(COARSE)], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=RECIPES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fp32_file(name, tmp_path_factory):
    """The recipe's network with random weights at a small size, exported; parity is checked on the way."""
    recipe, folder = narrow_recipe(name), tmp_path_factory.mktemp(name)
    small = replace(recipe, input=replace(recipe.input, height=SIZE[0], width=SIZE[1]))
    header = header_from_recipe(small, *class_set(recipe.network.classes))
    save_checkpoint(folder / "net.safetensors", random_network(recipe), header)
    return export(folder / "net.safetensors", folder / "net.onnx").path


@pytest.fixture(scope="module")
def table_file(fp32_file):
    path = fp32_file.with_name("table.json")
    table_from_images(fp32_file, images_from_source(CALIB)).save(path)
    return path


def test_full_network_has_the_recipe_s_classes_and_geometry(name):
    recipe = recipe_from_shelf(name)
    count, step = len(class_set(recipe.network.classes).classes), recipe.network.stride
    with torch.device("meta"):  # shapes without memory
        network = network_from_recipe(recipe.network, count).eval()
        height, width = (-(-side // 32) * 32 for side in (recipe.input.height, recipe.input.width))
        logits, scores = network(torch.zeros(1, 3, height, width)), network.scores(torch.zeros(1, 3, height, width))
    assert tuple(logits.shape) == (1, count, height, width)
    assert scores.shape[2] >= height // step and scores.shape[3] >= width // step
    assert network.score_sampling(height, width).size == (height, width)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_recipe_runs_in_int8(name, fp32_file, table_file, tmp_path):
    run_in_int8("onnxruntime", name, fp32_file, table_file, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
@of_fine_recipes
def test_recipe_runs_in_int8_on_openvino(name, fp32_file, table_file, tmp_path):
    run_in_int8("openvino", name, fp32_file, table_file, tmp_path)


def run_in_int8(target, name, fp32_file, table_file, tmp_path):
    """Builds the engine, which compares it with the reference run, and opens it."""
    options = {"target": target, "precision": "int8", "calib": str(table_file)}
    built = build_engine(fp32_file, tmp_path / "engine", **options)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    with open_engine(built.path) as engine:
        view = engine.segment(frame)
    assert engine.precision == "int8" and engine.spec.name == name
    assert view.class_map.shape == frame.shape[:2] and view.class_map.max() < engine.spec.num_classes


compiles_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed: nothing was compiled"
)


@compiles_rtx
def test_recipe_compiles_for_nvidia_with_every_convolution_in_int8(fp32_file, table_file, tmp_path):
    options = {"target": "tensorrt-rtx", "precision": "int8", "calib": str(table_file), "plan": PlanOptions(sm=(86,))}
    manifest = build_engine(fp32_file, tmp_path / "engine", **options)
    report = manifest.layer_report
    assert report.convolutions_int8 == len(convolutions(fp32_file))
    assert report.convolutions_float == 0 and manifest.kept_float == ()
    assert manifest.layers and manifest.plan.stat().st_size == report.plan_bytes
    assert report.fp32_plan_bytes > 0  # the fp32 plan was compiled beside it


@compiles_rtx
@of_fine_recipes
@pytest.mark.parametrize("precision", ["fp16", "int8-fp16"])
def test_recipe_compiles_for_nvidia_in_half_precision(fp32_file, table_file, tmp_path, precision):
    """Convolutions that random weights drive beyond half precision stay in fp32, no other does."""
    file = tmp_path / "net.onnx"
    made = quantized_file(fp32_file, file, precision=precision, table=table_from_file(table_file))
    plan = plan_from_onnx(file, target="tensorrt-rtx", options=PlanOptions(sm=(86,)))
    names = convolutions(fp32_file)
    guarded = made.left_fp32.keys() & names
    assert plan.counts["convolutions_int8"] >= (len(names) - len(guarded) if precision == "int8-fp16" else 0)
    in_fp32 = [layer for layer in plan.layers if (layer.op, layer.precision) == ("correlation", "fp32")]
    assert plan.kept_float == () and len(in_fp32) <= len(guarded)


def convolutions(path):
    return [node.name for node in onnx_from_file(path).graph.node if node.op_type == "Conv"]
