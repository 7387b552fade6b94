"""`fcn-edge models`: the networks of the export shelf."""

from __future__ import annotations

import pytest

from fcn_edge.registry import shelf_names


@pytest.mark.slow
def test_models_lists_the_shelf_with_its_cost(command):
    pytest.importorskip("torch", reason="torch is not installed: networks cannot be counted")
    found = command("models", "--json").json["networks"]
    assert [network["name"] for network in found] == shelf_names("export")
    lite = next(network for network in found if network["name"] == "fcn4s_lite0_camvid")
    assert 3.3e6 < lite["parameters"] < 3.6e6 and 1.4 < lite["gmac"] < 1.6
    assert lite["stride"] == 4 and len(lite["skips"]) == 3
    table = command("models").out
    assert "3.41 M" in table and "pool4 pool3" in table
