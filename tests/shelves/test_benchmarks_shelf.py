"""Every suite gives labelled images that no calibration set has; every baseline is a record that gate reads."""

from __future__ import annotations

import pytest

from fcn_edge.calibration.images import images_from_source
from fcn_edge.calibration.table import table_from_file
from fcn_edge.data import dataset_from_name
from fcn_edge.gating import gate
from fcn_edge.gating.plausibility import require_plausible
from fcn_edge.records import Record
from fcn_edge.registry import shelf_folder, shelf_names, suite_from_shelf, table_file, table_names
from tests.shared_data import SHARED

REAL_SETS = SHARED / "datasets"
BASELINES = sorted((shelf_folder("benchmarks") / "baselines").glob("*.json"))


@pytest.fixture(params=shelf_names("benchmarks"))
def suite(request, monkeypatch):
    """A suite, with its data in the working folder."""
    found = suite_from_shelf(request.param)
    folder = found.data.partition(":")[2].partition("#")[0]
    if not found.data.startswith("synthetic:"):
        if not (REAL_SETS / folder).is_dir():
            pytest.skip(f"no data set {folder} at {REAL_SETS}")
        monkeypatch.chdir(REAL_SETS)
    return found


@pytest.mark.slow
def test_suite_gives_labelled_images(suite):
    item = dataset_from_name(suite.data).items[0]
    assert item.image().shape[:2] == item.labels().shape
    assert suite.title and suite.rounds > 0 and suite.frames > 0


@pytest.mark.slow
def test_suite_and_its_calibration_share_no_picture(suite):
    items = dataset_from_name(suite.data).items
    table = table_from_file(table_file(suite.calib)) if suite.calib in table_names() else None
    images = () if table else images_from_source(suite.calib, 4).images
    if suite.data.startswith("synthetic:"):  # the name of a drawn picture is its seed and number: it is what is drawn
        measured = {items[index].name for index in range(len(items))}
        calibrated = set(table.images) if table else {image.name for image in images}
    else:
        measured = {items[index].sha256() for index in range(len(items))}
        calibrated = set(table.images_sha256) if table else {image.sha256() for image in images}
    assert calibrated and measured.isdisjoint(calibrated)


@pytest.mark.slow
@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_baseline_is_whole_and_does_not_fail_against_itself(path):
    record = Record.from_file(path)
    assert path.stem.partition(".")[0] in shelf_names("benchmarks")
    assert path.stem.partition(".")[2] == record.device.name
    require_plausible(record, path.name)
    assert record.suite == path.stem.partition(".")[0]
    checks = gate(path, path).checks
    assert [check.name for check in checks if check.ok is False] == []
    undecided = [check.name for check in checks if check.ok is None]
    assert undecided == [] or record.protocol["threads"] != 1, "a baseline for CI can tell all: measure it anew"
