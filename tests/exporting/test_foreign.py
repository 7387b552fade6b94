"""Segmentation networks made elsewhere, in every shape they come in, become contracts.

The network of these tests says the colour of its input: its three scores are the red, green and
blue that it is given, so the right class of every pixel is known without running anything.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.engines import open_engine
from fcn_edge.errors import BadInput, NotTaken
from fcn_edge.exporting import onnx_model
from fcn_edge.geometry import Sampling, align_corners, stretch
from fcn_edge.onnxfile import contract_from_onnx, takes_frames
from fcn_edge.transforms import class_map_from_scores
from tests.refusals import refused

MEAN, STD = (100.0, 120.0, 140.0), (50.0, 30.0, 70.0)
NORMALISED = f"mean = {list(MEAN)}\nstd = {list(STD)}\n"
CLASSES = 'classes = ["first", "second", "third"]\n'
TIE = 1e-4  # of normalised colours: nearer than this, a division and a product may round apart
FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64


def colour_model(*, planar=True, element=FLOAT, size=(64, 96), out="NCHW", pool=0, opset=17, batch=1, constants=False):
    """Identity on its three channels. out: "NCHW", "NHWC", or a class map "NHW", "N1HW", "NHW float"."""
    nodes, x = [], "image"
    if element == UINT8:
        nodes.append(helper.make_node("Cast", [x], ["cast"], to=FLOAT))
        x = "cast"
    if not planar:
        nodes.append(helper.make_node("Transpose", [x], ["planar_image"], perm=[0, 3, 1, 2]))
        x = "planar_image"
    identity = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weight")
    if constants:
        nodes.append(helper.make_node("Constant", [], ["weight"], value=identity))
    nodes.append(helper.make_node("Conv", [x, "weight"], ["scores"]))
    y = "scores"
    if pool:
        nodes.append(helper.make_node("AveragePool", [y], ["pooled"], kernel_shape=[pool, pool], strides=[pool, pool]))
        y = "pooled"
    y, kind = _add_tail(nodes, y, out)
    shape = [batch, 3, *size] if planar else [batch, *size, 3]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", element, shape)],
        [helper.make_tensor_value_info(y, kind, ["free"] * (3 if out.startswith("NHW") and out != "NHWC" else 4))],
        [] if constants else [identity],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _add_tail(nodes, y, out):
    if out == "NCHW":
        return y, FLOAT
    if out == "NHWC":
        nodes.append(helper.make_node("Transpose", [y], ["interleaved_scores"], perm=[0, 2, 3, 1]))
        return "interleaved_scores", FLOAT
    nodes.append(helper.make_node("ArgMax", [y], ["classes"], axis=1, keepdims=int(out == "N1HW")))
    if out == "NHW float":
        nodes.append(helper.make_node("Cast", ["classes"], ["float_classes"], to=FLOAT))
        return "float_classes", FLOAT
    return "classes", INT64


@pytest.fixture
def convert(tmp_path):
    """Writes model and spec and wraps them; gives the contract's path."""

    def run(model, spec=CLASSES):
        content = model if isinstance(model, bytes) else model.SerializeToString()
        (tmp_path / "foreign.onnx").write_bytes(content)
        if spec is not None:
            (tmp_path / "spec.toml").write_text(spec)
        given = None if spec is None else tmp_path / "spec.toml"
        return onnx_model(tmp_path / "foreign.onnx", spec=given).save(tmp_path / "contract.onnx").path

    return run


def colours():
    """(64, 96, 3) noise, and what the weights are to see of it (3, 64, 96): normalised, RGB."""
    image = np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8)
    seen = (image[:, :, ::-1].astype(np.float64) - MEAN) / STD
    return image, seen.transpose(2, 0, 1)


