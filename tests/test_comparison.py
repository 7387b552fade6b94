"""Six faults, planted one at a time in real exported files: each is named as what first differs."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.comparison import StageLimits, compare
from fcn_edge.comparison.stages import ALLOWED
from fcn_edge.errors import BadInput
from fcn_edge.geometry import Sampling, align_corners
from fcn_edge.onnxfile import METADATA_KEY, save_onnx, spec_from_onnx, with_metadata
from fcn_edge.spec import Preprocess
from tests.refusals import assert_names, refused

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: nothing shows tensors")

STREETS = "synthetic:street,seed=1,images=2,size=100x140"  # resized on the way in, so interpolation is seen
FITTING = "synthetic:street,seed=1,images=2,size=64x96"
LAYER = "/backbone/_blocks.5/_expand_conv/Conv"
ORDER = ["frame", "resize", "colour", "mean", "std", "network", "upsample", "argmax"]


@pytest.fixture
def planted(tmp_path):
    """A copy of an ONNX file, changed by `change(model)`; `spec` changes what it says of itself."""

    def plant(source, change=lambda model: None, spec=None):
        model = onnx.load(str(source))
        change(model)
        if spec is not None:
            with_metadata(model, METADATA_KEY, spec(spec_from_onnx(model, "planted")).to_json())
        path = tmp_path / f"planted{len(os.listdir(tmp_path))}.onnx"
        save_onnx(model, path)
        return path

    return plant


@pytest.fixture
def found(onnx_file):
    """What differs between the session's fp32 file, or `a`, and `b`."""

    return lambda b, a=None, **options: compare(a or onnx_file, b, STREETS, **options)


def states(comparison):
    return {stage.name: stage.state for stage in comparison.stages}


def names_first(comparison, stage, *facts):
    """Assert: this stage is the first and only one that differs, and the verdict names these facts."""
    assert comparison.first == stage, comparison.verdict
    assert comparison.verdict.startswith(f"{stage}: ")
    assert_names(comparison.verdict, *facts)
    assert [name for name, state in states(comparison).items() if state != "same"] == [stage]


def weight(model, name):
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def set_weight(model, name, change):
    tensor = weight(model, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))


def node_of(model, name):
    return next(node for node in model.graph.node if node.name == name)


def scaled(name, factor, place=1):
    return lambda model: set_weight(model, node_of(model, name).input[place], lambda values: values * factor)


def with_preprocess(**changes):
    return lambda spec: replace(spec, preprocess=replace(spec.preprocess, **changes))


# 1: BGR for RGB


def swap_filters(model):
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    set_weight(model, stem.input[1], lambda values: values[:, ::-1])


def swap_frames(model):
    """Red and blue change places before anything else is done."""
    first = node_of(model, "frames_cast")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), "reversed"))
    model.graph.node.insert(0, helper.make_node("Gather", ["frames", "reversed"], ["swapped"], "swap", axis=3))
    first.input[0] = "swapped"


@pytest.mark.slow
@pytest.mark.parametrize("swap", [swap_filters, swap_frames])
def test_swapped_colours_are_named(planted, found, onnx_file, swap):
    names_first(found(planted(onnx_file, swap)), "colour", "B, G, R", "R, G, B")


@pytest.mark.slow
def test_swapped_colours_are_told_from_the_mean_that_stays_with_its_colour(planted, found, onnx_file):
    def with_mean(model):
        set_weight(model, "frames_mean", lambda values: np.array([103.5, 116.3, 123.7]).reshape(values.shape))

    a = planted(onnx_file, with_mean)
    names_first(found(planted(a, swap_filters), a), "colour")


@pytest.mark.slow
def test_spec_that_says_another_order_than_its_graph_has_is_named(planted, found, onnx_file):
    wrong = planted(onnx_file, spec=with_preprocess(channels="bgr"))
    names_first(found(wrong), "colour", "spec", "rgb", "bgr")


# 2: another mean


def change_mean(model):
    set_weight(model, "frames_mean", lambda values: np.array([103.5, 116.3, 123.7]).reshape(values.shape))


@pytest.mark.slow
def test_mean_that_only_the_graph_has_is_named(planted, found, onnx_file):
    facts = ("127,127,127", "123.7,116.3,103.5", "23.5 levels", "spec")
    names_first(found(planted(onnx_file, change_mean)), "mean", *facts)


@pytest.mark.slow
def test_mean_that_only_the_spec_has_is_named(planted, found, onnx_file):
    wrong = found(planted(onnx_file, spec=with_preprocess(mean=(123.7, 116.3, 103.5))))
    names_first(wrong, "mean", "123.7,116.3,103.5", "graphs", "127,127,127")
    assert wrong.agreement == 1


