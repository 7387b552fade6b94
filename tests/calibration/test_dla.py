"""The calibration cache for DLA: TensorRT's text, and a scale for every tensor of the plain file."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from fcn_edge.calibration import table_from_file
from fcn_edge.calibration.collect import float_tensors
from fcn_edge.calibration.dla import dla_cache_from_table, write_dla_cache
from fcn_edge.calibration.table import Magnitude
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import onnx_from_file
from tests.refusals import refused


@pytest.fixture
def table(table_file):
    return table_from_file(table_file)


def scales(text):
    header, *lines = text.splitlines()
    pairs = (line.rsplit(": ", 1) for line in lines)
    return header, {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, digits in pairs}


def test_scale_is_the_magnitude_by_127(table):
    header, found = scales(dla_cache_from_table(table, "10.3.0"))
    assert header == "TRT-100300-EntropyCalibration2"
    for name, limit in table.limits().items():
        assert found[name] == pytest.approx(limit / 127)
    others = set(table.magnitudes) - set(table.tensors)
    assert others and all(found[name] == pytest.approx((table.magnitudes[name].largest or 1) / 127) for name in others)


def test_every_tensor_of_the_file_has_one(table, onnx_file):
    _, found = scales(dla_cache_from_table(table, "10.3.0"))
    assert set(float_tensors(onnx_from_file(onnx_file))) <= set(found)


@pytest.mark.slow
def test_plain_file_needs_no_other_names(exported, tmp_path, street):
    """What DLA compiles is the plain file; the cache comes from the file with a contract."""
    import cv2

    from fcn_edge.calibration import images_from_source, table_from_images

    cv2.imwrite(str(tmp_path / "street.png"), street(0)[0])
    table = table_from_images(exported(head="logits"), images_from_source(str(tmp_path)))
    plain = onnx_from_file(exported(head="logits", io="plain"))
    _, found = scales(dla_cache_from_table(table, "10.3.0"))
    assert {*float_tensors(plain), plain.graph.input[0].name} <= set(found)


def test_tensor_that_was_always_zero_still_has_a_scale(table):
    dead = replace(table, magnitudes={**table.magnitudes, "dead": Magnitude(0.0, 0.0, 0.0)})
    assert scales(dla_cache_from_table(dead, "10.3.0"))[1]["dead"] > 0


@pytest.mark.parametrize(("version", "number"), [("8.5.2", 8502), ("8.6.1.6", 8601), ("10.3.0", 100300)])
def test_version_is_written_as_tensorrt_counts(table, version, number):
    assert dla_cache_from_table(table, version).startswith(f"TRT-{number}-EntropyCalibration2\n")


@pytest.mark.parametrize(("version", "fact"), [("11.4.0", "11.4.0"), ("ten", "10.3.0")])
def test_version_without_caches_is_refused_and_nothing_written(table, tmp_path, version, fact):
    with refused(BadInput, fact):
        write_dla_cache(table, tmp_path / "cache", tensorrt=version)
    assert list(tmp_path.iterdir()) == []


def test_count_of_tensors_is_told(table, tmp_path):
    assert write_dla_cache(table, tmp_path / "cache") == len({*table.tensors, *table.magnitudes})