def assert_finds_colours(path, seen, image):
    ordered = np.sort(seen, axis=0)
    clear = ordered[-1] - ordered[-2] > TIE
    for target in ("onnxruntime", "openvino"):
        with open_engine(path, target=target) as engine:
            class_map = engine.segment(image).class_map
        np.testing.assert_array_equal(class_map[clear], seen.argmax(0)[clear], err_msg=target)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "logits"),
        ({"planar": False}, "logits"),
        ({"out": "NHWC"}, "logits"),
        ({"planar": False, "out": "NHWC"}, "logits"),
        ({"out": "NHW"}, "classes"),
        ({"out": "N1HW"}, "classes"),
        ({"out": "NHW float"}, "classes"),
        ({"opset": 11}, "logits"),
        ({"opset": 11, "out": "N1HW"}, "classes"),
        ({"opset": 21}, "logits"),
        ({"batch": "batch"}, "logits"),
        ({"constants": True}, "logits"),
    ],
    ids=str,
)
def test_network_of_any_shape_becomes_a_contract(convert, options, kind):
    path = convert(colour_model(**options), CLASSES + NORMALISED)
    model, contract = onnx.load(str(path)), contract_from_onnx(path)
    onnx.checker.check_model(model, full_check=True)
    assert takes_frames(model) and model.graph.node[0].op_type == "Cast"
    assert contract.spec.head.kind == kind and contract.spec.preprocess.size == (64, 96)
    assert contract.spec.classes == ("first", "second", "third") and contract.spec.name == "foreign"
    image, seen = colours()
    assert_finds_colours(path, seen, image)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("out", ["NCHW", "NHW"])
def test_network_of_bytes_sees_them_unchanged(convert, planar, out):
    image, _ = colours()
    path = convert(colour_model(planar=planar, element=UINT8, out=out))
    assert_finds_colours(path, image[:, :, ::-1].transpose(2, 0, 1).astype(np.float64), image)


def test_network_of_bytes_with_a_mean_in_its_spec_is_refused(convert):
    """Bytes minus a mean would wrap round without a word."""
    with refused(BadInput, "foreign.onnx", "mean", "std"):
        convert(colour_model(element=UINT8), CLASSES + NORMALISED)


@pytest.mark.parametrize("constants", [False, True])
def test_bgr_weights_see_bgr(convert, constants):
    """The spec's mean and std stay in RGB order."""
    image, seen = colours()
    path = convert(colour_model(constants=constants), CLASSES + NORMALISED + 'channels = "bgr"\n')
    assert_finds_colours(path, seen[::-1], image)


def test_colours_are_swapped_in_the_first_convolution_where_there_is_one(convert):
    folded = onnx.load(str(convert(colour_model())))
    assert "Gather" not in [node.op_type for node in folded.graph.node]
    swapped = onnx.load(str(convert(colour_model(planar=False))))
    assert "Gather" in [node.op_type for node in swapped.graph.node], "a Transpose stands between"


def test_weights_shared_by_two_convolutions_are_not_swapped(convert):
    """The second convolution works on scores, not on colours."""
    model = colour_model()
    model.graph.node.append(helper.make_node("Conv", ["scores", "weight"], ["again"]))
    model.graph.output[0].name = "again"
    image, seen = colours()
    assert_finds_colours(convert(model, CLASSES + NORMALISED), seen, image)


@pytest.mark.parametrize("size", [("h", "w"), (64, "w"), (0, 0)])
@pytest.mark.parametrize("planar", [False, True])
def test_free_size_is_fixed_by_the_spec(convert, size, planar):
    path = convert(colour_model(size=size, planar=planar), CLASSES + NORMALISED + "height = 64\nwidth = 96\n")
    image, seen = colours()
    assert_finds_colours(path, seen, image)


@pytest.mark.parametrize("corners", [False, True])
def test_small_score_map_is_sampled_as_it_was_trained(convert, corners):
    path = convert(colour_model(pool=8), CLASSES + NORMALISED + f"align_corners = {str(corners).lower()}\n")
    axis = align_corners if corners else stretch
    sampling = Sampling(axis(64, 8), axis(96, 12))
    spec = contract_from_onnx(path).spec
    assert spec.head.kind == "scores" and spec.head.sampling == sampling
    image, seen = colours()
    pooled = seen.reshape(3, 8, 8, 12, 8).mean((2, 4)).astype(np.float32)
    wanted = class_map_from_scores(pooled, sampling)
    with open_engine(path, target="onnxruntime") as engine:
        found = engine.segment(image).class_map
    assert (found == wanted).mean() > 0.999  # an average of 64 floats may round apart where classes meet