@pytest.mark.slow
def test_mean_of_graph_and_spec_is_named(planted, found, onnx_file):
    wrong = found(planted(onnx_file, change_mean, with_preprocess(mean=(123.7, 116.3, 103.5))))
    names_first(wrong, "mean", "23.5 levels")


@pytest.mark.slow
def test_std_is_named(planted, found, onnx_file):
    def change(model):
        set_weight(model, "frames_scale", lambda values: values * 2)

    names_first(found(planted(onnx_file, change)), "std", "128,128,128", "64,64,64")


@pytest.mark.slow
def test_half_a_level_is_no_fault_unless_asked(planted, found, onnx_file):
    def change(model):
        set_weight(model, "frames_mean", lambda values: values + 0.3)

    nearly = planted(onnx_file, change)
    assert states(found(nearly))["mean"] == "same"
    assert found(nearly, limits=StageLimits(levels=0.1)).first == "mean"


# 3: another way of resizing


@pytest.mark.slow
def test_nearest_is_named(planted, found, onnx_file):
    nearest = planted(onnx_file, spec=with_preprocess(interpolation="nearest"))
    names_first(found(nearest), "resize", "stretch, bilinear", "stretch, nearest")


@pytest.mark.slow
def test_letterbox_is_named_and_not_its_border_of_the_mean(planted, found, onnx_file):
    boxed = planted(onnx_file, spec=with_preprocess(resize="letterbox"))
    assert found(boxed).first == "resize"
    other = planted(boxed, spec=with_preprocess(mean=(0.0, 9.0, 99.0)))
    assert states(found(other, boxed))["resize"] == "same"


@pytest.mark.slow
def test_resize_nodes_inside_the_graph_are_named(planted, found, onnx_file):
    def shrink_and_enlarge(model):
        """Every second pixel twice, by nearest neighbours."""
        tensor = node_of(model, "frames_subtract_mean")
        for number, factor in enumerate((0.5, 2.0)):
            scales = np.array([1, 1, factor, factor], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(scales, f"factor{number}"))
            made = helper.make_node(
                "Resize", [tensor.input[0], "", f"factor{number}"], [f"sized{number}"], mode="nearest"
            )
            position = list(model.graph.node).index(tensor)
            model.graph.node.insert(position, made)
            tensor = node_of(model, "frames_subtract_mean")
            tensor.input[0] = f"sized{number}"

    coarse = planted(onnx_file, shrink_and_enlarge)
    names_first(found(coarse), "resize", "Resize (nearest), Resize (nearest)", "first layer")


@pytest.mark.slow
def test_other_sizes_are_named_and_layers_left_alone(found, exported):
    wider = found(exported(size=(64, 128)))
    assert wider.first == "resize"
    assert_names(wider.verdict, "64x96", "64x128")
    assert_names(wider.stages[5].finding, "layers", "sizes")
    assert wider.layers == () and 0 < wider.agreement < 1


# 4: align_corners


@pytest.mark.slow
def test_align_corners_in_the_geometry_is_named(planted, found, onnx_file):
    def flip(spec):
        (height, width), cells = spec.preprocess.size, (8, 12)
        corners = Sampling(align_corners(height, cells[0]), align_corners(width, cells[1]))
        return replace(spec, head=replace(spec.head, sampling=corners))

    names_first(found(planted(onnx_file, spec=flip)), "upsample", "0.44 cells", "score map")


def with_resize(corners):
    """The last, learned-form layer of a `logits` file as a Resize node."""

    def change(model):
        node = node_of(model, "/network/upscore8/ConvTranspose")
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 8, 8], np.float32), "eight"))
        mode = "align_corners" if corners else "half_pixel"
        made = helper.make_node(
            "Resize",
            [node.input[0], "", "eight"],
            list(node.output),
            "/upscore8/Resize",
            mode="linear",
            coordinate_transformation_mode=mode,
        )
        node.CopyFrom(made)

    return change


@pytest.mark.slow
def test_align_corners_of_a_resize_node_is_named(planted, found, exported):
    a, b = (planted(exported(head="logits"), with_resize(corners)) for corners in (False, True))
    names_first(
        found(b, a),
        "upsample",
        "layer /upscore8/Resize (Resize)",
        "coordinate_transformation_mode",
        "half_pixel",
        "align_corners",
    )


@pytest.mark.slow
def test_scores_against_logits_show_an_upsampling_fault_of_the_other_graph(planted, onnx_file, exported):
    logits = exported(head="logits")
    assert compare(onnx_file, logits, images=FITTING).first is None
    wrong = compare(onnx_file, planted(logits, with_resize(True)), images=FITTING)
    names_first(wrong, "upsample", "scores")


