"""`fcn_edge.opening.open_engine`: any model in one call, and nothing left behind."""

from __future__ import annotations

import tempfile

import numpy as np
import onnx
import pytest

from fcn_edge.engines.base import EngineOptions
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.opening import open_engine
from tests.exporting.test_foreign import CLASSES, NORMALISED, colour_model
from tests.refusals import refused


@pytest.fixture
def foreign(tmp_path):
    """A network made elsewhere, and the TOML that describes it."""
    onnx.save(colour_model(), str(tmp_path / "colours.onnx"))
    (tmp_path / "colours.toml").write_text(CLASSES + NORMALISED)
    return tmp_path / "colours.onnx", tmp_path / "colours.toml"


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made; empty at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_file_made_elsewhere_opens_in_one_call_and_leaves_nothing(foreign, target, scratch):
    model, spec = foreign
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48, 0] = image[:, 48:, 2] = 200  # blue, then red: the network takes RGB
    with open_engine(model, target=target, spec=spec) as net:
        assert net.path.name == "colours.onnx" and net.target == target
        class_map = net.segment(image).class_map
        assert len(list(scratch.iterdir())) == 1
    assert (class_map[:, :48] == 2).all() and (class_map[:, 48:] == 0).all()


def test_recording_may_be_streamed_through_it(foreign):
    """Preparing for several frames reads the file again."""
    model, spec = foreign
    with open_engine(str(model), target="openvino", spec=str(spec)) as net:
        assert net.prepare(3) == 3


def test_ready_files_and_models_open_as_they_are(onnx_file, frame):
    with (
        open_engine(onnx_file, target="onnxruntime") as one,
        open_engine(OnnxModel.from_file(onnx_file), target="onnxruntime") as other,
    ):
        np.testing.assert_array_equal(one.segment(frame).class_map, other.segment(frame).class_map)
        assert one.path == other.path == onnx_file


@pytest.mark.parametrize(
    ("model", "words"),
    [(None, {"spec": "colours.toml"}), (None, {"recipe": "tiny"})],
    ids=["spec of the packaged", "recipe of the packaged"],
)
def test_argument_that_would_be_passed_over_is_refused(model, words):
    with refused(BadInput, next(iter(words))):
        open_engine(model, **words)


def test_error_names_the_file_that_was_given_and_leaves_nothing(foreign):
    model, spec = foreign
    with refused(BadInput, "f16"):
        open_engine(model, target="onnxruntime", spec=spec, options=EngineOptions("f16"))
    with refused(BackendMissing, model):
        open_engine(model, target="tensorrt", spec=spec)
