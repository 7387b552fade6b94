"""The packaged file that runs by default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fcn_edge.device import this_device
from fcn_edge.engines import EngineOptions, open_engine, packaged
from fcn_edge.engines.packaged import fastest_packaged
from fcn_edge.registry import PACKAGED_INT8, PACKAGED_NETWORK

EVERYTHING = ("avx512_vnni", "avx512_bf16")


@pytest.fixture
def cpu_has(monkeypatch):
    """A CPU with these instruction sets, and OpenVINO."""
    pytest.importorskip("openvino", reason="openvino is not installed")

    def install(*instruction_sets):
        device = replace(this_device(), instruction_sets=instruction_sets)
        monkeypatch.setattr(packaged, "this_device", lambda: device)

    return install


@pytest.mark.parametrize(
    ("instruction_sets", "model", "expected"),
    [
        (EVERYTHING, None, (PACKAGED_INT8, None)),
        (EVERYTHING, PACKAGED_NETWORK, (PACKAGED_NETWORK, "bf16")),
        (EVERYTHING, "other.onnx", ("other.onnx", None)),
        (("amx_bf16",), None, (None, "bf16")),
        (("avx2",), None, (None, None)),
    ],
)
def test_packaged_network_runs_in_what_the_cpu_has(cpu_has, instruction_sets, model, expected):
    cpu_has(*instruction_sets)
    file, options = fastest_packaged(model, "auto", EngineOptions())
    assert (file, options.execution) == expected


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("auto", EngineOptions("f32")),
        ("onnxruntime", EngineOptions()),
        ("onnxruntime", EngineOptions(provider="cuda")),
        ("reference", EngineOptions()),
    ],
)
def test_set_options_are_unchanged(cpu_has, target, options):
    cpu_has(*EVERYTHING)
    assert fastest_packaged(None, target, options) == (None, options)


@pytest.mark.slow
def test_engine_of_nothing_is_the_fastest_and_that_of_the_name_is_fp32(cpu_has):
    cpu_has("avx512_vnni")
    with open_engine() as engine, open_engine(PACKAGED_NETWORK) as named:
        assert (engine.precision, engine.execution) == ("int8", "f32")
        assert (named.precision, named.execution) == ("fp32", "f32")
