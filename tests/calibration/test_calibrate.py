"""`calibrate`: any network and any images in one call, an INT8 file and its table, both or none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fcn_edge.calibration import calibrate, table_from_file
from fcn_edge.data import open_dataset
from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from fcn_edge.onnxmodel import OnnxModel
from tests.progress import RecordedProgress
from tests.refusals import refused


@pytest.fixture
def arrays(street):
    return [street(number)[0] for number in range(3)]


@pytest.mark.slow
def test_arrays_make_the_file_that_pictures_of_them_make(onnx_file, arrays, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, array in enumerate(arrays):
        cv2.imwrite(str(folder / f"{number}.png"), array)
    by_arrays = calibrate(onnx_file, (array for array in arrays), tmp_path / "a.onnx")
    by_files = calibrate(onnx_file, folder, tmp_path / "b.onnx")
    assert by_arrays.model.graph == by_files.model.graph
    assert by_arrays.table.tensors == by_files.table.tensors
    assert by_arrays.table.images == ("array 0", "array 1", "array 2")


@pytest.mark.slow
def test_table_lies_beside_the_file_and_makes_it_again(onnx_file, arrays, tmp_path):
    progress = RecordedProgress()
    made = calibrate(onnx_file, arrays, tmp_path / "net.int8.onnx", progress=progress)
    assert made.path == tmp_path / "net.int8.onnx" and made.table_path == tmp_path / "net.int8.table.json"
    assert table_from_file(made.table_path) == made.table
    assert progress.updates == [("calibrating", done, 6) for done in range(1, 7)]
    again = calibrate(onnx_file, made.table_path, tmp_path / "again.onnx", verify=arrays)
    assert again.path.read_bytes() == made.path.read_bytes()
    with open_engine(made.path) as engine:
        assert engine.precision == "int8" and engine.segment(arrays[0]).class_map.shape == arrays[0].shape[:2]


@pytest.mark.slow
def test_checkpoint_is_exported_on_the_way(checkpoint_file, onnx_file, table_file, tmp_path):
    by_checkpoint = calibrate(checkpoint_file, table_file, tmp_path / "a.onnx")
    by_file = calibrate(OnnxModel.from_file(onnx_file), table_file, tmp_path / "b.onnx")
    assert by_checkpoint.path.read_bytes() == by_file.path.read_bytes()


@pytest.mark.slow
def test_images_of_the_labelled_set_are_refused_unless_allowed(onnx_file, street, tmp_path):
    pairs = [street(number) for number in range(2)]
    images = [pairs[0][0], np.flip(pairs[1][0], 1).copy()]
    with refused(BadInput, "1 of 2", "array 0", "allow_overlap"):
        calibrate(onnx_file, images, tmp_path / "a.onnx", data=pairs)
    assert list(tmp_path.iterdir()) == []
    calibrate(onnx_file, images, tmp_path / "a.onnx", data=pairs, allow_overlap=True)
    labelled = open_dataset("synthetic:street,seed=9,images=1,size=64x96")
    assert calibrate(onnx_file, images, tmp_path / "a.onnx", data=labelled).path.is_file()


def test_what_is_read_is_not_written_over(onnx_file, table_file, tmp_path):
    model, table = tmp_path / "a.onnx", tmp_path / "b.table.json"
    model.write_bytes(onnx_file.read_bytes())
    table.write_bytes(table_file.read_bytes())
    with refused(BadInput, "a.onnx", "read"):
        calibrate(model, table, model)
    with refused(BadInput, "a.onnx", "read"):
        calibrate(model, table, tmp_path / "b.onnx", table=model)
    assert calibrate(model, table, tmp_path / "b.onnx").table_path == table
    assert model.read_bytes() == onnx_file.read_bytes() and table.read_bytes() == table_file.read_bytes()


def test_network_that_is_quantized_is_refused_before_its_images_are_read(int8_file, tmp_path):
    with refused(BadInput, int8_file, "int8", "fp32"):
        calibrate(int8_file, "nowhere", tmp_path / "a.onnx")
