"""Files that once came out wrong, each with the class map that ONNX Runtime gives for it."""

from __future__ import annotations

import cv2
import pytest

from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput, NotTaken
from tests.exporting.foreign_networks import (
    AGREEMENT,
    FIVE,
    TWO,
    class_map_of,
    converter,
)
from tests.refusals import refused
from tests.shared_data import SHARED


@pytest.fixture
def convert(tmp_path):
    return converter(tmp_path)


CASES = SHARED / "cases" / "onnx"


EQUAL = (
    "flat_chw",
    "func_conv",
    "func_identity",
    "name_frames",
    "name_planar",
    "op10_resize_linear",
    "op8_upsample_linear",
    "rs_tf_crop_and_resize_linear",
    "squeezed_logits",
)


def case(name):
    path = CASES / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return path


@pytest.mark.parametrize("name", EQUAL)
def test_case_gives_the_class_map_of_onnx_runtime(convert, name):
    path = case(name)
    image, wanted = cv2.imread(str(CASES / "input.png")), cv2.imread(str(path.with_suffix(".expected.png")), 0)
    assert (class_map_of(convert(path, FIVE), image) == wanted).mean() >= AGREEMENT


def test_output_of_a_case_is_chosen_by_the_spec(convert):
    path = case("auxfirst")
    image, wanted = cv2.imread(str(CASES / "input.png")), cv2.imread(str(path.with_suffix(".expected.png")), 0)
    assert (class_map_of(convert(path, FIVE + 'output = "y"\n'), image) == wanted).mean() >= AGREEMENT


@pytest.mark.parametrize(
    ("name", "spec", "facts"),
    [
        ("auxfirst", FIVE, ("aux [1, 5, 256, 320]", "y [1, 5, 256, 320]", "output =")),
        ("bin_sig255", TWO, ("0.5", "127.5")),
        ("map1based", FIVE, ("holds 5", "first_class")),
        ("mapminus1", FIVE, ("holds -1", "ignore_value")),
        ("nan", FIVE, ("NaN",)),
    ],
)
def test_case_without_one_right_answer_is_refused(convert, tmp_path, name, spec, facts):
    with refused(BadInput, *facts):
        convert(case(name), spec)
    assert not (tmp_path / "out.onnx").exists()


def test_openvinos_reason_names_the_file_and_the_engine_that_takes_it(convert, tmp_path):
    path = convert(case("rs_tf_crop_and_resize_linear"), FIVE)
    with refused(NotTaken, "tf_crop_and_resize", "onnxruntime") as caught:
        open_engine(path, target="openvino")
    assert ".cpp" not in str(caught.value)
