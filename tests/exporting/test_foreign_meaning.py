"""A foreign file means in its contract what it meant to ONNX Runtime, or it is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput
from tests.exporting.foreign_networks import (
    AGREEMENT,
    FIVE,
    FLOAT,
    INT64,
    NORMALISED,
    SIZE,
    TWO,
    argmax,
    class_map_of,
    converter,
    network,
)
from tests.progress import RecordedProgress
from tests.refusals import refused


@pytest.fixture
def convert(tmp_path):
    return converter(tmp_path)


@pytest.fixture
def image():
    return np.random.default_rng(2).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture
def wanted(convert, image):
    """The class map of the five scores themselves."""
    return class_map_of(convert(network(), FIVE), image)


@pytest.mark.parametrize(
    ("shape", "perm"),
    [
        ([5, *SIZE], None),
        ([1, 5, SIZE[0] * SIZE[1]], None),
        ([1, SIZE[0] * SIZE[1], 5], (0, 2, 3, 1)),
        ([*SIZE, 5], (0, 2, 3, 1)),
        ([1, *SIZE, 5], (0, 2, 3, 1)),
    ],
    ids=str,
)
def test_scores_of_any_certain_layout_are_read(convert, image, wanted, shape, perm):
    tail = [helper.make_node("Transpose", ["scores"], ["moved"], perm=perm)] if perm else []
    tail.append(helper.make_node("Reshape", ["moved" if perm else "scores", "shape"], ["y"]))
    model = network(tail, [("y", FLOAT, len(shape))], weights={"shape": np.array(shape)})
    assert (class_map_of(convert(model, FIVE), image) == wanted).all()


@pytest.mark.parametrize("shape", [[*SIZE], [1, *SIZE], [1, 1, *SIZE], [1, *SIZE, 1]], ids=str)
@pytest.mark.parametrize("kind", [INT64, TensorProto.INT32, TensorProto.UINT8, FLOAT])
def test_class_map_of_any_form_is_read(convert, image, wanted, shape, kind):
    tail = argmax(
        helper.make_node("Reshape", ["best", "shape"], ["map"]), helper.make_node("Cast", ["map"], ["y"], to=kind)
    )
    model = network(tail, [("y", kind, len(shape))], weights={"shape": np.array(shape)})
    assert (class_map_of(convert(model, FIVE), image) == wanted).all()


def shifted(by):
    return network(
        argmax(helper.make_node("Add", ["best", "by"], ["y"])), [("y", INT64, 3)], weights={"by": np.array(by)}
    )


def test_class_map_from_one_is_shifted_where_the_spec_says_so(convert, image, wanted):
    path = convert(shifted(1), FIVE + "first_class = 1\n")
    assert (class_map_of(path, image) == wanted).all()


def test_value_without_a_class_becomes_the_ignore_index(convert, image, wanted):
    tail = argmax(
        helper.make_node("Equal", ["best", "three"], ["is_three"]),
        helper.make_node("Where", ["is_three", "none", "best"], ["y"]),
    )
    model = network(tail, [("y", INT64, 3)], weights={"three": np.array(3), "none": np.array(-1)})
    found = class_map_of(convert(model, FIVE + "ignore_value = -1\n"), image)
    assert (found == np.where(wanted == 3, 255, wanted)).all() and (found == 255).any()


@pytest.mark.parametrize("by", [1, -1, 250])
def test_class_map_beyond_the_classes_is_refused(convert, by):
    with refused(BadInput, "net.onnx", "first_class", "ignore_value", "0 to 4"):
        convert(shifted(by), FIVE)


def test_arg_max_over_another_number_of_classes_is_refused(convert):
    model = network(argmax(), [("best", INT64, 3)], classes=4)
    with refused(BadInput, "best", "4 classes", 5):
        convert(model, FIVE)


def test_class_map_whose_first_class_no_picture_shows_asks_for_it(convert):
    """A map that holds 0 to 3 could count from 0 or have 0 for "none"."""
    tail = [helper.make_node("Min", ["best", "three"], ["y"])]
    model = network(argmax(*tail), [("y", INT64, 3)], weights={"three": np.array(3)})
    with refused(BadInput, "net.onnx", "first_class = 0", 5):
        convert(model, FIVE)
    assert convert(model, FIVE + "first_class = 0\n").is_file()


def test_float_output_of_a_map_that_is_no_class_is_refused(convert):
    tail = [helper.make_node("ReduceMax", ["scores"], ["y"], axes=[1], keepdims=0)]
    with refused(BadInput, "output y", "[1, 32, 48]", "-0.3487"):
        convert(network(tail, [("y", FLOAT, 3)]), FIVE)


@pytest.mark.parametrize("classes", ['classes = ["person"]\n', 'classes = ["a", "b", "c"]\n'])
def test_one_channel_with_one_or_three_classes_is_refused(convert, classes):
    with pytest.raises(BadInput):
        convert(network(classes=1), classes + NORMALISED)


def mask(*tail, weights=()):
    nodes = [helper.make_node(op, [name, *extra], [made]) for op, name, extra, made in tail]
    return network(nodes, [(tail[-1][3] if tail else "scores", FLOAT, 4)], weights=weights, classes=1)


SIGMOID = ("Sigmoid", "scores", (), "p")
MASKS = {
    "probability": mask(SIGMOID),
    "logit": mask(),
    "0..255": mask(SIGMOID, ("Mul", "p", ("k",), "y"), weights={"k": np.float32(255)}),
    "percent": mask(SIGMOID, ("Div", "p", ("k",), "y"), weights={"k": np.float32(0.01)}),
}


@pytest.mark.parametrize(
    ("kind", "threshold", "is_right"),
    [
        ("probability", None, True),
        ("probability", 0.8, True),
        ("probability", 1.5, False),
        ("probability", 0.0, False),
        ("logit", 0.0, True),
        ("logit", None, False),
        ("logit", 0.5, False),
        ("logit", -0.7, True),
        ("0..255", None, False),
        ("0..255", 0.5, False),
        ("0..255", 128.0, True),
        ("0..255", 300.0, False),
        ("percent", 50.0, True),
        ("percent", None, False),
    ],
)
def test_threshold_of_a_mask_fits_its_range_or_is_refused(convert, image, kind, threshold, is_right):
    spec = TWO + ("" if threshold is None else f"threshold = {threshold}\n")
    if not is_right:
        with refused(BadInput, "net.onnx", "mask", "threshold = "):
            convert(MASKS[kind], spec)
        return
    logit = convert(MASKS["logit"], TWO + "threshold = 0.0\n")
    with open_engine(logit, target="onnxruntime") as engine:
        scores = engine.infer(image[None])[0, 1]
    probability = 1 / (1 + np.exp(-scores))
    limit = 0.5 if threshold is None else threshold
    seen = {"probability": probability, "logit": scores, "0..255": 255 * probability, "percent": 100 * probability}
    assert ((seen[kind] > limit) == class_map_of(convert(MASKS[kind], spec), image)).mean() >= AGREEMENT


def warnings_of(convert, model, spec):
    progress = RecordedProgress()
    convert(model, spec, progress=progress)
    return progress.notes


def test_mean_as_if_pixels_were_0_to_1_is_warned_of(convert):
    spec = 'classes = ["a", "b", "c", "d", "e"]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n'
    (text,) = warnings_of(convert, network(), spec)
    assert "123.675" in text and "1137" in text  # the usual mean, and (255 - 0.406) / 0.224


def test_neither_mean_nor_std_is_warned_of_unless_the_spec_says_that_it_is_meant(convert):
    classes = 'classes = ["a", "b", "c", "d", "e"]\n'
    (text,) = warnings_of(convert, network(), classes)
    assert "0..255" in text and "123.675" in text
    assert warnings_of(convert, network(), classes + "mean = [0, 0, 0]\n") == []
    assert warnings_of(convert, network(), FIVE) == []


def test_half_precision_network_is_taken(convert, image, wanted):
    half = TensorProto.FLOAT16
    found = class_map_of(convert(network(element=half, outputs=[("scores", half, 4)]), FIVE), image)
    assert (found == wanted).mean() >= 0.98  # half precision rounds scores


def test_double_precision_input_is_taken(convert, image, wanted):
    model = network()
    model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["x"], to=FLOAT))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.DOUBLE, [1, 3, *SIZE]))
    assert (class_map_of(convert(model, FIVE), image) == wanted).all()


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_grey_input_is_made_of_the_colours(convert, image, target):
    spec = 'classes = ["c0", "c1", "c2", "c3", "c4"]\nmean = [110.0]\nstd = [50.0]\n'
    model = network(shape=[1, 1, *SIZE])
    kernel = numpy_helper.to_array(model.graph.initializer[0])
    grey = image.astype(np.float64) @ (0.114, 0.587, 0.299)
    scores = ((grey - 110) / 50)[None] * kernel[:, 0, 0, 0].reshape(-1, 1, 1)
    assert (class_map_of(convert(model, spec), image, target) == scores.argmax(0)).mean() >= AGREEMENT


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layout_of_an_open_input_is_said_by_the_spec(convert, image, wanted, layout):
    model = network()
    if layout == "NHWC":
        model.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
    name = "image" if layout == "NHWC" else "x"
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, FLOAT, ["n", "a", "b", "c"]))
    with refused(BadInput, "net.onnx", "layout", "NCHW", "NHWC"):
        convert(model, FIVE + "height = 32\nwidth = 48\n")
    spec = FIVE + f'height = 32\nwidth = 48\nlayout = "{layout}"\n'
    assert (class_map_of(convert(model, spec), image) == wanted).all()


def test_group_normalisation_of_opset_18_is_taken(convert, image):
    tail = [helper.make_node("GroupNormalization", ["scores", "s", "b"], ["y"], num_groups=5)]
    weights = {"s": np.linspace(1, 2, 5, dtype=np.float32), "b": np.linspace(0, 1, 5, dtype=np.float32)}
    path = convert(network(tail, [("y", FLOAT, 4)], weights=weights, opset=18), FIVE)
    assert (class_map_of(path, image) == class_map_of(path, image, "openvino")).mean() >= AGREEMENT


def test_operator_of_another_domain_is_not_taken_for_onnxs_own(convert, image):
    """com.microsoft's Pad mirrors where ONNX's pads with zeros: it is no border that a convolution could take over."""
    tail = [
        helper.make_node("Pad", ["scores", "pads"], ["wide"], mode="reflect", domain="com.microsoft"),
        helper.make_node("Conv", ["wide", "blur"], ["y"]),
    ]
    weights = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "blur": np.full((5, 5, 3, 3), 0.1, np.float32)}
    model = network(tail, [("y", FLOAT, 4)], weights=weights)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    kept = onnx.load(str(convert(model, FIVE))).graph.node
    assert ("com.microsoft", "Pad") in [(node.domain, node.op_type) for node in kept]


def test_nodes_without_names_get_some(convert):
    path = convert(network([helper.make_node("Relu", ["scores"], ["y"])], [("y", FLOAT, 4)]), FIVE)
    names = [node.name for node in onnx.load(str(path)).graph.node]
    assert all(names) and len(set(names)) == len(names)
