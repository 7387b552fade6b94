"""An INT8 file that is no longer the network it was made from is refused, with the first tensor that is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fcn_edge.calibration import calibrate
from fcn_edge.calibration.table import table_from_file
from fcn_edge.errors import CheckFailed
from fcn_edge.onnxfile import onnx_from_file


@pytest.fixture
def broken_table(table_file, tmp_path):
    """The table with the range of one convolution's input a thousandth of what it is; and that tensor."""
    table = table_from_file(table_file)
    name = list(table.tensors)[10]
    narrow = replace(table.tensors[name], amax=table.tensors[name].amax / 1000)
    replace(table, tensors={**table.tensors, name: narrow}).save(tmp_path / "broken.json")
    return tmp_path / "broken.json", name


@pytest.mark.slow
def test_broken_int8_file_is_not_written_and_the_lost_tensor_is_named(onnx_file, broken_table, tmp_path):
    path, name = broken_table
    out = tmp_path / "net.int8.onnx"
    earlier = onnx_file.read_bytes()
    out.write_bytes(earlier)
    with pytest.raises(CheckFailed) as refused:
        calibrate(onnx_file, path, out)
    readers = [node.output[0] for node in onnx_from_file(onnx_file).graph.node if name in node.input]
    assert any(reader in str(refused.value) for reader in readers)
    assert out.read_bytes() == earlier
