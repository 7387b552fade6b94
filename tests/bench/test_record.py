"""Records: a row for every file, engine and execution, with its latency, its mIoU and its size."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from fcn_edge.bench import BenchOptions, Variant, record, record_from_engines, variants_from_files
from fcn_edge.build import BuildOptions, build_engine
from fcn_edge.data import dataset_from_name
from fcn_edge.device import this_device
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.gate import verdict_from_records

STREETS = "synthetic:street,seed=3,images=3,size=64x96"
QUICK = BenchOptions(rounds=2, frames=3, warmup=1)
ROW_KEYS = {
    "model", "target", "precision", "execution", "height", "width", "miou", "miou_ci", "latency_ms", "stages_ms", "fps",
    "end_to_end_fps", "peak_rss_mb", "size_mb", "pareto", "scores",
}  # fmt: skip
HAS_BF16 = bool({"avx512_bf16", "amx_bf16", "bf16"} & set(this_device().instruction_sets))


@pytest.fixture(autouse=True)
def no_further_process(monkeypatch):
    """Memory is measured in a process for each variant; one test does so."""
    monkeypatch.setattr(record, "peak_rss_mb", lambda variant: 100.0)


@pytest.fixture(scope="module")
def streets():
    return dataset_from_name(STREETS)


def expected_variants():
    """(target, precision, execution) of an fp32 and an INT8 file on this machine."""
    found = set()
    for target in ("openvino", "onnxruntime"):
        if find_spec(target) is not None:
            found |= {(target, "fp32", "f32"), (target, "int8", "f32")}
    if find_spec("openvino") is not None and HAS_BF16:
        found.add(("openvino", "fp32", "bf16"))
    return found


def test_every_precision_on_every_engine_present_has_a_row(onnx_file, int8_file, streets):
    made = record_from_engines(variants_from_files([onnx_file, int8_file]), streets, options=QUICK)
    assert {(row["target"], row["precision"], row["execution"]) for row in made["rows"]} == expected_variants()
    for row in made["rows"]:
        assert set(row) >= ROW_KEYS
        assert set(row["latency_ms"]) == {"p50", "p90", "p95", "p99", "raw"}
        assert len(row["latency_ms"]["raw"]) == QUICK.rounds * QUICK.frames
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p90"] <= row["latency_ms"]["p99"]
        assert set(row["stages_ms"]) == {"input", "infer", "view"}
        assert row["end_to_end_fps"] <= row["fps"]
        assert 0 <= row["miou"] <= 1 and len(row["scores"]["images"]) == 3
        assert (row["height"], row["width"]) == (64, 96)
    sizes = {row["precision"]: row["size_mb"] for row in made["rows"]}
    assert sizes["int8"] < sizes["fp32"] / 3
    assert set(made["device"]) >= {"cpu", "cores", "instruction_sets", "name"}
    assert "python" in made["versions"] and made["images"] == 3 and made["skipped"] == []
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert verdict_from_records(made, made).verdict == "pass"


def test_rows_have_the_interval_of_their_miou(onnx_file, streets):
    variants = variants_from_files([onnx_file], ["onnxruntime"])
    eight = dataset_from_name(STREETS.replace("images=3", "images=8"))
    row = record_from_engines(variants, eight, options=BenchOptions(1, 1, 1))["rows"][0]
    assert row["miou_ci"][0] < row["miou"] < row["miou_ci"][1]
    few = record_from_engines(variants, streets, options=BenchOptions(1, 1, 1))["rows"][0]
    assert few["miou_ci"] is None, "three images are too few"


def test_variants_take_turns(onnx_file, streets, monkeypatch):
    order = []
    real = record.segment

    def watched(frame, engine, style):
        order.append(engine.target)
        return real(frame, engine, style)

    monkeypatch.setattr(record, "segment", watched)
    targets = [target for target in ("openvino", "onnxruntime") if find_spec(target) is not None]
    if len(targets) < 2:
        pytest.skip("one engine is installed: nothing takes turns")
    record_from_engines([Variant(onnx_file, target, "f32") for target in targets], streets, options=QUICK)
    measured = order[2 * QUICK.warmup :]
    turn = 1 + QUICK.frames  # one frame wakes the engine
    assert measured == (["openvino"] * turn + ["onnxruntime"] * turn) * QUICK.rounds


def test_chosen_targets_only(onnx_file, int8_file):
    variants = variants_from_files([onnx_file, int8_file], ["onnxruntime"])
    assert variants == [Variant(onnx_file, "onnxruntime", "f32"), Variant(int8_file, "onnxruntime", "f32")]


def test_bf16_is_for_fp32_files_whatever_their_name(onnx_file, int8_file, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_has_bf16", lambda: True)
    renamed = tmp_path / "net.onnx"
    renamed.write_bytes(int8_file.read_bytes())
    assert [v.execution for v in variants_from_files([onnx_file], ["openvino"])] == ["f32", "bf16"]
    assert [v.execution for v in variants_from_files([renamed], ["openvino"])] == ["f32"]


def test_checkpoint_runs_in_pytorch_and_a_directory_as_it_was_built(checkpoint_file, onnx_file, tmp_path, streets):
    built = build_engine(onnx_file, tmp_path / "engine", options=BuildOptions("onnxruntime", "fp32"))
    variants = variants_from_files([checkpoint_file, built.path])
    assert [(v.target, v.execution) for v in variants] == [("pytorch", "f32"), ("onnxruntime", "f32")]
    made = record_from_engines(variants, streets, options=BenchOptions(1, 1, 1))
    sizes = [row["size_mb"] for row in made["rows"]]
    assert sizes == [round(path.stat().st_size / 1e6, 2) for path in (checkpoint_file, built.path / "model.onnx")]


def test_directory_built_for_bf16_is_measured_in_bf16(onnx_file, tmp_path):
    if not HAS_BF16 or find_spec("openvino") is None:
        pytest.skip("no bf16 on this CPU, or no openvino: nothing was compiled")
    built = build_engine(onnx_file, tmp_path / "engine", options=BuildOptions("openvino", "bf16"))
    assert variants_from_files([built.path]) == [Variant(built.path, "openvino", "bf16")]


def test_no_engine_at_all_is_told(onnx_file, monkeypatch):
    monkeypatch.setattr(record, "available_targets", lambda: ("pytorch",))
    with pytest.raises(BackendMissing, match="no engine is installed to measure: pip install"):
        variants_from_files([onnx_file])


def test_image_that_does_not_decode_is_named_and_not_counted(onnx_file, streets):
    class Broken(list):
        def __getitem__(self, number):
            return streets.items[number] if number else BrokenItem()

    class BrokenItem:
        name = sequence = "broken"

        def image(self):
            raise BadInput("broken.jpg: not an image that decodes")

    from dataclasses import replace

    variants = variants_from_files([onnx_file], ["onnxruntime"])
    made = record_from_engines(variants, replace(streets, items=Broken(range(3))), options=BenchOptions(1, 2, 1))
    assert (made["images"], made["skipped"]) == (2, ["broken.jpg: not an image that decodes"])


def test_front_holds_what_nothing_else_beats():
    rows = [
        {"latency_ms": {"p50": p50}, "miou": miou}
        for p50, miou in ((10, 0.5), (20, 0.6), (30, 0.6), (9, 0.4), (11, 0.45), (10, 0.5), (40, None))
    ]
    record._mark_pareto(rows)
    assert [row["pareto"] for row in rows] == [True, True, False, True, False, True, False]


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_memory_is_that_of_a_process_of_its_own(onnx_file, target, monkeypatch):
    pytest.importorskip(target, reason=f"{target} is not installed: no memory was measured")
    monkeypatch.undo()
    ballast = bytearray(512 * 2**20)  # what this process holds must not count
    found = record.peak_rss_mb(Variant(onnx_file, target, "f32"))
    assert found is not None and 30 < found < len(ballast) / 2**20


def test_memory_of_what_does_not_open_is_unknown(tmp_path, monkeypatch):
    monkeypatch.undo()
    assert record.peak_rss_mb(Variant(tmp_path / "none.onnx", "onnxruntime", "f32")) is None
