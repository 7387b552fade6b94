"""The record behind the fake is compared with the real Python bindings of every TensorRT version.

What the adapter calls exists there, with these arguments and these numbers, or is asked for first. A wheel
that cannot be had is said and counted: $FCN_EDGE_WHEELS is where they are looked for, and pip fetches them.
"""

from __future__ import annotations

import json

import pytest

from tests.engines.fake_tensorrt import FAMILIES, record
from tests.engines.record_tensorrt import RECORD, NoWheel, surface_of, touched

# Probed for by the adapter (hasattr, or members of an enum); all else that it calls has to be everywhere.
PROBED = {
    "IBuilderConfig.progress_monitor",
    "ICudaEngine.device_memory_size",
    "ICudaEngine.device_memory_size_v2",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
    "BuilderFlag.FP16",
    "BuilderFlag.INT8",
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
}
# Called for TensorRT-RTX alone, which has it.
OF_RTX = {"IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"}


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("bindings")


@pytest.mark.parametrize("family", FAMILIES)
def test_record_is_what_the_real_bindings_have(family, scratch):
    try:
        surface = surface_of(family, scratch)
    except NoWheel as reason:
        pytest.skip(f"TensorRT {family} was not held against its real bindings: {reason}")
    assert record(family) == json.loads(json.dumps(touched(surface))), (
        "the adapter mentions other names than were recorded, or the record was edited:"
        " python -m tests.engines.record_tensorrt writes it again"
    )


def calls_made(gpu, path, tmp_path):
    """Every member that the adapter used in any version: building with all options, opening and running."""
    from tests.engines.test_plan_engine import TARGET, build_with_every_option, told

    used = set()
    for family in FAMILIES:
        found = gpu(family)
        told(path("scores"), TARGET[family])
        build_with_every_option(path("dynamic"), family, tmp_path)
        used |= {call for call in found.trt.calls if "." in call}
    return used


@pytest.mark.slow
def test_whatever_is_called_is_everywhere_or_probed_for(gpu, exported, onnx_file, tmp_path):
    files = {"scores": onnx_file, "dynamic": exported(dynamic=True)}
    used = calls_made(gpu, files.__getitem__, tmp_path)
    missing = {
        call: families
        for call in used - PROBED - OF_RTX
        if (families := [family for family in FAMILIES if call.split(".")[1] not in record(family)[call.split(".")[0]]])
    }
    assert missing == {} and len(used) > 25
    assert all(name.split(".")[1] in record("rtx")[name.split(".")[0]] for name in OF_RTX)


def test_numbers_of_flags_differ_between_versions_and_are_never_ours():
    """What a stored integer would do: STRONGLY_TYPED is bit 1 of TensorRT 10 and bit 0 of 11."""
    flags = {family: record(family)["NetworkDefinitionCreationFlag"] for family in FAMILIES}
    assert flags["10.3"]["STRONGLY_TYPED"] == 1 and flags["11.4"]["STRONGLY_TYPED"] == 0
    assert "STRONGLY_TYPED" not in flags["8.6"] and "EXPLICIT_BATCH" not in flags["11.4"]
    assert json.loads(RECORD.read_text(encoding="utf-8")).keys() == set(FAMILIES)
