"""Files that agree, files that cannot be compared, and what a comparison writes."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from fcn_edge.comparison import compare
from fcn_edge.data import dataset_from_name
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import METADATA_KEY, save_onnx, with_metadata
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.spec import Preprocess
from tests.comparison.planting import (
    LAYER,
    ORDER,
    STREETS,
    scaled,
    states,
)
from tests.refusals import refused


@pytest.mark.slow
def test_identical_files_agree(found, onnx_file):
    same = found(onnx_file)
    assert same.first is None and same.agreement == 1 and "100% of pixels" in same.verdict
    assert set(states(same).values()) == {"same"} and list(states(same)) == ORDER
    assert same.matched == (len(same.layers), len(same.layers))
    assert {row.alone_db for row in same.layers} == {row.carried_db for row in same.layers} == {200.0}


@pytest.mark.slow
def test_checkpoint_agrees_with_its_export(found, onnx_file, checkpoint_file):
    same = found(onnx_file, checkpoint_file)
    assert same.first is None and same.agreement == 1 and same.matched[0] == same.matched[1] > 90


def test_other_classes_are_refused(planted, found, onnx_file, make_spec):
    def renamed(spec):
        return replace(spec, classes=(*spec.classes[:-1], "horse"))

    with refused(BadInput, "A (tiny)", "class 10", "bicyclist", "B (tiny)", "horse"):
        found(planted(onnx_file, spec=renamed))

    def fewer(spec):
        return replace(spec, classes=spec.classes[:-1], palette=spec.palette[:-1])

    with refused(BadInput, "A (tiny)", "11 classes", "B (tiny)", 10):
        found(planted(onnx_file, spec=fewer))


def test_graph_without_convolution_is_refused(tmp_path, onnx_file, make_spec):
    cast = helper.make_node("Cast", ["frames"], ["float"], to=TensorProto.FLOAT)
    turn = helper.make_node("Transpose", ["float"], ["scores"], perm=[0, 3, 1, 2])
    graph = helper.make_graph(
        [cast, turn],
        "colours",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, 64, 96, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3, 64, 96])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_onnx(with_metadata(model, METADATA_KEY, make_spec().to_json()), tmp_path / "colours.onnx")
    with refused(BadInput, "colours.onnx", "convolution"):
        compare(tmp_path / "colours.onnx", onnx_file, images=STREETS)


@pytest.mark.slow
def test_pictures_that_do_not_decode_are_named_and_left_out(onnx_file, tmp_path, frame):
    cv2.imwrite(str(tmp_path / "good.png"), frame)
    (tmp_path / "words.png").write_bytes(b"this is no picture")
    same = compare(onnx_file, onnx_file, images=str(tmp_path))
    assert same.images == 1 and "words.png" in same.skipped[0]
    (tmp_path / "good.png").unlink()
    with refused(BadInput, "1 images"):
        compare(onnx_file, onnx_file, images=str(tmp_path))


@pytest.mark.slow
def test_confusion_and_scores_count_every_pixel(onnx_file, int8_file):
    compared = compare(onnx_file, int8_file, "synthetic:street,seed=1,images=2,size=100x140")
    assert compared.confusion.sum() == 2 * 100 * 140
    assert np.trace(compared.confusion) / compared.confusion.sum() == pytest.approx(compared.agreement)
    value = compared.to_mapping()
    delta = np.array(value["confusion_delta"])
    assert delta.sum() == 0 and delta.any() and (delta.sum(1) == 0).all()  # rows are labels, which both share
    assert value["miou_a"] != value["miou_b"]


@pytest.mark.slow
def test_images_without_labels_leave_scores_empty(onnx_file, tmp_path, frame):
    cv2.imwrite(str(tmp_path / "good.png"), frame)
    value = compare(onnx_file, onnx_file, images=str(tmp_path)).to_mapping()
    assert value["miou_a"] is value["iou_b"] is value["confusion_delta"] is None


@pytest.mark.slow
def test_folder_holds_the_object_and_the_picture_of_the_worst_frame(found, planted, onnx_file, tmp_path):
    wrong = found(planted(onnx_file, scaled(LAYER, 3)))
    paths = wrong.save(tmp_path / "diff")
    assert json.loads(paths["json"].read_text()) == json.loads(json.dumps(wrong.to_mapping()))
    picture = cv2.imread(str(paths["png"]))
    assert picture.shape == (2 * (100 + 24), 2 * 140, 3)
    red = (picture[-100:, -140:] == (0, 0, 255)).all(2)
    assert np.array_equal(red, wrong.picture.map_a != wrong.picture.map_b)


def test_spec_knows_nearest():
    from fcn_edge.transforms import input_from_frame

    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    small = input_from_frame(image, Preprocess(2, 2, (0, 0, 0), (1, 1, 1), interpolation="nearest"))
    assert np.array_equal(small[0], image[::2, ::2])


@pytest.mark.slow
def test_images_are_arrays_or_an_open_set_and_models_may_be_in_memory(onnx_file, tmp_path):
    streets = dataset_from_name(STREETS)
    labelled = compare(OnnxModel.from_file(onnx_file), onnx_file, streets, out=tmp_path / "diff")
    assert labelled.first is None and labelled.scores[0] is not None
    assert (labelled.error, labelled.exit_code, labelled.a.file) == (None, 0, str(onnx_file))
    assert json.loads((tmp_path / "diff" / "compare.json").read_text()) == labelled.to_mapping()
    arrays = (streets.items[0].image() for _ in range(2))
    bare = compare(onnx_file, onnx_file, arrays, count=1)
    assert bare.images == 1 and bare.scores == (None, None)
