"""Every suite opens its data and names a calibration; every baseline is a record that gate reads."""

from __future__ import annotations

import pytest

from fcn_edge.data import dataset_from_name
from fcn_edge.files import read_json
from fcn_edge.gate import verdict_from_records
from fcn_edge.shelf import shelf_folder, shelf_names, suite_from_shelf, table_names

BASELINES = sorted((shelf_folder("benchmarks") / "baselines").glob("*.json"))


@pytest.mark.parametrize("name", shelf_names("benchmarks"))
def test_suite_names_its_data_and_calibration(name):
    suite = suite_from_shelf(name)
    assert suite.title
    assert suite.calib in {*shelf_names("calib"), *table_names()}
    if suite.data.startswith("synthetic:"):
        assert len(dataset_from_name(suite.data).items) > 0


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_baseline_passes_against_itself(path):
    record = read_json(path)
    assert path.stem.partition(".")[0] in shelf_names("benchmarks")
    assert path.stem.partition(".")[2] == record["device"]["name"]
    assert verdict_from_records(record, record).verdict == "pass"
