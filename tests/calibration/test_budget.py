"""The accuracy budget names the layers that need float, no others, and remembers what it measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fcn_edge.build import build_engine
from fcn_edge.calibration.budget import LayerCost, Measurements, cheapest_within, content_of, layer_costs
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput, CheckFailed
from fcn_edge.onnxfile import save_onnx
from fcn_edge.onnxmodel import OnnxModel
from tests.refusals import refused

FP32 = 0.70
NAMES = [f"layer{index}" for index in range(12)]
LAYERS = [LayerCost(name, 1000 + index, 10) for index, name in enumerate(NAMES)]
CALIB = "synthetic:street,seed=2,images=2,size=64x96"


class Damaged:
    """A network whose layers each cost so many points in INT8, as long as they are not kept in float."""

    def __init__(self, points):
        self.points, self.runs = points, []

    def miou(self, kept, images):
        self.runs.append((frozenset(kept), images))
        return FP32 - sum(points for name, points in self.points.items() if name not in kept) / 100


def search(budget, damaged, path, key="k", layers=LAYERS):
    measured = Measurements(path, key, damaged.miou)
    return cheapest_within(budget, layers, measured, lambda images: FP32, total=100), measured


def test_network_within_budget_keeps_nothing(tmp_path):
    damaged = Damaged({"layer3": 0.2})
    found, _ = search(0.5, damaged, tmp_path / "b.json")
    assert found.kept == () and found.drop == pytest.approx(0.2)
    assert damaged.runs == [(frozenset(), None)], "one look at the whole set is enough"


def test_one_outlier_is_named_and_nothing_else(tmp_path):
    points = dict.fromkeys(NAMES, 0.02) | {"layer7": 9.0}
    found, _ = search(0.5, Damaged(points), tmp_path / "b.json")
    assert found.kept == ("layer7",) and found.drop == pytest.approx(0.22)
    assert max(found.gains, key=found.gains.get) == "layer7" and found.gains["layer7"] == pytest.approx(9.0)


def test_cheaper_of_two_layers_is_kept(tmp_path):
    layers = [LayerCost("dear", 90_000, 10), LayerCost("cheap", 1000, 10), LayerCost("rest", 100_000, 10)]
    found, _ = search(1.0, Damaged({"dear": 0.8, "cheap": 0.8}), tmp_path / "b.json", layers=layers)
    assert found.kept == ("cheap",)


def test_several_are_kept_where_one_is_not_enough(tmp_path):
    found, _ = search(0.5, Damaged({"layer1": 1.0, "layer2": 1.0, "layer9": 0.4}), tmp_path / "b.json")
    assert set(found.kept) == {"layer1", "layer2"} and found.drop == pytest.approx(0.4)


def test_layers_that_an_outlier_hides_are_ranked_once_it_is_kept(tmp_path):
    """A network that one layer has ruined loses nothing more by the others."""

    class Ruined(Damaged):
        def miou(self, kept, images):
            return super().miou(kept, images) if "layer7" in kept else FP32 - 0.5

    found, _ = search(0.5, Ruined({"layer2": 1.0, "layer4": 0.4}), tmp_path / "b.json")
    assert set(found.kept) == {"layer7", "layer2"} and found.drop == pytest.approx(0.4)
    assert found.gains["layer7"] == pytest.approx(48.6) and found.gains["layer2"] == pytest.approx(1.0)


def test_subset_that_flatters_is_put_right_on_the_whole_set(tmp_path):
    """layer5 does its damage in images that the subset lacks: the search goes on until the whole set agrees."""

    class Flattered(Damaged):
        def miou(self, kept, images):
            points = 2.0 if images is None else 0.3
            return super().miou(kept, images) - points * ("layer5" not in kept) / 100

    found, _ = search(0.5, Flattered({"layer2": 3.0}), tmp_path / "b.json")
    assert set(found.kept) == {"layer2", "layer5"} and found.drop == pytest.approx(0)


def test_budget_out_of_reach_names_the_worst_layers(tmp_path):
    points = {name: 1.0 + index / 10 for index, name in enumerate(NAMES)}
    with refused(CheckFailed, "18.60", "0.1", "12 layers", "layer11"):
        search(0.1, Damaged(points), tmp_path / "b.json")


def test_measurements_outlive_a_search_that_was_stopped(tmp_path):
    points = {"layer1": 1.0, "layer2": 1.0}

    class Killed(Damaged):
        def miou(self, kept, images):
            if len(self.runs) == 7:
                raise KeyboardInterrupt
            return super().miou(kept, images)

    with pytest.raises(KeyboardInterrupt):
        search(0.5, Killed(points), tmp_path / "b.json")
    again, unbroken = Damaged(points), Damaged(points)
    found, measured = search(0.5, again, tmp_path / "b.json")
    assert found == search(0.5, unbroken, tmp_path / "other.json")[0]
    assert measured.taken == len(again.runs) == len(unbroken.runs) - 7
    assert search(0.5, Damaged(points), tmp_path / "b.json")[1].taken == 0


def test_measurements_of_something_else_are_not_taken(tmp_path):
    search(0.5, Damaged({"layer1": 3.0}), tmp_path / "b.json")
    found, measured = search(0.5, Damaged({"layer2": 3.0}), tmp_path / "b.json", key="another")
    assert found.kept == ("layer2",) and measured.taken > 0


def test_other_labels_are_other_measurements():
    @dataclass
    class Labelled:
        value: int

        def sha256(self):
            return "same"

        def labels(self):
            if self.value < 0:
                raise BadInput("not an image that decodes")
            return np.full((2, 3), self.value, np.uint8)

    def content(*values):
        return content_of(Dataset("set", ("a",), ((0, 0, 0),), 255, [Labelled(value) for value in values]))

    assert content(0, 1) == content(0, 1)
    assert len({str(content(*values)) for values in ((0, 1), (1, 0), (0, 0), (0, -1))}) == 4


def test_costs_count_what_a_layer_computes_and_moves(onnx_file):
    layers = {layer.name: layer for layer in layer_costs(OnnxModel.from_file(onnx_file))}
    stem = layers["/backbone/_conv_stem/Conv"]
    assert stem.macs == 32 * 48 * 32 * 3 * 9
    assert stem.elements == 32 * 48 * 32 + 64 * 96 * 3
    assert all(layer.cost > 0 for layer in layers.values()) and len(layers) > 50


PLANTED = "/backbone/conv3/Conv"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A small AlexNet with one input channel of conv3 a thousand times as large and its weights so much smaller.

    In float nothing changes. The labels are its own class maps, so that fp32 scores 100.
    """
    torch = pytest.importorskip("torch", reason="torch is not installed: no network to plant an outlier in")
    from fcn_edge.data import class_set
    from fcn_edge.exporting.trace import model_from_checkpoint
    from fcn_edge.models.checkpoint import Checkpoint, header_from_recipe
    from tests.recipes import narrow_recipe, random_network

    recipe = narrow_recipe("fcn8s_alexnet_voc")
    recipe = replace(recipe, network=replace(recipe.network, classes="camvid"))
    network = random_network(recipe)
    for name, layer in network.named_modules():
        if name.startswith(("score_", "backbone.fc")) and isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
    with torch.no_grad():
        network.backbone.conv2.weight[0] *= 1000
        network.backbone.conv2.bias[0] *= 1000
        network.backbone.conv3.weight[:, 0] /= 1000
        network.score_pool3.weight.zero_()
        network.score_pool4.weight.zero_()
    header = header_from_recipe(recipe, *class_set("camvid"))
    model, _ = model_from_checkpoint(Checkpoint(network, header, "0" * 64), (96, 128), "scores", dynamic=False)
    folder = tmp_path_factory.mktemp("planted")
    save_onnx(model, folder / "net.onnx")
    streets = dataset_from_name("synthetic:street,seed=3,images=6,size=96x128")
    with open_engine(folder / "net.onnx", target="onnxruntime") as engine:
        maps = [engine.segment(streets.items[index].image()).class_map for index in range(6)]
    return folder / "net.onnx", streets, maps


@pytest.fixture
def own_labels(planted):
    """The streets, labelled with what the fp32 network says of them."""
    model, streets, maps = planted

    class Own:
        def __init__(self, item, labels):
            self._item, self._labels = item, labels

        def __getattr__(self, name):
            return getattr(self._item, name)

        def labels(self):
            return self._labels

    return model, replace(streets, items=[Own(streets.items[i], labels) for i, labels in enumerate(maps)])


@pytest.mark.slow
def test_planted_outlier_is_found_and_repaired(own_labels, tmp_path):
    model, data = own_labels
    options = {
        "target": "onnxruntime",
        "precision": "int8",
        "calib": CALIB,
        "method": "minmax",
        "placement": "any",
    }
    spoilt = build_engine(model, tmp_path / "spoilt", **options, data=data, max_miou_drop=100)
    assert spoilt.kept_float == () and spoilt.drop > 10
    built = build_engine(model, tmp_path / "engine", **options, data=data, max_miou_drop=spoilt.drop / 2)
    assert built.kept_float == (PLANTED,)
    assert built.drop < spoilt.drop / 2
    held = json.loads((tmp_path / "engine.budget.json").read_text())
    assert len(held["miou"]) > 10
