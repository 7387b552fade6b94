"""Networks of other libraries, exported as their users do: the same class maps, and INT8 on both CPU engines."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to export")
pytest.importorskip("openvino", reason="openvino is not installed: pip install 'fcn-edge[cpu]'")

ROOT = Path(__file__).resolve().parents[1]
FOUND = importlib.util.spec_from_file_location("interop", ROOT / "benchmarks/interop.py")
interop = importlib.util.module_from_spec(FOUND)
FOUND.loader.exec_module(interop)
interop_networks = sys.modules["benchmarks.interop_networks"]

# Shares of pixels: between engines only ties of float32 sums may fall otherwise.
LEAST_EQUAL = 0.999
# A reference run and an engine of one INT8 file, in dB: two right engines differ by roundings, which random weights
# amplify; a wrong one was at 2 dB and below.
LEAST_DB = 12.0
# An engine may be so much further from fp32 than the file that it runs, in dB; a wrong one was 10 dB further.
FURTHER_DB = 1.0
HANDFUL = (
    "smp Unet, resnet18",
    "smp FPN, efficientnet-b0",
    "smp Segformer, mit_b0",
    "torchvision lraspp_mobilenet_v3_large",
    "transformers Segformer",
)
CONCATENATING = ("smp UnetPlusPlus, resnet18", "smp MAnet, resnet18", "smp UPerNet, resnet18")
SIZE = (64, 96)


def installed(name):
    family = next(family for family in interop_networks.FAMILIES if family.name == name)
    pytest.importorskip(family.package, reason=f"{family.package} is not installed: pip install 'fcn-edge[interop]'")
    return family


def tiny(build=None, size=SIZE):
    """A family that needs nothing but torch: a stem, a ReLU and scores at half the size."""

    def layers():
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, interop_networks.CLASSES, 1),
        )

    return interop_networks.Family("tiny", "torch", build or layers, size)


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDFUL)
@pytest.mark.parametrize("exporter", interop_networks.EXPORTERS)
def test_exported_network_is_right_in_fp32_and_int8_on_both_engines(name, exporter):
    family = installed(name)
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'fcn-edge[interop]'")
    row = interop.row_of_family(family, exporters=(exporter,))
    assert [file["variant"] for file in row["files"]] == list(interop_networks.VARIANTS)
    for file in row["files"]:
        assert "exporter_error" not in file and file["refused"] is None, file
        assert file["classes_seen"] > 1
        for figures in file["fp32"].values():
            assert figures["worst"] >= LEAST_EQUAL, file
    for figures in row["files"][0]["int8"].values():
        assert figures["refused"] is None and figures["engine"][0] > LEAST_DB, figures
    integers, convolutions = row["files"][0]["int8"]["openvino"]["convolutions"]
    assert integers == convolutions > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CONCATENATING)
def test_each_engine_is_as_near_to_fp32_as_the_int8_file_that_it_runs(name):
    row = interop.row_of_family(installed(name), exporters=("TorchScript",), variants=("default",))
    for figures in row["files"][0]["int8"].values():
        assert figures["refused"] is None, figures
        assert figures["whole"][0] > figures["file"][0] - FURTHER_DB, figures


def test_every_family_is_named_once_and_fits_its_package():
    names = [family.name for family in interop_networks.FAMILIES]
    assert len(set(names)) == len(names) and set(HANDFUL + CONCATENATING) <= set(names)
    assert {family.package for family in interop_networks.FAMILIES} == {
        "segmentation_models_pytorch",
        "torchvision",
        "transformers",
    }


@pytest.fixture(scope="module")
def tiny_row():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interop, "CALIBRATION", "synthetic:street,seed=2,images=2")
        patch.setattr(interop, "COMPARED", "synthetic:street,seed=1,images=2")
        return interop.row_of_family(tiny(), exporters=("TorchScript",), variants=("default", "free size"))


def test_row_holds_fp32_of_every_file_and_int8_of_the_default_one(tiny_row):
    default, free = tiny_row["files"]
    for file in (default, free):
        assert file["refused"] is None and file["head"] == "scores" and file["classes_seen"] > 1
        assert all(figures["worst"] >= LEAST_EQUAL for figures in file["fp32"].values())
    assert "int8" not in free
    for target in interop.TARGETS:
        figures = default["int8"][target]
        assert figures["refused"] is None and figures["engine"][0] > LEAST_DB
        assert 0 < figures["convolutions"][0] <= figures["convolutions"][1] == 2
    json.dumps(tiny_row, allow_nan=False)


def test_weights_are_the_same_each_time_and_no_class_is_ahead():
    family = tiny()
    images = interop.pictures(interop.COMPARED, SIZE)
    first, second = (interop_networks.network_of(family, images) for _ in range(2))
    x = torch.from_numpy(np.concatenate([interop_networks.network_input(image) for image in images]))
    with torch.no_grad():
        scores = first(x)
        assert torch.equal(scores, second(x))
    assert scores.mean((0, 2, 3)).abs().max() < 1e-5


def test_other_weights_in_the_contract_are_noticed(tmp_path):
    family = tiny()
    images = interop.pictures(interop.COMPARED, SIZE)
    network = interop_networks.network_of(family, images)
    file = interop_networks.exported(network, family, "TorchScript", "default", tmp_path)
    wanted = interop.plain_class_maps(file.path, family, images)
    with torch.no_grad():
        network[2].weight.copy_(network[2].weight.roll(1, 0))
    other = interop_networks.exported(network, family, "TorchScript", "default", tmp_path)
    contract = (
        interop.onnx_model(other.path, spec=interop.spec_beside(other.path, family)).save(tmp_path / "c.onnx").path
    )
    assert interop.fp32_on("onnxruntime", contract, images, wanted)["agreement"] < LEAST_EQUAL


def test_a_refusal_is_kept_in_its_words_without_folders(tmp_path):
    class Rows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, interop_networks.CLASSES, 1)

        def forward(self, x):
            return self.layer(x).flatten(2).transpose(1, 2).flatten(1)

    family = tiny(Rows)
    file = interop_networks.exported(Rows().eval(), family, "TorchScript", "default", tmp_path)
    entry = interop.measured_file(file, family, True, tmp_path)
    assert entry["is_ours"] and file.path.name in entry["refused"] and str(tmp_path) not in entry["refused"]
    assert "fp32" not in entry and "int8" not in entry


def test_what_the_exporter_cannot_write_is_its_own_error():
    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, interop_networks.CLASSES, 1)

        def forward(self, x):
            return torch.nn.functional.interpolate(
                torch.nn.functional.adaptive_avg_pool2d(self.layer(x), (7, 7)), x.shape[2:]
            )

    row = interop.row_of_family(tiny(Pooled), exporters=("TorchScript",), variants=("default",))
    assert "adaptive_avg_pool2d" in row["files"][0]["exporter_error"]


def test_record_goes_on_with_what_it_lacks(monkeypatch, capsys):
    families = (tiny(), interop_networks.Family("absent", "no_such_package", tiny().build))
    monkeypatch.setattr(interop, "FAMILIES", families)
    assert interop.chosen({"rows": []}, None) == [families[0]]
    assert "no_such_package" in capsys.readouterr().err
    assert interop.chosen({"rows": [{"family": "tiny"}]}, None) == []
    assert interop.chosen({"rows": [{"family": "tiny"}]}, "tin") == [families[0]]
