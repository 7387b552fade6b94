"""Calibration image after image: memory that does not grow, progress, and the same table every time."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from onnx import helper, numpy_helper

from fcn_edge.calibration import METHODS, calibrate, table_from_file, table_from_images
from fcn_edge.calibration.images import CalibrationImage, CalibrationImages, images_from_source
from fcn_edge.calibration.table import with_method
from fcn_edge.data.base import sha256_of_pixels
from fcn_edge.onnxfile import onnx_from_file, save_onnx

MORE = 1.15  # times the peak of few images, for four times as many
FEW, MANY = 4, 16


def source(count):
    return f"synthetic:street,seed=2,images={count},size=64x96"


def drawn(number):
    """A picture of blurred noise; streets will not do, for their painter keeps what it has drawn."""
    coarse = np.random.default_rng(number).integers(0, 256, (16, 24, 3), np.uint8)
    image = cv2.resize(coarse, (192, 128))
    return CalibrationImage(f"noise{number}", image.copy, lambda: sha256_of_pixels(image))


class Drawn:
    """Pictures that exist while they are looked at."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __iter__(self):
        return (drawn(number) for number in range(self.count))


def peak(onnx_file, count):
    """Bytes of Python and numpy memory, pictures and tensors among them."""
    tracemalloc.start()
    try:
        table_from_images(onnx_file, CalibrationImages("noise", Drawn(count)))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(onnx_file):
    peak(onnx_file, 2)  # what is loaded and cached once
    assert peak(onnx_file, MANY) <= MORE * peak(onnx_file, FEW)


@pytest.mark.slow
def test_every_method_gives_a_file_of_its_own_with_the_same_bits_on_every_run(onnx_file, tmp_path):
    """One table holds the ranges of all methods."""
    tables = [tmp_path / f"{name}.json" for name in "ab"]
    for table in tables:
        table_from_images(onnx_file, images_from_source(source(3))).save(table)
    assert tables[0].read_bytes() == tables[1].read_bytes()
    contents = set()
    for method in METHODS:
        files = [calibrate(onnx_file, table, table.with_suffix(f".{method}.onnx"), method=method) for table in tables]
        assert [made.quantization.method for made in files] == [method] * 2
        assert files[0].path.read_bytes() == files[1].path.read_bytes()
        contents.add(files[0].path.read_bytes())
    assert len(contents) == len(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_unsigned_tensors_are_scaled_for_255_levels(onnx_file, table_file, tmp_path, method):
    """The limits differ with the levels, and both are those of the table."""
    made = calibrate(onnx_file, table_file, tmp_path / "a.onnx", method=method, placement="x86")
    graph, entries = onnx_from_file(made.path).graph, with_method(table_from_file(table_file), method).tensors
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = set()
    for name, entry in entries.items():
        levels = 255 if stored[f"{name}_zero"].dtype == "uint8" else 127
        kinds.add(levels)
        assert stored[f"{name}_scale"] == pytest.approx(entry.limit(method, levels) / levels, rel=1e-6)
    assert kinds == {127, 255}


@pytest.mark.slow
def test_tensor_of_subnormal_numbers_is_calibrated_as_zeros_are(onnx_file, tmp_path):
    """A branch that training has switched off: float32 cannot divide by the width of its histogram's bins."""
    model = onnx_from_file(onnx_file)
    last = next(node for node in reversed(model.graph.node) if node.op_type == "Conv")
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-39), "tiny"))
    position = list(model.graph.node).index(last)
    model.graph.node.insert(position, helper.make_node("Mul", [last.input[0], "tiny"], ["switched_off"], "off"))
    last.input[0] = "switched_off"
    save_onnx(model, tmp_path / "off.onnx")
    entry = table_from_images(tmp_path / "off.onnx", images_from_source(source(2))).tensors["switched_off"]
    assert 0 < entry.amax < 1e-36 and sum(entry.histogram) == 0
    assert calibrate(tmp_path / "off.onnx", source(2), tmp_path / "off.int8.onnx").path.exists()