@pytest.mark.slow
def test_other_grids_are_named_where_they_change_pixels_of_larger_frames(found, exported):
    compared = found(exported(head="logits"))
    names_first(compared, "upsample", "99.90%", "8x12", "64x96")
    assert compared.agreement > 0.99
    assert found(exported(head="logits"), limits=StageLimits(agreement=0.99)).first is None


# 5: one layer


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.05, 3.0])
@pytest.mark.parametrize("layer", [LAYER, "/backbone/_conv_stem/Conv", "/score_fr/Conv"])
def test_scaled_layer_is_named_and_no_other(planted, found, onnx_file, layer, factor):
    wrong = found(planted(onnx_file, scaled(layer, factor)))
    names_first(wrong, "network", f"layer {layer} (Conv)", f"times {factor:g}", "weights")
    assert [row.name for row in wrong.layers if row.alone_db < 200] == [layer]
    carried = [row for row in wrong.layers if row.carried_db < 200]
    assert carried[0].name == layer


@pytest.mark.slow
def test_scaled_layer_of_an_int8_file_is_named(planted, found, onnx_file, int8_file):
    def change(model):
        dequantize = next(node for node in model.graph.node if node_of(model, LAYER).input[1] in node.output)
        set_weight(model, dequantize.input[1], lambda values: values * 1.5)

    wrong = found(planted(int8_file, change))
    names_first(wrong, "network", f"layer {LAYER} (Conv)", "times 1.5")


@pytest.mark.slow
def test_faults_before_a_layer_do_not_hide_or_move_it(planted, found, onnx_file):
    both = found(planted(planted(onnx_file, change_mean), scaled(LAYER, 2)))
    assert both.first == "mean" and "network" in both.verdict
    assert f"layer {LAYER} (Conv)" in both.stages[5].finding


# 6: arg-max over another axis


def along_height(model):
    node = node_of(model, "/ArgMax")
    next(a for a in node.attribute if a.name == "axis").i = 2
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    for size in (1, 11, 96):
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classes", "logits", "scores"])
def test_argmax_over_another_axis_is_named(planted, found, exported, onnx_file, head):
    a = onnx_file if head == "scores" else exported(head=head)
    wrong = found(planted(exported(head="classes"), along_height), a)
    names_first(wrong, "argmax", "B's graph", "axis 2", "(1, 11, 64, 96)", "axis 1")


@pytest.mark.slow
def test_argmax_of_the_reference_is_named_as_well(planted, found, exported):
    wrong = found(exported(head="classes"), planted(exported(head="classes"), along_height))
    assert wrong.first == "argmax" and "axis 2" in wrong.verdict


# Where there is no fault


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


@pytest.mark.slow
def test_int8_differs_by_quantization_noise_alone(found, int8_file):
    quantized = found(int8_file)
    assert quantized.first is None, quantized.verdict
    assert "quantization noise" in quantized.verdict and f"{quantized.agreement:.2%}" in quantized.verdict
    assert quantized.matched[0] == quantized.matched[1]
    assert ALLOWED["int8"][0] < min(row.alone_db for row in quantized.layers) < 60
    assert quantized.limits == StageLimits(0.5, *ALLOWED["int8"])


@pytest.mark.slow
def test_agreement_below_the_asked_limit_is_the_networks_noise(found, int8_file):
    strict = found(int8_file, limits=StageLimits(agreement=0.9999))
    assert strict.first == "network" and "/backbone/" in strict.verdict


@pytest.mark.slow
def test_half_precision_agrees(found, onnx_file, tmp_path):
    from fcn_edge.calibration import quantized_file

    half = found(quantized_file(onnx_file, tmp_path / "half.onnx", precision="fp16").path)
    assert half.first is None and half.limits == StageLimits(0.5, *ALLOWED["half"])


@pytest.fixture(scope="module")
def engine_directory(onnx_file, tmp_path_factory):
    pytest.importorskip("openvino", reason="openvino is not installed: no engine to compare")
    from fcn_edge.build import build_engine

    out = tmp_path_factory.mktemp("built") / "engine"
    return build_engine(onnx_file, out, target="openvino", precision="fp32").path


@pytest.mark.slow
def test_engine_shows_no_layers_and_is_judged_by_its_outputs(found, planted, onnx_file, engine_directory):
    same = found(engine_directory)
    assert same.first is None and same.agreement > 0.999 and same.layers == ()
    network = same.stages[5]
    assert network.state == "unknown" and "B (openvino" in network.finding and "tensors" in network.finding
    wrong = found(engine_directory, planted(onnx_file, scaled(LAYER, 3)))
    assert wrong.first == "network" and "model.onnx" in wrong.verdict
    assert found(engine_directory, planted(onnx_file, change_mean)).first == "mean"


# What cannot be compared


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


# What is written


@pytest.mark.slow
def test_confusion_and_scores_count_every_pixel(found, int8_file):
    compared = found(int8_file)
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
