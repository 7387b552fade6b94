"""Recipes, data and folders that do not fit are refused before the first epoch."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing was trained")

from fcn_edge.errors import BadInput  # noqa: E402
from fcn_edge.models.checkpoint import checkpoint_from_file  # noqa: E402
from fcn_edge.registry import SceneRecipe  # noqa: E402
from tests.refusals import refused  # noqa: E402
from tests.training.runs import (  # noqa: E402
    PLAN,
    RECIPE,
    train_network,
)


@pytest.mark.parametrize("part", ["val", "supplement"])
def test_sets_with_other_classes_are_refused(streets, tmp_path, part):
    other = replace(streets["val"], classes=("sky", "road"), palette=((0, 0, 0), (1, 1, 1)), name="other")
    with refused(BadInput, "other", "synthetic:street,seed=5,images=8,size=64x96", "sky, road"):
        train_network(RECIPE, tmp_path / "net.safetensors", **(streets | {part: other}))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"epochs": 0}, ("epochs 0", 1)),
        ({"batch": 0}, ("batch 0",)),
        ({"crop": (0, 96)}, ("crop 0x96",)),
        ({"scales": (1.6, 0.75)}, ("scales", "(1.6, 0.75)")),
        ({"stretch": -0.1}, ("stretch -0.1",)),
        ({"rotation": 181.0}, ("rotation 181", "0 to 180")),
        ({"camera": 1.1}, ("camera 1.1", "0 to 1")),
        ({"scenes": SceneRecipe("sky", share=2.0)}, ("scenes.share 2", "0 to 1")),
        ({"scenes": SceneRecipe("sky", scales=(1.5, 0.3))}, ("scenes.scales",)),
        ({"scenes": SceneRecipe("sky", most=0)}, ("scenes.most 0", 1)),
        ({"scenes": SceneRecipe("sky", background="sky")}, ("scenes.figure", "scenes.background", "sky")),
        ({"learning_rate": 0.0}, ("learning_rate 0",)),
        ({"synthetic_share": 1.0}, ("synthetic_share 1",)),
        ({"jaccard": -1.0}, ("jaccard -1", 0)),
        ({"average": 1.0}, ("average 1", 0)),
        ({"sensor": 1.5}, ("sensor 1.5",)),
        ({"rare_share": -0.1}, ("rare_share -0.1",)),
        ({"warm_up": 0.0}, ("warm_up 0",)),
        ({"backbone_rate": -1.0}, ("backbone_rate -1",)),
        ({"full_size_epochs": 3}, ("full_size_epochs 3", "0 to 2")),
        ({"epochs": -1, "batch": -1}, ("epochs -1", "batch -1")),
    ],
)
def test_recipes_that_cannot_be_are_refused(streets, tmp_path, change, facts):
    with refused(BadInput, "tiny", "[train]", *facts):
        train_network(replace(RECIPE, train=replace(PLAN, **change)), tmp_path / "net.safetensors", **streets)


def test_data_with_other_classes_than_the_recipe_s_are_refused(streets, tmp_path):
    for_voc = replace(RECIPE, network=replace(RECIPE.network, classes="voc"))
    with refused(BadInput, "11 classes", "tiny", "voc", 21, 'classes = "data"'):
        train_network(for_voc, tmp_path / "net.safetensors", data=streets["data"])
    with refused(BadInput, "camvdi", "camvid"):
        train_network(
            replace(RECIPE, network=replace(RECIPE.network, classes="camvdi")),
            tmp_path / "n.safetensors",
            data=streets["data"],
        )


@pytest.mark.slow
def test_classes_of_the_data_itself_are_taken(streets, tmp_path):
    own = replace(streets["data"], classes=tuple("abcdefghijk"))
    recipe = replace(RECIPE, network=replace(RECIPE.network, classes="data"), train=replace(PLAN, epochs=1))
    train_network(recipe, tmp_path / "net.safetensors", data=own)
    assert checkpoint_from_file(tmp_path / "net.safetensors").header.classes == own.classes


def test_recipe_without_training_and_a_set_below_one_batch_are_refused(streets, tmp_path):
    with refused(BadInput, "tiny", "[train]"):
        train_network(replace(RECIPE, train=None), tmp_path / "net.safetensors", **streets)
    with refused(BadInput, "2 images", 4):
        train_network(RECIPE, tmp_path / "net.safetensors", data=streets["val"], val=streets["val"])


def test_folder_that_cannot_be_written_is_told_before_the_first_epoch(streets, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with refused(BadInput, tmp_path / "notes.txt", "writable"):
        train_network(
            RECIPE, tmp_path / "notes.txt" / "net.safetensors", **streets, on_step=lambda *_: pytest.fail("late")
        )
