"""The network in the box: as good as its page says, on real streets and on drawn ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcn_edge.calibration import calibrate, quantized_file, table_from_file
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.evaluation import evaluate
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.registry import PACKAGED_NETWORK, packaged_file, table_file
from tests.shared_data import SHARED

ROOT = Path(__file__).resolve().parents[1]
CAMVID = SHARED / "datasets" / "camvid"
STREETS = "synthetic:street,seed=3,images=16,size=360x480"
LEAST_MIOU_CAMVID = 0.65  # what the first packaged network promises on CamVid val
LEAST_MIOU_STREETS = 0.60  # drawn streets of a seed it never saw
MOST_LOST_BY_INT8 = 0.010  # one point of mIoU, on either engine

needs_camvid = pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {CAMVID}")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged network in INT8 for every runtime, from the table on the calib shelf."""
    out = tmp_path_factory.mktemp("packaged") / "packaged.int8.onnx"
    return quantized_file(
        packaged_file(".onnx"), out, precision="int8", table=table_from_file(table_file(PACKAGED_NETWORK))
    ).path


@pytest.mark.slow
def test_packaged_int8_file_is_what_calibrate_makes_of_the_packaged_table(tmp_path: Path) -> None:
    out = tmp_path / "again.onnx"
    calibrate(packaged_file(".onnx"), str(table_file(PACKAGED_NETWORK)), out, placement="x86")
    made, packaged = onnx_from_file(out), onnx_from_file(packaged_file(".int8.onnx"))
    assert made.graph.SerializeToString() == packaged.graph.SerializeToString()
    assert contract_from_onnx(out) == contract_from_onnx(packaged_file(".int8.onnx"))


def miou(model: Path, target: str, data: str) -> float:
    with open_engine(model, target=target, options=EngineOptions("f32")) as engine:  # type: ignore[arg-type]
        return evaluate(engine, dataset_from_name(data)).scores.miou or 0.0


@pytest.mark.slow
@needs_camvid
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_real_streets_reach_the_promised_miou_and_int8_keeps_it(target: str, int8: Path) -> None:
    reference = miou(packaged_file(".onnx"), target, f"camvid:{CAMVID}#val")
    assert reference >= LEAST_MIOU_CAMVID
    assert miou(int8, target, f"camvid:{CAMVID}#val") >= reference - MOST_LOST_BY_INT8


@pytest.mark.slow
def test_drawn_streets_reach_the_promised_miou() -> None:
    assert miou(packaged_file(".onnx"), "openvino", STREETS) >= LEAST_MIOU_STREETS


def test_onnx_file_is_the_checkpoint() -> None:
    import hashlib

    spec = contract_from_onnx(packaged_file(".onnx")).spec
    assert spec.weights_sha256 == hashlib.sha256(packaged_file(".safetensors").read_bytes()).hexdigest()
    assert "research" in spec.weights_terms