def test_small_class_map_is_enlarged(convert):
    path = convert(colour_model(pool=8, out="NHW"), CLASSES + NORMALISED)
    image, seen = colours()
    wanted = seen.reshape(3, 8, 8, 12, 8).mean((2, 4)).argmax(0)
    with open_engine(path, target="onnxruntime") as engine:
        assert (engine.segment(image).class_map == wanted.repeat(8, 0).repeat(8, 1)).all()


@pytest.mark.parametrize(("output", "turned"), [("scores", False), ("negative", True)])
def test_output_is_chosen_by_name(convert, output, turned):
    model = colour_model()
    model.graph.node.append(helper.make_node("Neg", ["scores"], ["negative"]))
    model.graph.output.append(helper.make_tensor_value_info("negative", FLOAT, [1, 3, 64, 96]))
    path = convert(model, CLASSES + NORMALISED + f'output = "{output}"\n')
    image, seen = colours()
    assert len(onnx.load(str(path)).graph.output) == 1
    assert_finds_colours(path, -seen if turned else seen, image)


def test_old_file_that_lists_its_weights_as_inputs_is_taken(convert):
    """IR version 3, as PyTorch before 1.3 and many model zoos wrote."""
    model = colour_model(opset=11)
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("weight", FLOAT, [3, 3, 1, 1]))
    image, seen = colours()
    assert_finds_colours(convert(model, CLASSES + NORMALISED), seen, image)


