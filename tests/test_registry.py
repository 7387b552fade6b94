"""Everything on the shelves is a valid recipe, found by its name."""

from __future__ import annotations

import pytest

from fcn_edge import registry
from fcn_edge.calibration.images import CalibrationRecipe
from fcn_edge.errors import BadInput
from fcn_edge.registry import packaged_file, recipe_from_shelf, shelf_file, shelf_folder, shelf_names
from fcn_edge.schema import from_mapping, read_toml
from tests.refusals import refused

OWN = """
[network]
backbone = "resnet18"
classes = "camvid"
[input]
height = 64
width = 96
mean = [1, 2, 3]
std = [1, 1, 1]
"""


@pytest.mark.parametrize("name", shelf_names("export"))
def test_every_network_recipe_is_valid(name):
    recipe = recipe_from_shelf(name)
    assert recipe.name == name and recipe.title
    assert min(recipe.input.height, recipe.input.width) >= 32 and min(recipe.input.std) > 0
    if recipe.train is not None:
        assert all(side % 32 == 0 for side in recipe.train.crop)


@pytest.mark.parametrize("name", shelf_names("calib"))
def test_every_calibration_set_is_valid(name):
    recipe = from_mapping(CalibrationRecipe, read_toml(shelf_file("calib", name)), name)
    assert recipe.title and recipe.images > 0
    assert len(recipe.sha256 or ()) in (0, recipe.images)


@pytest.mark.parametrize("name", ["export", "calib", "benchmarks"])
def test_readme_of_a_shelf_names_all_that_lies_there(name):
    text = (shelf_folder(name) / "README.md").read_text(encoding="utf-8")
    assert [entry for entry in shelf_names(name) if f"`{entry}`" not in text] == []


def test_table_of_the_export_shelf_is_its_titles():
    text = (shelf_folder("export") / "README.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {recipe_from_shelf(name).title} |" for name in shelf_names("export")]
    assert text.endswith("\n".join(["|---|---|", *rows]) + "\n"), "write it anew from the titles"


def test_packaged_network_is_on_the_shelf():
    assert registry.PACKAGED_NETWORK in shelf_names("export")


def test_unknown_name_tells_the_nearest():
    with refused(BadInput, "fcn4s_lite0_camvit", "fcn4s_lite0_camvid"):
        recipe_from_shelf("fcn4s_lite0_camvit")


def test_recipe_of_ones_own_takes_its_name_from_the_file(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN)
    recipe = recipe_from_shelf(str(tmp_path / "mine.toml"))
    assert recipe.name == "mine" and recipe.network.backbone == "resnet18" and recipe.train is None
    assert recipe.input.mean == (1.0, 2.0, 3.0)


def test_recipe_with_a_misspelt_key_names_file_and_key(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN.replace("backbone", "backbome"))
    with refused(BadInput, "mine.toml", "network", "backbome", "backbone"):
        recipe_from_shelf(str(tmp_path / "mine.toml"))


def test_missing_recipe_file_is_told(tmp_path):
    with refused(BadInput, "none.toml"):
        recipe_from_shelf(str(tmp_path / "none.toml"))


def test_shelves_are_found_in_an_installed_package(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "fcn_edge"
    (installed / "shelves" / "export").mkdir(parents=True)
    (installed / "shelves" / "export" / "README.md").write_text("# Export shelf")
    (installed / "shelves" / "export" / "mine.toml").write_text(OWN)
    monkeypatch.setattr(registry, "PACKAGE", installed)
    assert shelf_names("export") == ["mine"]
    assert recipe_from_shelf("mine").name == "mine"
    with refused(BadInput, "calib", "installed"):
        shelf_names("calib")


def test_missing_packaged_network_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    with refused(BadInput, "fcn4s_lite0_camvid.onnx", "packaged"):
        packaged_file(".onnx")
