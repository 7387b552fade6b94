"""The contract of a network: it survives its JSON, refuses nonsense, and is found in ONNX files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fcn_edge.errors import BadInput, first_line
from fcn_edge.geometry import Axis, Sampling
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Head, Preprocess, class_index, spec_from_json
from tests.refusals import refused

TOO_DEEP = 200_000  # brackets; Python's own parser gives up long before


@pytest.mark.parametrize("kind", ["scores", "logits", "classes"])
def test_spec_survives_its_json(make_spec, kind):
    spec = make_spec(head=Head(kind, Sampling(Axis(0.1, 1 / 3, 64), Axis(1e-9, -0.7, 96))), dynamic=True)
    again = spec_from_json(spec.to_json(), "test")
    assert again == spec and again.sha256 == spec.sha256


def test_hashes_tell_specs_apart(make_spec):
    spec, other = make_spec(), make_spec(ignore_index=3)
    assert spec.sha256 != other.sha256
    moved = make_spec(preprocess=replace(spec.preprocess, mean=(1.0, 2.0, 3.0)))
    assert moved.sha256 != spec.sha256


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"classes": ()}, ("0 classes", "1 to 255")),
        ({"classes": tuple(map(str, range(256)))}, ("256 classes", "1 to 255")),
        ({"classes": ("sky", "road")}, ("3 colours", "2 classes")),
        ({"classes": ("sky", "road", "sky")}, ("classes", "name")),
        ({"palette": ((0, 0, 0), (0, 0, 0), (0, 0, 256))}, ("palette", "0..255")),
        ({"preprocess": Preprocess(0, 96, (0.0,) * 3, (1.0,) * 3)}, ("size", "positive")),
        ({"preprocess": Preprocess(64, 96, (0.0,) * 3, (1.0, 0.0, 1.0))}, ("std", "positive")),
        ({"schema": 2}, ("schema 2", 1)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_spec_that_makes_no_sense_is_refused(make_spec, changed, facts):
    with refused(BadInput, "small", *facts):
        make_spec(**changed)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("{", ("m.onnx", "spec", "JSON")),
        ("[" * TOO_DEEP, ("m.onnx", "spec", "JSON")),
        ("[]", ("m.onnx", "list")),
        ("{}", ("m.onnx", "name", "classes", "palette", "preprocess", "head")),
    ],
    ids=["broken", "too deep", "list", "empty"],
)
def test_json_that_is_no_spec_is_refused(text, facts):
    with refused(BadInput, *facts):
        spec_from_json(text, "m.onnx")


def test_unknown_key_names_the_nearest(make_spec):
    mapping = to_mapping(make_spec())
    mapping["preprocess"]["meam"] = [0, 0, 0]
    with refused(BadInput, "m.onnx", "preprocess", "meam", "mean"):
        spec_from_json(json.dumps(mapping), "m.onnx")


def test_class_is_found_by_name_or_the_nearest_is_told(make_spec):
    assert class_index(make_spec(), "road") == 1
    with refused(BadInput, "raod", "road"):
        class_index(make_spec(), "raod")


def test_first_line_of_a_vendors_message_is_short():
    assert first_line(RuntimeError("one\ntwo")) == "one"
    assert first_line(RuntimeError("x" * 900)) == "x" * 200
    assert first_line(RuntimeError()) == "RuntimeError"