def mask_model(form, sigmoid):
    """One channel, red less its mean, as (1, 1, h, w), (1, h, w) or (1, h, w, 1)."""
    model = colour_model()
    weight = np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    shape = {"N1HW": [1, 1, 64, 96], "NHW": [1, 64, 96], "NHW1": [1, 64, 96, 1]}[form]
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "shape"))
    model.graph.node.append(helper.make_node("Sigmoid" if sigmoid else "Identity", ["scores"], ["even"]))
    model.graph.node.append(helper.make_node("Reshape", ["even", "shape"], ["mask"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("mask", FLOAT, shape))
    return model


@pytest.mark.parametrize(
    ("sigmoid", "threshold"), [(True, ""), (False, "threshold = 0.0\n"), (True, "threshold = 0.8\n")]
)
@pytest.mark.parametrize("form", ["N1HW", "NHW", "NHW1"])
def test_mask_of_one_channel_tells_two_classes_apart(convert, form, sigmoid, threshold):
    """Read as a class map, a probability would become class 0 everywhere."""
    path = convert(mask_model(form, sigmoid), 'classes = ["ground", "text"]\n' + NORMALISED + threshold)
    image, seen = colours()
    least = np.log(0.8 / 0.2) if "0.8" in threshold else 0.0
    clear = np.abs(seen[0] - least) > TIE
    for target in ("onnxruntime", "openvino"):
        with open_engine(path, target=target) as engine:
            found = engine.segment(image).class_map
        assert 0 < found.mean() < 1
        np.testing.assert_array_equal(found[clear], (seen[0] > least)[clear], err_msg=target)


def test_known_classes_are_taken_by_the_name_of_their_set(convert):
    model = colour_model()
    weight = np.zeros((11, 3, 1, 1), np.float32)
    weight[[2, 4, 7], [0, 1, 2]] = 1
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    spec = contract_from_onnx(convert(model, 'class_set = "camvid"\nname = "mine"\n')).spec
    assert spec.num_classes == 11 and spec.classes[8] == "car" and spec.palette[8] == (64, 0, 128)
    assert spec.name == "mine"


def test_spec_says_the_rest(convert):
    extra = """
ignore_index = 7
resize = "letterbox"
weights_terms = "mine alone"
palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
"""
    spec = contract_from_onnx(convert(colour_model(), CLASSES + NORMALISED + extra)).spec
    assert spec.ignore_index == 7 and spec.preprocess.resize == "letterbox" and spec.weights_terms == "mine alone"
    assert spec.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert spec.preprocess.mean == MEAN and spec.preprocess.std == STD


def test_network_exported_by_torch_is_taken(convert, tmp_path):
    """With batch norm, a bilinear resize to the input's size and opset 11, as older repositories export."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing exports a foreign file")
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 3, 1),
        nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
    ).eval()
    path = tmp_path / "torch.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says that this exporter is old, which is the point
        torch.onnx.export(network, (torch.zeros(1, 3, 64, 96),), str(path), dynamo=False, opset_version=11)
    image, seen = colours()
    with torch.inference_mode():
        wanted = network(torch.from_numpy(seen.astype(np.float32))[None])[0].argmax(0).numpy()
    with open_engine(convert(path.read_bytes(), CLASSES + NORMALISED), target="onnxruntime") as engine:
        found = engine.segment(image).class_map
    assert len(np.unique(wanted)) > 1 and (found == wanted).mean() > 0.999  # seams between classes may round apart


def two_inputs():
    model = colour_model()
    model.graph.input.append(helper.make_tensor_value_info("threshold", FLOAT, [1]))
    return model


def one_input_of(kind, shape):
    model = colour_model()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))
    return model


@pytest.mark.parametrize(
    ("model", "spec", "facts"),
    [
        (two_inputs(), CLASSES, ("foreign.onnx", "2 inputs", "image", "threshold")),
        (colour_model(), None, ("foreign.onnx", "spec", "classes", "mean", "std", "channels")),
        (colour_model(), NORMALISED, ("foreign.onnx", "classes", "class_set")),
        (colour_model(), 'class_set = "voc"', ("21 classes", "scores", "[1, 3, 64, 96]")),
        (colour_model(out="NHWC"), 'class_set = "camvid"', ("11 classes", "[1, 64, 96, 3]")),
        (colour_model(size=("h", "w")), CLASSES, ("foreign.onnx", "height", "width")),
        (colour_model(), CLASSES + "height = 32\n", ("64x96", "32xNone")),
        (colour_model(), CLASSES + "meen = [1.0]\n", ("spec.toml", "meen", "mean")),
        (colour_model(), CLASSES + "mean = [1.0]\n", ("mean", 3, 1)),
        (colour_model(), CLASSES + "mean = [nan, 0, 0]\n", ("spec.toml", "mean", "nan")),
        (colour_model(), CLASSES + "std = [0.0, 1.0, 1.0]\n", ("std", "[0.0, 1.0, 1.0]")),
        (colour_model(), CLASSES + "palette = [[1, 2, 3]]\n", ("1 colours", "3 classes")),
        (colour_model(), CLASSES + 'output = "nothing"\n', ("nothing", "scores")),
        (colour_model(), "classes = [", ("spec.toml", "TOML")),
        (colour_model(batch=4), CLASSES, ("foreign.onnx", "batches", 4)),
        (one_input_of(TensorProto.INT32, [1, 3, 64, 96]), CLASSES, ("image", "INT32", 4)),
        (one_input_of(FLOAT, [3, 64, 96]), CLASSES, ("image", "FLOAT", 3)),
        (one_input_of(FLOAT, [1, 4, 64, 96]), CLASSES, ("axis", "3 colours")),
        (b"plain text, no protobuf", CLASSES, ("foreign.onnx", "ONNX")),
        (b"", CLASSES, ("foreign.onnx", "empty")),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_wrapped_is_refused(convert, tmp_path, model, spec, facts):
    with refused(BadInput, *facts):
        convert(model, spec)
    assert not (tmp_path / "contract.onnx").exists()


def test_missing_spec_file_is_named(tmp_path):
    (tmp_path / "a.onnx").write_bytes(colour_model().SerializeToString())
    with refused(BadInput, "none.toml"):
        onnx_model(tmp_path / "a.onnx", spec=tmp_path / "none.toml")


def test_operator_that_no_runtime_knows_is_named(convert):
    model = colour_model()
    model.graph.node.append(helper.make_node("Sharpen", ["scores"], ["sharp"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.output[0].name = "sharp"
    with refused(NotTaken, "foreign.onnx", "com.example:Sharpen"):
        convert(model)
