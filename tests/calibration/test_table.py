"""The calibration table: the ranges that the images really have, where they come from, and their limits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from fcn_edge.calibration import METHODS, calibrate, images_from_source, table_from_file, table_from_images
from fcn_edge.calibration.methods import BINS, PERCENTILE
from fcn_edge.calibration.placement import activations_to_quantize
from fcn_edge.calibration.table import TensorRange, graph_sha256, with_method
from fcn_edge.engines.ort import Taps
from fcn_edge.errors import BadInput
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.transforms import input_from_frame
from tests.progress import RecordedProgress
from tests.refusals import refused

FLOAT32 = 1e-5  # relative: the same sums in another run of the same library


@pytest.fixture
def make_table(onnx_file, image_folder):
    def make(source=None, model=onnx_file, **options):
        return table_from_images(model, images_from_source(str(source or image_folder)), **options)

    return make


@pytest.mark.slow
def test_table_is_the_same_every_time(make_table):
    first, second = make_table(), make_table()
    assert first == second and first.sha256 == second.sha256


@pytest.mark.slow
def test_ranges_are_those_of_the_tensors(make_table, onnx_file, image_folder):
    """Every tensor that will be quantized, held against the raw values of each image."""
    model, table = onnx_from_file(onnx_file), make_table()
    names = activations_to_quantize(model.graph)
    assert set(table.tensors) == set(names)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    taps, preprocess = Taps(model.SerializeToString(), "test"), contract_from_onnx(onnx_file).spec.preprocess
    runs = [taps.run(input_from_frame(i.read(), preprocess)) for i in images_from_source(str(image_folder)).images]
    for name in names:
        values = np.concatenate([run[name].ravel() for run in runs])
        entry = table.tensors[name]
        assert entry.amax == pytest.approx(np.abs(values).max(), rel=FLOAT32)
        assert entry.minimum == pytest.approx(values.min(), rel=FLOAT32, abs=FLOAT32)
        assert sum(entry.histogram) == values.size and len(entry.histogram) == BINS


@pytest.mark.slow
def test_table_says_where_it_comes_from(make_table, onnx_file, image_folder):
    table = make_table()
    spec = contract_from_onnx(onnx_file).spec
    assert table.model == "tiny" and table.source == str(image_folder) and table.method == "percentile"
    assert table.preprocess == spec.preprocess
    assert table.graph_sha256 == graph_sha256(onnx_from_file(onnx_file))
    assert list(table.images_sha256) == [i.sha256() for i in images_from_source(str(image_folder)).images]
    assert table.skipped == ()


@pytest.mark.slow
def test_other_images_give_another_table(make_table):
    assert make_table("synthetic:street,seed=8,images=2,size=64x96").sha256 != make_table().sha256


@pytest.mark.slow
def test_picture_that_does_not_decode_is_skipped_and_named(make_table, image_folder):
    whole = make_table()
    (image_folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    table = make_table()
    assert table.skipped == ("broken.jpg",)
    assert table.tensors == whole.tensors and table.images_sha256 == whole.images_sha256


def test_pictures_none_of_which_decodes_are_refused(make_table, image_folder):
    for path in image_folder.iterdir():
        path.write_bytes(b"\xff\xd8\xff no picture")
    with refused(BadInput, "3 images"):
        make_table()


@pytest.mark.slow
def test_progress_counts_both_passes(make_table):
    progress = RecordedProgress()
    make_table(progress=progress)
    assert progress.updates == [("calibrating", number, 6) for number in range(1, 7)]


def test_weights_that_are_not_finite_are_named(make_table, onnx_file, tmp_path):
    model = onnx_from_file(onnx_file)
    add = next(node for node in model.graph.node if node.op_type == "Add")  # an activation in between drops NaN
    convolution = next(node for node in model.graph.node if node.output[0] == add.input[1])
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == convolution.input[1])
    values = numpy_helper.to_array(weights).copy()
    values[0] = np.nan
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    (tmp_path / "nan.onnx").write_bytes(model.SerializeToString())
    with refused(BadInput, weights.name, "NaN"):
        make_table(model=tmp_path / "nan.onnx")


def test_network_whose_values_run_away_is_named_by_its_tensor(make_table, onnx_file, tmp_path):
    model = onnx_from_file(onnx_file)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("weight"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e20), tensor.name))
    (tmp_path / "inf.onnx").write_bytes(model.SerializeToString())
    with refused(BadInput, "tensor", "NaN"):
        make_table(model=tmp_path / "inf.onnx")


def test_file_without_contract_is_refused(make_table, exported):
    with refused(BadInput, "tiny.head-logits.io-plain.onnx", "spec"):
        make_table(model=exported(head="logits", io="plain"))


@pytest.mark.slow
def test_table_survives_its_file(make_table, tmp_path):
    table = make_table()
    table.save(tmp_path / "t.json")
    again = table_from_file(tmp_path / "t.json")
    assert again == table and again.sha256 == table.sha256 and again.limits() == table.limits()


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda t: t.pop("method"), ("method",)),
        (lambda t: t.update(method="entropie"), ("method", "entropie", "percentile")),
        (lambda t: t.update(tensors=[]), ("tensors", "list")),
        (lambda t: t["tensors"].update(x={"amax": "high"}), ("tensors.x", "amax", "float", "high")),
        (lambda t: t.update(grafh=1), ("grafh", "graph_sha256")),
    ],
    ids=["missing", "method", "list", "type", "key"],
)
def test_json_that_is_no_table_is_refused(table_file, tmp_path, change, facts):
    mapping = json.loads(table_file.read_text())
    change(mapping)
    (tmp_path / "t.json").write_text(json.dumps(mapping))
    with refused(BadInput, "t.json", *facts):
        table_from_file(tmp_path / "t.json")


@given(st.integers(0, 2**32 - 1), st.sampled_from(["normal", "uniform", "spike"]))
def test_percentile_is_that_of_the_magnitudes(seed, kind):
    """Within one bin of 2048, upwards."""
    random = np.random.default_rng(seed)
    values = random.standard_normal(20_000) if kind == "normal" else random.uniform(-1, 1, 20_000)
    if kind == "spike":
        values[0] = 1000.0
    magnitudes = np.abs(values)
    histogram = np.histogram(magnitudes, BINS, (0, magnitudes.max()))[0]
    entry = TensorRange(float(magnitudes.max()), float(values.min()), tuple(histogram.tolist()))
    wanted = np.percentile(magnitudes, PERCENTILE, method="inverted_cdf")
    limit, width = entry.limit("percentile"), entry.amax / BINS
    assert wanted - 1e-9 <= limit <= wanted + width + 1e-9
    assert entry.limit("minmax") == entry.amax and limit <= entry.amax + 1e-9


@pytest.mark.parametrize("method", METHODS)
def test_tensor_that_is_always_zero_has_limit_zero(method):
    assert TensorRange(0.0, 0.0, (0,) * BINS).limit(method) == 0.0


@pytest.mark.slow
def test_methods_read_the_same_ranges(make_table):
    table = make_table()
    widest = with_method(table, "minmax")
    assert widest.tensors == table.tensors and widest.sha256 != table.sha256
    assert all(table.limits()[name] <= limit + FLOAT32 for name, limit in widest.limits().items())
    assert any(table.limits()[name] < limit for name, limit in widest.limits().items())


def test_metadata_is_no_part_of_the_graph(onnx_file):
    model = onnx_from_file(onnx_file)
    before = graph_sha256(model)
    del model.metadata_props[:]
    assert graph_sha256(model) == before


@pytest.mark.slow
def test_table_holds_the_mean_of_each_channel(make_table):
    table = make_table()
    entry = table.tensors[max(table.tensors, key=lambda name: len(table.tensors[name].means))]
    assert len(entry.means) == len(entry.channels) > 0
    assert all(abs(mean) <= largest for mean, largest in zip(entry.means, entry.channels))


@pytest.mark.slow
def test_roundings_of_an_earlier_version_are_left_out_with_a_note(onnx_file, table_file, tmp_path):
    table, old, progress = table_from_file(table_file), tmp_path / "old.table.json", RecordedProgress()
    replace(table, roundings={"weights": "eJwDAAAAAAE="}).save(old)
    rounded = calibrate(onnx_file, old, tmp_path / "a.int8.onnx", progress=progress)
    plain = calibrate(onnx_file, table_file, tmp_path / "b.int8.onnx")
    assert len(progress.notes) == 1 and "old.table.json" in progress.notes[0]
    assert rounded.quantization.refined == ()
    assert onnx_from_file(rounded.path).graph == onnx_from_file(plain.path).graph
