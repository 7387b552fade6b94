"""Networks that others trained, as they ship them: read, run, scored and quantized like their own files say.

The files lie beside the repository and are not part of it. What each has to score is known from its own source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from fcn_edge.build import build_engine
from fcn_edge.comparison import compare
from fcn_edge.data import dataset_from_name
from fcn_edge.engines import open_engine
from fcn_edge.evaluation import evaluate
from fcn_edge.exporting import onnx_model
from fcn_edge.inspection import facts_from_artefact
from tests.shared_data import SHARED

NETWORKS, PORTRAITS, CAMVID = SHARED / "networks", SHARED / "datasets" / "portraits", SHARED / "datasets" / "camvid"
TWIN_SPEC = 'classes = ["other", "drivable"]\nmean = [0, 0, 0]\nstd = [255, 255, 255]\noutput = "drivable_area"\n'
ROAD = 3  # CamVid's class that TwinLiteNet calls drivable
IMAGES = 4
POINT = 0.005  # of mIoU: pictures and scores are resized by other code here, which rounds apart at seams
LEAST_EQUAL = 0.999

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (NETWORKS.is_dir() and PORTRAITS.is_dir() and CAMVID.is_dir()),
        reason=f"networks and data sets are not at {SHARED}",
    ),
]


@dataclass(frozen=True)
class Network:
    """opset, outputs: as the file has them. threshold: of its mask, None where it has a score for each class."""

    name: str
    opset: int
    outputs: tuple[str, ...]
    threshold: float | None = None

    @property
    def file(self) -> Path:
        return NETWORKS / f"{self.name}.onnx"

    @property
    def is_for_roads(self) -> bool:
        return self.name.startswith("twin")


SINET = Network("sinet_portrait", 12, ("classifier/1",))
DEEPLAB = Network("deeplab_mnv2_person", 8, ("transpose:0",))
PRISMA = Network("prisma_person", 7, ("permute_1",), threshold=0.5)
TWIN = Network("twinlitenet", 17, ("drivable_area", "lanes"))
BROKEN = Network("twinlitenet_broken_int8", 17, ("drivable_area", "lanes"))
ALL = (SINET, DEEPLAB, PRISMA, TWIN, BROKEN)


def each_of(*networks):
    """One test for each of these networks."""
    return pytest.mark.parametrize("network", networks, ids=lambda network: network.name)


@pytest.fixture(scope="module")
def contract(tmp_path_factory):
    """Gives the contract of a network; each is made once."""
    folder, made = tmp_path_factory.mktemp("networks"), {}
    (folder / "twin.toml").write_text(TWIN_SPEC)

    def make(network):
        if network.name not in made:
            spec = folder / "twin.toml" if network.is_for_roads else network.file.with_suffix(".toml")
            made[network.name] = onnx_model(network.file, spec=spec).save(folder / f"{network.name}.onnx").path
        return made[network.name]

    return make


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    """Frames of CamVid's val, evenly spread, with labels 0 and 1: road or not."""
    root = tmp_path_factory.mktemp("roads")
    (root / "classes.json").write_text(json.dumps({"names": ["other", "drivable"]}))
    for part in ("images", "labels"):
        (root / part).mkdir()
    items = dataset_from_name(f"camvid:{CAMVID}#val").items
    for item in items[:: len(items) // IMAGES][:IMAGES]:
        labels = item.labels()
        binary = np.where(labels == 255, 255, labels == ROAD).astype(np.uint8)
        cv2.imwrite(str(root / "images" / f"{item.name}.png"), item.image())
        cv2.imwrite(str(root / "labels" / f"{item.name}.png"), binary)
    return f"folder:{root}"


@pytest.fixture(scope="module")
def labelled(roads):
    """Gives the labelled set that a network is scored on."""
    return lambda network: dataset_from_name(roads if network.is_for_roads else f"folder:{PORTRAITS}#val")


class Original:
    """The file itself in a plain session; normalised and read here, not by the package."""

    def __init__(self, network, preprocess):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(network.file), options, providers=["CPUExecutionProvider"])
        self.threshold, self.preprocess = network.threshold, preprocess

    def class_map(self, picture):
        """(H, W) of a picture of any size."""
        p = self.preprocess
        colours = cv2.resize(picture, (p.width, p.height))[:, :, ::-1].astype(np.float64)
        colours = ((colours - p.mean) / p.std)[:, :, :: 1 if p.channels == "rgb" else -1]
        tensor = colours.transpose(2, 0, 1)[None].astype(np.float32)
        planes = self.session.run(None, {self.session.get_inputs()[0].name: tensor})[0][0]
        planes = [cv2.resize(plane, picture.shape[1::-1]) for plane in planes]
        return planes[0] > self.threshold if self.threshold else np.argmax(planes, 0)


def ious(maps, labels):
    """(2,) of both classes."""
    found, wanted = (np.concatenate([part.ravel() for part in parts]) for parts in (maps, labels))
    found, wanted = found[wanted != 255], wanted[wanted != 255]
    return [((found == c) & (wanted == c)).sum() / ((found == c) | (wanted == c)).sum() for c in (0, 1)]


@each_of(*ALL)
def test_inspect_says_what_the_file_is(network):
    facts = facts_from_artefact(network.file)
    assert facts["opset"] == network.opset and tuple(facts["outputs"]) == network.outputs
    assert len(facts["inputs"]) == 1 and "none" in facts["contract"]


@each_of(*ALL)
def test_score_is_that_of_the_original_file(network, contract, labelled):
    with open_engine(contract(network), target="onnxruntime") as engine:
        scores = evaluate(engine, labelled(network), limit=IMAGES).scores
        original = Original(network, engine.spec.preprocess)
    items = labelled(network).items[:IMAGES]
    wanted = ious([original.class_map(item.image()) for item in items], [item.labels() for item in items])
    assert scores.iou == pytest.approx(wanted, abs=POINT)
    assert (scores.iou[1] > 0.7) is (network is not BROKEN)


@each_of(SINET, PRISMA, TWIN)
def test_openvino_draws_the_class_map_of_the_original_file(network, contract, labelled):
    with open_engine(contract(network), target="openvino") as engine:
        height, width = engine.spec.preprocess.size
        frame = cv2.resize(labelled(network).items[0].image(), (width, height))
        wanted = Original(network, engine.spec.preprocess).class_map(frame)
        assert len(np.unique(wanted)) == 2
        assert (engine.segment(frame).class_map == wanted).mean() >= LEAST_EQUAL


def test_int8_file_that_is_wrong_is_told_from_its_float_sibling(contract):
    found = compare(contract(TWIN), contract(BROKEN), images=f"camvid:{CAMVID}#val", count=1)
    assert found.first == "network" and "/encoder/level1/conv/Conv" in found.verdict
    assert found.agreement < 0.8 and found.b.precision == "int8"


def test_int8_is_built_for_both_engines(contract, roads, tmp_path):
    """From one calibration: the second takes the first one's table. The network concatenates, and one branch is off."""
    calib = {"calib": roads, "calib_images": IMAGES}
    for target in ("onnxruntime", "openvino"):
        built = build_engine(contract(TWIN), tmp_path / target, target=target, precision="int8", **calib)
        reference = built.reference
        assert reference.agreement >= reference.limits.agreement and reference.sqnr_db > 15
        calib = {"calib": str(tmp_path / target / "table.json")}
