"""`fcn-edge compare` as it is typed: exit codes, the one object on stdout, what people see, foreign files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fcn_edge.onnxfile import save_onnx
from tests.refusals import assert_names

IMAGES = ("--images", "synthetic:street,seed=1,images=2,size=64x96")


@pytest.fixture
def other_mean(onnx_file, tmp_path):
    """The session's network with the mean of ImageNet in its graph and the old one in its spec."""
    model = onnx.load(str(onnx_file))
    mean = next(tensor for tensor in model.graph.initializer if tensor.name == "frames_mean")
    values = np.array([103.5, 116.3, 123.7], np.float32).reshape(1, 3, 1, 1)
    mean.CopyFrom(numpy_helper.from_array(values, mean.name))
    save_onnx(model, tmp_path / "mean.onnx")
    return tmp_path / "mean.onnx"


@pytest.mark.slow
def test_agreement_exits_0_and_says_so_in_one_object(command, onnx_file, checkpoint_file):
    done = command("compare", checkpoint_file, onnx_file, *IMAGES, "--json")
    assert done.code == 0 and done.json["agree"] is True and done.json["first"] is None
    assert done.json["agreement"] == 1 and done.json["images"] == 2 and done.json["a"]["file"] == str(checkpoint_file)
    assert done.json["layers_matched"] == len(done.json["layers"]) == done.json["layers_of_a"]
    assert done.json["limits"] == {"levels": 0.5, "sqnr_db": 60.0, "agreement": 0.999}


@pytest.mark.slow
def test_disagreement_exits_1_and_names_the_stage(command, onnx_file, other_mean, tmp_path):
    done = command("compare", onnx_file, other_mean, *IMAGES, "--out", tmp_path / "diff", "--count", "1", "--json")
    assert done.code == 1 and done.json["first"] == "mean" and done.json["images"] == 1
    assert {path.name for path in (tmp_path / "diff").iterdir()} == {"compare.json", "disagreement.png"}
    assert str(tmp_path / "diff" / "disagreement.png") in done.err


@pytest.mark.slow
def test_people_read_the_sentence_first(command, onnx_file, other_mean):
    done = command("compare", onnx_file, other_mean, *IMAGES)
    first = done.out.splitlines()[0]
    assert first.startswith("mean: ")
    assert_names(first, "127,127,127", "123.7,116.3,103.5", "23.5 levels")
    assert_names(done.out, "DIFFERS", "IoU of A", "98 tensors")
    assert done.out.rstrip().endswith("99.9 % of pixels (--min-agreement)")


@pytest.mark.slow
def test_layers_that_lose_most_are_shown_in_order_and_marked(command, onnx_file, int8_file):
    done = command("compare", onnx_file, int8_file, *IMAGES)
    assert done.code == 0
    assert_names(done.out, "SQNR", "98 tensors", 10)
    assert sum(line.startswith("│ < │") for line in done.out.splitlines()) == 3
    assert_names(done.out, "change class")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [([], 0), (["--min-agreement", "99.99"], 1), (["--min-sqnr", "50"], 1), (["--min-agreement", "50"], 0)],
)
def test_limits_decide(command, onnx_file, int8_file, words, code):
    assert command("compare", onnx_file, int8_file, *IMAGES, *words, "--json").code == code


@pytest.mark.slow
def test_mean_passes_where_levels_are_allowed(command, onnx_file, other_mean):
    done = command("compare", onnx_file, other_mean, *IMAGES, "--max-levels", "30", "--min-agreement", "0", "--json")
    assert done.code == 0 and done.json["a"]["mean"][2] == 127 and done.json["b"]["mean"][2] == pytest.approx(103.5)


@pytest.mark.slow
def test_files_made_elsewhere_are_compared_by_their_specs(command, foreign_file, spec_file, text_file):
    spec = spec_file("camvid")
    words = ("compare", foreign_file, foreign_file, *IMAGES, "--spec-a", spec, "--spec-b")
    assert command(*words, spec, "--json").code == 0
    swapped = text_file("bgr.toml", spec.read_text() + 'channels = "bgr"\n')
    done = command(*words, swapped, "--json")
    assert done.code == 1 and done.json["first"] == "colour" and done.json["b"]["file"] == str(foreign_file)


@pytest.mark.slow
def test_unrelated_networks_are_compared_layer_by_layer_as_far_as_they_go(command, onnx_file, foreign_file, spec_file):
    done = command("compare", onnx_file, foreign_file, *IMAGES, "--spec-b", spec_file("camvid"), "--json")
    assert done.code == 1 and done.json["layers"] == []
    states = {stage["name"]: stage["state"] for stage in done.json["stages"]}
    assert states["colour"] == states["network"] == "unknown"


def test_other_classes_exit_2(command, onnx_file, tmp_path, foreign_file, spec_file):
    model = onnx.load(str(foreign_file))
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(np.zeros((21, 3, 3, 3), np.float32), weights.name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 21
    save_onnx(model, tmp_path / "voc.onnx")
    done = command("compare", onnx_file, tmp_path / "voc.onnx", *IMAGES, "--spec-b", spec_file("voc"), "--json")
    done.refuses(2, "A (tiny)", "11 classes", "B (voc)", 21)


def test_nonsense_is_refused(command, onnx_file, foreign_file, spec_file, text_file):
    command("compare", onnx_file, "none.onnx", *IMAGES).refuses(2, "none.onnx")
    command("compare", onnx_file, text_file("words.onnx"), *IMAGES).refuses(2, "words.onnx", "ONNX")
    command("compare", onnx_file, foreign_file, *IMAGES).refuses(2, "foreign.onnx", "spec")
    command("compare", onnx_file, onnx_file, *IMAGES, "--spec-a", spec_file("camvid")).refuses(2, "tiny.onnx", "spec")
    command("compare", onnx_file, onnx_file, "--images", "nowhere").refuses(2, "nowhere")
    command("compare", onnx_file, onnx_file).refuses(2, "--images")
