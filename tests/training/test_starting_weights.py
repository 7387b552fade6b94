"""Where a run begins: a backbone's weights, or the layers of another checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.checkpoint import network_from_recipe  # noqa: E402
from fcn_edge.registry import NetworkRecipe  # noqa: E402
from fcn_edge.training.starting_weights import layers_from_checkpoint  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import (  # noqa: E402
    PLAN,
    RECIPE,
    train_network,
    weights_of,
)


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(1)}, b"words"])
def test_weights_of_another_backbone_are_refused(streets, tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with refused(BadInput, "weights.pth"):
        train_network(RECIPE, tmp_path / "net.safetensors", **streets, backbone=path)


@pytest.mark.slow
def test_fcn16s_begins_with_the_layers_of_fcn32s(finished, streets, tmp_path):
    first, _, _ = finished
    staged = replace(RECIPE, network=replace(RECIPE.network, stride=4), train=replace(PLAN, epochs=1))
    record = train_network(staged, tmp_path / "net.safetensors", data=streets["data"], start=first)
    assert record["start"] == first.name
    assert record["layers_from_start"] == [
        "backbone",
        "score_fr",
        "score_pool3",
        "score_pool4",
        "upscore2",
        "upscore_pool4",
    ]
    fresh = network_from_recipe(staged.network, 11)
    assert layers_from_checkpoint(fresh, streets["data"].classes, first)
    assert torch.equal(fresh.state_dict()["score_fr.weight"], weights_of(first)["score_fr.weight"])
    assert not fresh.state_dict()["score_pool2.weight"].any()


def test_start_with_other_classes_or_another_backbone_is_refused(finished, streets):
    first, _, _ = finished
    network = network_from_recipe(RECIPE.network, 11)
    with refused(BadInput, "net.safetensors", "classes", "sky"):
        layers_from_checkpoint(network, ("sky", "road"), first)
    network = network_from_recipe(NetworkRecipe("resnet18", "camvid"), 11)
    with refused(BadInput, "net.safetensors", "efficientnet_lite0", "backbone.conv1.weight"):
        layers_from_checkpoint(network, streets["data"].classes, first)
