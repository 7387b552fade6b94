"""A table with another network, preprocessing or set of images than its own: refused, for the right reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from onnx import helper, numpy_helper

from fcn_edge.calibration import calibrate, images_from_source, table_from_images
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, contract_from_onnx, onnx_from_file, save_onnx, with_metadata
from fcn_edge.registry import shelf_folder
from tests.refusals import refused


class World:
    """A network, its table and the folder that the table was made of, each a file of this test's own."""

    def __init__(self, model, images, root):
        self.model, self.images, self.table = root / "net.onnx", root / "pictures", root / "net.table.json"
        shutil.copy(model, self.model)
        shutil.copytree(images, self.images)
        table_from_images(self.model, images_from_source(str(self.images))).save(self.table)

    def calibrate(self):
        out = self.model.with_name("net.int8.onnx")
        calibrate(self.model, str(self.table), out, verify=str(self.images))
        return out

    def edit_model(self, change):
        model = onnx_from_file(self.model)
        change(model.graph)
        save_onnx(model, self.model)

    def edit_preprocess(self, **changes):
        model, spec = onnx_from_file(self.model), contract_from_onnx(self.model).spec
        other = replace(spec, preprocess=replace(spec.preprocess, **changes))
        save_onnx(with_metadata(model, METADATA_KEY, other.to_json()), self.model)

    def edit_table(self, change):
        mapping = json.loads(self.table.read_text())
        change(mapping)
        self.table.write_text(json.dumps(mapping))


@pytest.fixture
def world(onnx_file, image_folder, tmp_path):
    return World(onnx_file, image_folder, tmp_path)


def one_weight(graph):
    tensor = next(t for t in graph.initializer if t.name.endswith("score_fr.weight"))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[7] = np.nextafter(values.flat[7], np.float32(9))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def one_node(graph):
    last = graph.node[-1]
    name, last.output[0] = last.output[0], "before_last"
    graph.node.append(helper.make_node("Identity", ["before_last"], [name], "one_more"))


def hand(table):
    entry = next(iter(table["tensors"].values()))
    entry["amax"] *= 1.01


def first_hash(table):
    table["images_sha256"][0] = "0" * 64


def replace_image(world):
    cv2.imwrite(str(world.images / "street1.jpg"), np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))


MUTATIONS = {
    "weight": (lambda w: w.edit_model(one_weight), ("tiny", "graph", "weights")),
    "node": (lambda w: w.edit_model(one_node), ("tiny", "graph", "nodes")),
    "mean": (lambda w: w.edit_preprocess(mean=(127.0, 120.0, 127.0)), ("tiny", "mean", "127/127/127", "127/120/127")),
    "order": (lambda w: w.edit_preprocess(channels="bgr"), ("tiny", "channels", "rgb", "bgr")),
    "resize": (lambda w: w.edit_preprocess(resize="letterbox"), ("tiny", "resize", "stretch", "letterbox")),
    "size": (lambda w: w.edit_preprocess(height=96), ("tiny", "height", 64, 96)),
    "image": (replace_image, ("street1.jpg", "table")),
    "removed": (lambda w: (w.images / "street2.jpg").unlink(), ("street2.jpg", "table")),
    "added": (
        lambda w: shutil.copy(w.images / "street0.jpg", w.images / "a.jpg"),
        ("street0.jpg", "a.jpg", "table"),
    ),
    "amax": (lambda w: w.edit_table(hand), ("table.json", "sha256")),
    "hash": (lambda w: w.edit_table(first_hash), ("table.json", "sha256")),
    "schema": (
        lambda w: w.edit_table(lambda t: t.update(schema=2)),
        ("table.json", "schema 2", 3),
    ),
}


@pytest.mark.slow
def test_untouched_it_is_taken(world):
    assert contract_from_onnx(world.calibrate()).quantization.precision == "int8"


@pytest.mark.slow
@pytest.mark.parametrize(("change", "facts"), MUTATIONS.values(), ids=MUTATIONS)
def test_whatever_changed_is_told(world, change, facts):
    change(world)
    with refused(BadInput, *facts):
        world.calibrate()
    assert not world.model.with_name("net.int8.onnx").exists()


def test_images_are_not_verified_against_images(onnx_file, image_folder, tmp_path):
    with refused(BadInput, image_folder, "verify", "table"):
        calibrate(onnx_file, image_folder, tmp_path / "a.onnx", verify=str(image_folder))


def test_count_is_not_passed_over_for_a_table(onnx_file, table_file, tmp_path):
    with refused(BadInput, "images", 2, table_file, 4):
        calibrate(onnx_file, table_file, tmp_path / "a.onnx", count=2)


@pytest.mark.slow
def test_image_that_did_not_decode_is_no_difference(onnx_file, image_folder, tmp_path):
    (image_folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    world = World(onnx_file, image_folder, tmp_path)
    world.calibrate()


def test_no_calibration_set_hides_behind_a_table_name():
    """A name means one thing: a table where there is one, else a set."""
    tables = {path.stem for path in (shelf_folder("calib") / "tables").glob("*.json")}
    assert not tables & {path.stem for path in shelf_folder("calib").glob("*.toml")}
