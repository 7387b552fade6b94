"""ONNX files with their contract: read, refused, written whole."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fcn_edge import onnxfile
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import (
    METADATA_KEY,
    QUANTIZATION_KEY,
    Quantization,
    contract_from_onnx,
    onnx_from_file,
    precision_of_graph,
    takes_frames,
)
from fcn_edge.schema import to_mapping
from tests.refusals import refused


def onnx_model(inputs=(("frames", TensorProto.UINT8, [1, 64, 96, 3]),), *, half=False, **metadata):
    """A graph that casts its first input; `metadata` goes into the file."""
    values = [helper.make_tensor_value_info(*one) for one in inputs]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Cast", [inputs[0][0]], ["x"], "cast", to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Add", ["x", "one"], ["y"], "add"))
    kind = np.float16 if half else np.float32
    graph = helper.make_graph(nodes, "g", values, [out], [numpy_helper.from_array(np.ones(1, kind), "one")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


@pytest.fixture
def write_model(tmp_path):
    def write(model):
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "m.onnx"

    return write


@pytest.mark.parametrize(
    ("content", "fact"),
    [(b"", "empty"), (b"plain text, no protobuf", "ONNX"), (b"\x08\x08", "graph")],
    ids=["empty", "text", "no graph"],
)
def test_what_is_no_onnx_file_is_refused(tmp_path, content, fact):
    (tmp_path / "m.onnx").write_bytes(content)
    with refused(BadInput, "m.onnx", fact):
        onnx_from_file(tmp_path / "m.onnx")


def test_truncated_onnx_file_is_refused(write_model):
    path = write_model(onnx_model())
    path.write_bytes(path.read_bytes()[:-5])
    with refused(BadInput, "m.onnx", "ONNX"):
        onnx_from_file(path)


def test_onnx_file_without_its_external_data_is_refused(tmp_path):
    model = onnx_model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with refused(BadInput, "m.onnx", "weights.bin"):
        onnx_from_file(tmp_path / "m.onnx")


@pytest.mark.parametrize("linked", ["data", "both into a cache"])
def test_external_data_behind_a_link_is_read_as_onnx_runtime_reads_it(tmp_path, linked):
    """Model caches keep files under their hash, and links of the right names beside each other."""
    model = onnx_model()
    store = tmp_path / ("blobs" if linked == "both into a cache" else "named")
    named = tmp_path / "named"
    store.mkdir(exist_ok=True)
    named.mkdir(exist_ok=True)
    onnx.save(model, named / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (named / "weights.bin").rename(store / "hash1")
    (named / "weights.bin").symlink_to(store / "hash1")
    if linked == "both into a cache":
        (named / "m.onnx").rename(store / "hash2")
        (named / "m.onnx").symlink_to(store / "hash2")
    read = onnx_from_file(named / "m.onnx")
    for found, wanted in zip(read.graph.initializer, onnx_model().graph.initializer, strict=True):
        assert (numpy_helper.to_array(found) == numpy_helper.to_array(wanted)).all()


@pytest.mark.parametrize("location", ["../secret.bin", "link.bin"])
def test_external_data_outside_the_models_folder_is_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = onnx_model()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(folder / "m.onnx", load_external_data=False)
    for tensor in stored.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "m.onnx").write_bytes(stored.SerializeToString())
    with refused(BadInput, "m.onnx", location, "folder"):
        onnx_from_file(folder / "m.onnx")


def test_onnx_file_beyond_the_limit_is_not_read(write_model, monkeypatch):
    monkeypatch.setattr(onnxfile, "MAX_ONNX_MB", 0)
    with refused(BadInput, "m.onnx", "0 MB"):
        onnx_from_file(write_model(onnx_model()))


def test_contract_is_read_from_a_file(write_model, make_spec):
    spec = make_spec()
    contract = contract_from_onnx(write_model(onnx_model(**{METADATA_KEY: spec.to_json()})))
    assert contract.spec == spec
    assert contract.quantization == Quantization("fp32")


def test_quantization_is_read_from_a_file(write_model, make_spec):
    quantization = Quantization("int8", "any", "percentile", "t", "s", ("conv",))
    entries = {METADATA_KEY: make_spec().to_json(), QUANTIZATION_KEY: json.dumps(to_mapping(quantization))}
    assert contract_from_onnx(write_model(onnx_model(**entries))).quantization == quantization


@pytest.mark.parametrize(
    ("text", "facts"),
    [("{", ("JSON",)), ('{"precision": "int9"}', ("precision", "int9", "int8-fp16")), ("3", ("int",))],
    ids=["broken", "unknown", "number"],
)
def test_broken_quantization_entry_is_named(write_model, make_spec, text, facts):
    path = write_model(onnx_model(**{METADATA_KEY: make_spec().to_json(), QUANTIZATION_KEY: text}))
    with refused(BadInput, "m.onnx", QUANTIZATION_KEY, *facts):
        contract_from_onnx(path)


def test_file_without_contract_says_how_to_give_one(write_model):
    with refused(BadInput, "m.onnx", "spec"):
        contract_from_onnx(write_model(onnx_model()))


def test_file_with_spec_but_float_input_has_no_contract(write_model, make_spec):
    """`--io plain` keeps the spec in its metadata; its input is no frame."""
    model = onnx_model((("x0", TensorProto.FLOAT, [1, 3, 64, 96]),), **{METADATA_KEY: make_spec().to_json()})
    with refused(BadInput, "m.onnx", "spec"):
        contract_from_onnx(write_model(model))


@pytest.mark.parametrize(
    ("inputs", "yes"),
    [
        ([("a", TensorProto.UINT8, [1, 64, 96, 3])], True),
        ([("a", TensorProto.UINT8, ["n", "h", "w", 3])], True),
        ([("a", TensorProto.UINT8, [1, 3, 64, 96])], False),
        ([("a", TensorProto.FLOAT, [1, 64, 96, 3])], False),
        ([("a", TensorProto.UINT8, [64, 96, 3])], False),
        ([("a", TensorProto.UINT8, [1, 64, 96, 3]), ("b", TensorProto.FLOAT, [1])], False),
    ],
    ids=["fixed", "free", "planar", "float", "no batch", "two inputs"],
)
def test_frames_are_one_uint8_nhwc_input(inputs, yes):
    assert takes_frames(onnx_model(inputs)) is yes


def test_weights_listed_as_inputs_are_none():
    """As files of IR version 3 do."""
    model = onnx_model()
    model.graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, [1]))
    assert takes_frames(model)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_precision_is_told_by_the_nodes(half, quantized):
    model = onnx_model(half=half)
    if quantized:
        model.graph.node[1].op_type = "QuantizeLinear"
    wanted = {(False, False): "fp32", (True, False): "fp16", (False, True): "int8", (True, True): "int8-fp16"}
    assert precision_of_graph(model) == wanted[half, quantized]
