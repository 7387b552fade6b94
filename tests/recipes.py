"""The export shelf's recipes as networks small enough for tests."""

from __future__ import annotations

from dataclasses import replace

import torch

from fcn_edge.data import class_set
from fcn_edge.models.checkpoint import network_from_recipe
from fcn_edge.registry import recipe_from_shelf

NARROW = 1 / 16  # the published widths are up to half a gigabyte; layers and geometry are the same


def narrow_recipe(name):
    """A recipe of the shelf with few channels; EfficientNet-Lite0 is small as it is."""
    recipe = recipe_from_shelf(name)
    if recipe.network.backbone == "efficientnet_lite0":
        return recipe
    return replace(recipe, network=replace(recipe.network, width=NARROW))


def random_network(recipe):
    """Its network in evaluation mode; weights keep the variance, so that no layer overflows or dies."""
    torch.manual_seed(0)
    network = network_from_recipe(recipe.network, len(class_set(recipe.network.classes).classes)).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return network
