"""What is measured and how long: suites, and what the caller chooses otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcn_edge.benchmark import BenchOptions, Variant, bench, bench_options, measurement, prepare
from fcn_edge.benchmark.cold_start import NOTHING
from fcn_edge.benchmark.suite import request_from
from fcn_edge.data import dataset_from_name
from fcn_edge.errors import BadInput
from fcn_edge.onnxmodel import OnnxModel
from fcn_edge.records import Record
from fcn_edge.registry import BenchSuite
from tests.refusals import refused

STREETS = "synthetic:street,seed=3,images=3,size=64x96"
SUITE = BenchSuite(
    STREETS,
    calib="synthetic_street",
    calib_images=7,
    models=("net.onnx",),
    sizes=("32x64",),
    targets=("onnxruntime",),
    precisions=("int8",),
    schedules=("fixed:2",),
    sizes_of={"onnxruntime": ("32x64",)},
    rounds=3,
    frames=4,
    threads=1,
    camera_fps=0.0,
)
SHORTEST = BenchOptions(1, 1, 1, camera_fps=0)


@pytest.fixture
def no_further_process(monkeypatch):
    """Memory is measured in a process for each variant; tests of measuring do so once."""
    monkeypatch.setattr(measurement, "fresh_process", lambda variant: dict.fromkeys(NOTHING, 100.0))


def test_suite_says_what_is_measured_and_arguments_override_it():
    plan = request_from(None, None, SUITE)
    assert plan.models == ("net.onnx",) and plan.data.name == dataset_from_name(STREETS).name
    assert (plan.calib, plan.calib_images, plan.sizes) == ("synthetic_street", 7, ((32, 64),))
    assert (plan.targets, plan.precisions, plan.schedules) == (("onnxruntime",), ("int8",), ("fixed:2",))
    assert plan.sizes_of == {"onnxruntime": ((32, 64),)}
    other = request_from(
        ["a.onnx", Variant(Path("b.onnx"), "openvino", "bf16")],
        STREETS.replace("images=3", "images=2"),
        SUITE,
        calib="streets/",
        target=["auto", "openvino"],
        precision="bf16",
        schedule=["every", "fixed:4"],
        size=(64, 96),
    )
    assert other.models == ("a.onnx",) and [variant.path.name for variant in other.variants] == ["b.onnx"]
    assert (other.calib, other.sizes, other.targets) == ("streets/", ((64, 96),), ("openvino",))
    assert (other.precisions, other.schedules) == (("bf16",), ("every", "fixed:4"))
    assert len(other.data.items) == 2


def test_without_models_it_is_the_packaged_network_and_variants_alone_are_alone():
    assert request_from(None, STREETS, None).models == (None,)
    assert request_from(Variant(Path("b.onnx"), "openvino", "f32"), STREETS, None).models == ()


@pytest.mark.parametrize("size", ["64x96", (64, 96), ["64x96"], [(64, 96)]])
def test_size_is_text_or_a_pair_one_or_several(size):
    assert request_from(None, STREETS, None, size=size).sizes == ((64, 96),)


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ({"data": None}, ("`data`", "`suite`")),
        ({"target": "openvin"}, ("`target`", "openvin", "openvino")),
        ({"precision": "int4"}, ("`precision`", "int4", "int8")),
        ({"size": "64*96"}, ("`size`", "64*96")),
        ({"suite": "streets"}, ("streets", "street")),
        (
            {"suite": BenchSuite(STREETS, sizes_of={"onnxruntim": ("64x96",)})},
            ("sizes_of", "onnxruntim", "onnxruntime"),
        ),
    ],
)
def test_what_is_unknown_is_refused_by_its_name(words, facts):
    with refused(BadInput, *facts):
        request_from(None, **{"data": STREETS, "suite": None} | words)


def test_how_long_is_the_suites_unless_it_is_given():
    assert bench_options() == BenchOptions()
    assert bench_options(SUITE) == BenchOptions(rounds=3, frames=4, threads=1, camera_fps=0.0)
    assert bench_options(SUITE, rounds=9, threads=2) == BenchOptions(rounds=9, frames=4, threads=2, camera_fps=0.0)
    quick = bench_options(quick=True)
    assert quick.rounds < BenchOptions().rounds and quick.camera_fps == 0
    assert bench_options(quick=True, rounds=9).rounds == 9


@pytest.mark.slow
def test_pairs_of_arrays_take_their_classes_from_the_network(onnx_file, no_further_process):
    streets = dataset_from_name(STREETS)
    pairs = [(streets.items[number].image(), streets.items[number].labels()) for number in range(3)]
    named, in_memory = (
        bench(onnx_file, data, target="onnxruntime", options=SHORTEST) for data in (streets, iter(pairs))
    )
    assert isinstance(in_memory, Record) and in_memory.classes == streets.classes and in_memory.images == 3
    assert in_memory.rows[0].scores.iou == named.rows[0].scores.iou


@pytest.mark.slow
def test_variants_are_measured_beside_what_is_made_of_models(onnx_file, int8_file, no_further_process):
    variant = Variant(int8_file, "onnxruntime", "f32")
    made = bench([onnx_file, variant], STREETS, target="onnxruntime", options=SHORTEST, suite=None)
    assert sorted(row.precision for row in made.rows) == ["fp32", "int8"]
    assert made.suite is None and made.command is None and made.calibration == {}


@pytest.mark.slow
def test_calibration_images_may_not_be_among_those_measured(onnx_file, tmp_path):
    with refused(BadInput, "3 of 3", "street3_000002"):
        prepare(onnx_file, STREETS, files=tmp_path, calib=STREETS)
    made = prepare(onnx_file, STREETS, files=tmp_path, calib=STREETS, allow_overlap=True)
    assert [path.name for path in made] == [onnx_file.name, f"{onnx_file.stem}.int8.onnx"]


@pytest.mark.slow
def test_models_in_memory_and_calibration_images_in_memory_are_measured(onnx_file, no_further_process):
    """Of two networks of one name, each calibrated on the same arrays, which are read once."""
    net = OnnxModel.from_file(onnx_file)
    streets = dataset_from_name(STREETS.replace("seed=3", "seed=4"))
    images = (streets.items[number].image() for number in range(2))
    made = bench([net, onnx_file], STREETS, calib=images, target="onnxruntime", precision="int8", options=SHORTEST)
    assert [row.precision for row in made.rows] == ["int8", "int8"]
    assert made.calibration["tiny 64x96"]["calib"] == "arrays"
