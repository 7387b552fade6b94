"""Data for trainings, and one training that several tests look at."""

from __future__ import annotations

from typing import Any

import pytest

from fcn_edge.data import Dataset, dataset_from_name
from tests.training.runs import RECIPE, train_network


@pytest.fixture(scope="session")
def streets() -> dict[str, Dataset]:
    """Eight streets to train on and two to choose by."""
    return {
        "data": dataset_from_name("synthetic:street,seed=5,images=8,size=64x96"),
        "val": dataset_from_name("synthetic:street,seed=6,images=2,size=64x96"),
    }


@pytest.fixture(scope="session")
def finished(streets: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, list[str]]:
    """(checkpoint of an unbroken run, its record, its reports); never written to."""
    out, reports = tmp_path_factory.mktemp("finished") / "net.safetensors", []
    record = train_network(RECIPE, out, **streets, on_epoch=reports.append)
    return out, record, reports
