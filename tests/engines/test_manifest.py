"""The manifest of an engine directory: typed, written once, and checked against later edits."""

from __future__ import annotations

import json

import pytest

from fcn_edge.atomic_io import with_checksum, write_json
from fcn_edge.engines.agreement import Agreement, ReferenceCheck, ReferenceLimits
from fcn_edge.engines.base import Layer
from fcn_edge.engines.manifest import BuildDevice, LayerReport, Manifest
from fcn_edge.errors import BadInput
from tests.refusals import refused

CHECK = ReferenceCheck(
    8, 30.0, 0.99, 0.98, "onnxruntime 1.31", ReferenceLimits(15.0, 0.97), Agreement(8, 30.0, 1.0, 1.0)
)
PLAN = Manifest(
    name="street",
    target="tensorrt-rtx",
    precision="int8",
    execution="f32",
    runtime="tensorrt-rtx 1.7.1",
    device=BuildDevice("NVIDIA RTX", sm=[86, 89]),
    shapes={"input": (1, 360, 480, 3)},
    flags={"tf32": False, "sm": [86, 89]},
    layer_report=LayerReport({"int8 correlation": 3}, convolutions_int8=3, plan_bytes=100),
    layers=(Layer("conv", "correlation", "int8"),),
    interval=(-0.1, 0.2),
    plan_sha256="0" * 64,
)
CPU = Manifest(target="openvino", device=BuildDevice("x", "EPYC", ("avx2",)), reference=CHECK, plan_sha256="1" * 64)
OLDEST = {  # as the first version wrote it, without a checksum
    "schema": 1,
    "name": "street",
    "target": "openvino",
    "precision": "int8",
    "execution": "f32",
    "runtime": "openvino 2024.6",
    "device": {"name": "x", "cpu": "EPYC", "instruction_sets": ["avx2"]},
    "shapes": {"input": [1, 360, 480, 3]},
    "flags": {"execution": "f32"},
    "layers": [{"name": "conv", "op": "Convolution", "precision": "i8"}],
    "kept_float": ["score"],
    "placement": None,
    "warnings": [],
    "miou": 0.75,
    "interval": None,
    "plan_sha256": "0" * 64,
    "trtexec": None,
    "weather": "a key that this version does not know",
}


@pytest.mark.parametrize("manifest", [PLAN, CPU], ids=["plan", "cpu"])
def test_written_manifest_is_read_as_it_was(manifest, tmp_path):
    saved = manifest.save(tmp_path)
    assert saved == manifest == Manifest.from_file(tmp_path)
    assert (saved.path, Manifest.from_file(tmp_path).path) == (tmp_path, tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written == manifest.to_mapping() == Manifest.from_file(tmp_path).to_mapping()
    assert "path" not in written and "seconds" not in written


def test_keys_of_the_file_are_those_of_earlier_versions(tmp_path):
    written = PLAN.to_mapping()
    assert written["story"] == {
        "kinds": {"int8 correlation": 3},
        "convolutions_int8": 3,
        "plan_bytes": 100,
        "fp32_plan_bytes": None,
    }
    assert written["device"] == {"name": "NVIDIA RTX", "sm": [86, 89]} and len(written["seal"]) == 64
    assert CPU.to_mapping()["device"] == {"name": "x", "cpu": "EPYC", "instruction_sets": ["avx2"]}


def test_manifest_of_an_earlier_version_opens(tmp_path):
    write_json(tmp_path / "manifest.json", OLDEST)
    manifest = Manifest.from_file(tmp_path)
    assert (manifest.target, manifest.kept_float, manifest.miou) == ("openvino", ("score",), 0.75)
    assert manifest.layers == (Layer("conv", "Convolution", "i8"),)
    assert (manifest.range_images, manifest.reference, manifest.layer_report) == (0, None, None)
    assert manifest.to_mapping()["weather"] == OLDEST["weather"]


def test_files_of_the_directory_are_named(tmp_path):
    assert PLAN.save(tmp_path).onnx == tmp_path / "model.int8.onnx" and PLAN.save(tmp_path).plan.name == "model.plan"
    assert CPU.save(tmp_path).onnx == tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"miou": 0.99}, ("manifest.json", "edited")),
        ({"target": "abacus"}, ("manifest.json", "abacus")),
        ({"target": None}, ("manifest.json", "target")),
    ],
)
def test_edited_manifest_is_refused(tmp_path, change, facts):
    write_json(tmp_path / "manifest.json", PLAN.to_mapping() | change)
    with refused(BadInput, *facts):
        Manifest.from_file(tmp_path)


def test_value_of_another_type_is_refused(tmp_path):
    write_json(tmp_path / "manifest.json", with_checksum(PLAN.to_mapping() | {"layers": "many"}, "seal"))
    with refused(BadInput, "manifest.json", "layers", "'many'"):
        Manifest.from_file(tmp_path)


def test_folder_without_a_manifest_is_refused(tmp_path):
    with refused(BadInput, tmp_path.name, "manifest.json"):
        Manifest.from_file(tmp_path)
