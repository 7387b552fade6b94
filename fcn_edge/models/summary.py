"""Size and cost of every network of the export shelf, without building its weights."""

from __future__ import annotations

from typing import Any

import torch

from fcn_edge.data import class_set
from fcn_edge.geometry import padded_to
from fcn_edge.models.checkpoint import network_from_recipe
from fcn_edge.models.fcn import STRIDE, multiply_accumulates
from fcn_edge.registry import Recipe, recipe_from_shelf, shelf_names


def network_summaries() -> list[dict[str, Any]]:
    """One row a recipe: name, title, stride of the scores, layers that skips score, input size, parameters, GMAC."""
    return [_summary(recipe_from_shelf(name)) for name in shelf_names("export")]


def _summary(recipe: Recipe) -> dict[str, Any]:
    with torch.device("meta"):  # shapes only: a VGG-16 costs neither memory nor time
        network = network_from_recipe(recipe.network, len(class_set(recipe.network.classes).classes)).eval()
    height, width = recipe.input.height, recipe.input.width
    if recipe.network.geometry == "same":
        height, width = padded_to(height, STRIDE), padded_to(width, STRIDE)
    return {
        "name": recipe.name,
        "title": recipe.title,
        "backbone": recipe.network.backbone,
        "stride": network.score_stride,
        "skips": list(network.skip_names),
        "height": recipe.input.height,
        "width": recipe.input.width,
        "parameters": sum(p.numel() for p in network.parameters()),
        "gmac": round(multiply_accumulates(network, height, width) / 1e9, 3),
    }
