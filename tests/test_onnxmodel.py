"""A network as a value: what it knows of itself, how often it is parsed, and what it writes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from fcn_edge.atomic_io import sha256_of_file
from fcn_edge.engines import EngineOptions, engine_on_target, open_engine
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.onnxmodel import OnnxModel
from tests.refusals import refused

MOST_PARSES = 3  # of a network on its way from an fp32 file to an INT8 engine directory


@pytest.fixture
def parses(monkeypatch):
    """Counts calls of onnx.load and onnx.load_model_from_string, by whatever name."""
    calls = Counter()

    def counted(function):
        def call(*args, **options):
            calls["all"] += 1
            return function(*args, **options)

        return call

    for names in (("load", "load_model"), ("load_model_from_string", "load_from_string")):
        real = getattr(onnx, names[0])
        for name in names:
            monkeypatch.setattr(onnx, name, counted(real))
    return calls


def external(path, out):
    """The same network with its weights in a file beside it."""
    onnx.save(onnx.load(str(path)), str(out), save_as_external_data=True, location=f"{out.stem}.data", size_threshold=0)
    return out


def test_model_knows_its_contract_and_its_graph(onnx_file):
    model = OnnxModel.from_file(onnx_file)
    assert model.contract == contract_from_onnx(onnx_file) and model.has_contract
    assert (model.path, model.file, model.sha256) == (onnx_file, onnx_file, sha256_of_file(onnx_file))
    assert (model.opset, model.precision, [value.name for value in model.inputs]) == (17, "fp32", ["frames"])
    for node in model.graph.node:
        assert all(model.producers[name] is node for name in node.output)
        assert all(node in model.consumers[name] for name in node.input)
    assert set(model.initializers) == {tensor.name for tensor in model.graph.initializer}


def test_file_is_saved_byte_for_byte_and_a_changed_graph_is_another_model(onnx_file, tmp_path):
    model = OnnxModel.from_file(onnx_file)
    copy = model.save(tmp_path / "a.onnx")
    assert copy.path.read_bytes() == onnx_file.read_bytes()
    proto = model.copy()
    proto.producer_name = "somebody"
    changed = model.changed(proto)
    assert changed.path == model.path and changed.file is None and changed.sha256 != model.sha256
    saved = changed.save(tmp_path / "b.onnx")
    assert saved.sha256 == changed.sha256 == sha256_of_file(tmp_path / "b.onnx")
    assert OnnxModel.from_file(tmp_path / "b.onnx").proto.producer_name == "somebody" != model.proto.producer_name


def test_model_in_memory_lies_on_disk_inside_a_block_only(onnx_file):
    model = OnnxModel.from_file(onnx_file)
    with model.on_disk() as file:
        assert file == onnx_file
    with model.changed(model.copy()).on_disk() as file:
        assert file != onnx_file and contract_from_onnx(file) == model.contract
    assert not file.exists()


@pytest.mark.parametrize("target", ["openvino", "onnxruntime", "reference"])
def test_engines_take_a_model_in_memory(onnx_file, frame, target):
    pytest.importorskip("openvino" if target == "openvino" else "onnxruntime", reason=f"{target} is not installed")
    model = OnnxModel.from_file(onnx_file)
    with (
        engine_on_target(onnx_file, target, EngineOptions()) as one,
        engine_on_target(model.changed(model.copy()), target, EngineOptions()) as other,
    ):
        assert np.array_equal(one.infer(frame[None]), other.infer(frame[None]))
        assert other.path == onnx_file and other.model_sha256 == one.model_sha256 == sha256_of_file(onnx_file)


def test_engine_of_a_changed_model_has_the_hash_of_what_runs(onnx_file):
    proto = OnnxModel.from_file(onnx_file).copy()
    proto.producer_name = "somebody"
    changed = OnnxModel.from_file(onnx_file).changed(proto)
    with open_engine(changed, target="onnxruntime") as engine:
        assert engine.model_sha256 == changed.sha256 != sha256_of_file(onnx_file)


@pytest.mark.parametrize("target", ["openvino", "onnxruntime", "reference"])
def test_weights_in_another_file_reach_engines_and_copies(onnx_file, frame, tmp_path, target):
    pytest.importorskip("openvino" if target == "openvino" else "onnxruntime", reason=f"{target} is not installed")
    (tmp_path / "parts").mkdir()
    file = external(onnx_file, tmp_path / "parts" / "net.onnx")
    model = OnnxModel.from_file(file)
    assert model.has_external_data and file.stat().st_size < onnx_file.stat().st_size / 10
    whole = model.save(tmp_path / "whole.onnx")
    assert not OnnxModel.from_file(whole.path).has_external_data
    with open_engine(onnx_file, target=target) as wanted:
        expected = wanted.infer(frame[None])
    for given in (model, whole, file):
        with open_engine(given, target=target) as engine:
            assert np.array_equal(engine.infer(frame[None]), expected)


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "words.onnx").write_text("these are words")
    with refused(BadInput, "words.onnx", "ONNX"):
        OnnxModel.from_file(tmp_path / "words.onnx")


@pytest.mark.slow
def test_packaged_network_is_parsed_at_most_three_times_on_its_way_to_an_int8_engine(parses, street, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed: no engine was built")
    from fcn_edge.build import build_engine

    images = [street(number, size=(360, 480))[0] for number in range(2)]
    manifest = build_engine(None, tmp_path / "engine", target="openvino", precision="int8", calib=images)
    assert (manifest.precision, manifest.reference.images) == ("int8", 4)
    assert 1 <= parses["all"] <= MOST_PARSES, parses
