"""Checkpoints of other kinds than the session's own, small enough to export in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of a seeded FCN-8s; `network` are NetworkRecipe's fields, `given` InputRecipe's."""
    torch = pytest.importorskip("torch", reason="torch is not installed: no network to test with")
    from fcn_edge.data import camvid
    from fcn_edge.models.checkpoint import CheckpointHeader, network_from_recipe, save_checkpoint
    from fcn_edge.registry import InputRecipe, NetworkRecipe

    def write(network: dict[str, Any], change: Callable[[Any], None] = lambda network: None, **given: Any) -> Path:
        recipe = NetworkRecipe(**{"classes": "camvid", **network})
        torch.manual_seed(5)
        made = network_from_recipe(recipe, 11)
        for layer in made.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight)
        with torch.no_grad():
            change(made)
        defaults = {"height": 64, "width": 96, "mean": (90.0, 110.0, 130.0), "std": (40.0, 60.0, 80.0)}
        header = CheckpointHeader(
            "other", recipe, InputRecipe(**(defaults | given)), camvid.CLASSES, camvid.PALETTE, camvid.IGNORE
        )
        save_checkpoint(tmp_path / "other.safetensors", made, header)
        return tmp_path / "other.safetensors"

    return write
