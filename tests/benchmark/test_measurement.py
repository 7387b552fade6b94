"""Records: a row for every file, engine and execution, with its latency, its mIoU and its size."""

from __future__ import annotations

import itertools
import json
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

from fcn_edge.benchmark import (
    BenchOptions,
    Variant,
    bench,
    cold_start,
    measurement,
    timing,
    variants,
    variants_from_files,
)
from fcn_edge.benchmark.partial import FinishedRow, Partial
from fcn_edge.benchmark.reference_workload import ReferenceWorkload
from fcn_edge.benchmark.sensors import EnergyMeter
from fcn_edge.build import build_engine
from fcn_edge.data import dataset_from_name
from fcn_edge.device import this_device
from fcn_edge.errors import BackendMissing, BadInput
from fcn_edge.frame import Times
from fcn_edge.gating import gate
from fcn_edge.gating.plausibility import require_plausible
from fcn_edge.progress import SILENT
from fcn_edge.records import Record, RecordRow
from fcn_edge.schema import from_mapping
from tests.benchrecords import row as row_table
from tests.refusals import refused

STREETS = "synthetic:street,seed=3,images=3,size=64x96"
QUICK = BenchOptions(rounds=2, frames=3, warmup=1, camera_fps=0)
SHORTEST = BenchOptions(1, 1, 1, camera_fps=0)
TOP_KEYS = {
    "schema",
    "data",
    "classes",
    "images",
    "skipped",
    "protocol",
    "yardstick",
    "energy_source",
    "suite",
    "command",
    "calibration",
    "rows",
    "device",
    "conditions",
    "versions",
    "commit",
    "date",
    "sha256",
}
ROW_KEYS = {
    "model",
    "target",
    "precision",
    "execution",
    "height",
    "width",
    "miou",
    "miou_ci",
    "latency_ms",
    "stages_ms",
    "fps",
    "end_to_end_ms",
    "end_to_end_fps",
    "peak_rss_mb",
    "cold_start_ms",
    "warm_start_ms",
    "energy_mj",
    "power_w",
    "paced",
    "size_mb",
    "pareto",
    "dominated_by",
    "yardstick_ms",
    "model_sha256",
    "weights",
    "scores",
}
HAS_BF16 = bool({"avx512_bf16", "amx_bf16", "bf16"} & set(this_device().instruction_sets))


@pytest.fixture(autouse=True)
def no_further_process(monkeypatch):
    """Memory is measured in a process for each variant; one test does so."""
    monkeypatch.setattr(measurement, "fresh_process", lambda variant: dict.fromkeys(cold_start.NOTHING, 100.0))


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


@pytest.mark.slow
def test_every_precision_on_every_engine_present_has_a_row(onnx_file, int8_file, streets):
    made = bench([onnx_file, int8_file], streets, options=QUICK)
    assert {(row.target, row.precision, row.execution) for row in made.rows} == expected_variants()
    for row in made.rows:
        assert len(row.latency_ms.raw) == len(row.end_to_end_ms.raw) == QUICK.rounds * QUICK.frames
        assert len(row.workload_ms) == QUICK.rounds and min(row.workload_ms) > 0
        assert row.latency_ms.p50 <= row.latency_ms.p90 <= row.latency_ms.p99
        assert set(row.stages_ms) == {"input", "infer", "view"}
        assert row.end_to_end_fps <= row.fps
        assert 0 <= row.miou <= 1 and len(row.images) == 3
        assert (row.height, row.width) == (64, 96)
    sizes = {row.precision: row.size_mb for row in made.rows}
    assert sizes["int8"] < sizes["fp32"] / 3
    assert made.images == 3 and made.skipped == ()
    require_plausible(made, "the record")
    assert {check.kind: check.ok for check in gate(made, made).checks} == {
        "miou": True,
        "latency": None,
        "size": True,
        "memory": True,
    }, "two rounds are too few to judge latency"


def test_json_of_a_record_has_its_keys_and_comes_back_as_it_was(onnx_file, streets):
    made = bench(onnx_file, streets, target="onnxruntime", options=SHORTEST)
    table = made.to_mapping()
    assert set(table) >= TOP_KEYS and "baseline" not in table
    assert set(table["rows"][0]) >= ROW_KEYS
    assert set(table["rows"][0]["latency_ms"]) == {"p50", "p90", "p95", "p99", "mean", "raw"}
    assert set(table["device"]) >= {"cpu", "cores", "instruction_sets", "name"} and "python" in table["versions"]
    again = Record.from_mapping(json.loads(json.dumps(table, allow_nan=False)))
    assert again.to_mapping() == table and again == made


@pytest.mark.slow
def test_rows_have_the_interval_of_their_miou(onnx_file, streets):
    eight = dataset_from_name(STREETS.replace("images=3", "images=8"))
    row = bench(onnx_file, eight, target="onnxruntime", options=SHORTEST).rows[0]
    assert row.miou_ci[0] < row.miou < row.miou_ci[1]
    few = bench(onnx_file, streets, target="onnxruntime", options=SHORTEST).rows[0]
    assert few.miou_ci is None, "three images are too few"


IMAGES = [np.zeros((4, 4, 3), np.uint8)]


class Counting:
    """Stands for an engine: calls `asked` with its target and gives what comes back as times of a frame."""

    def __init__(self, target, asked):
        self.target, self._asked = target, asked

    def segment(self, frame, style):
        return SimpleNamespace(frame=frame, times=self._asked(self.target))


@pytest.fixture
def order(monkeypatch):
    """Who was measured, in order; frames of `engines` take a millisecond."""
    asked = []
    monkeypatch.setattr(timing.ReferenceWorkload, "measured_ms", lambda self: asked.append("workload") or (2.0, 2.0))
    return asked


def millisecond(order):
    """Notes in `order` who was asked."""
    return lambda target: order.append(target) or Times(0, 1_000_000, 0, 0)


def test_rounds_of_variants_are_interleaved_each_beside_the_reference_workload(order):
    engines = [Counting(target, millisecond(order)) for target in ("openvino", "onnxruntime")]
    options = BenchOptions(rounds=3, frames=2, warmup=1, threads=1)
    rounds = timing.interleaved_rounds(engines, IMAGES, options, EnergyMeter(), SILENT)
    measured = order[order.index("workload") + 1 :]
    one = [(e.target, "workload") * (1 + options.frames) for e in engines]  # one frame wakes the engine
    assert measured == [word for turn in one for word in turn] * options.rounds
    assert [len(each.times) for each in rounds] == [6, 6] and rounds[0].workload_ms == [2.0] * 3


def test_reference_run_takes_one_round(order):
    options = BenchOptions(rounds=3, frames=2, warmup=1, threads=1)
    engines = [Counting("reference", millisecond(order))]
    rounds = timing.interleaved_rounds(engines, IMAGES, options, EnergyMeter(), SILENT)
    assert len(rounds[0].times) == 2 and rounds[0].warmup == 1


def test_warm_up_ends_when_times_are_steady():
    falling = iter([100 - number for number in range(40)] + [50] * 200)
    steady = Counting("openvino", lambda _: Times(0, next(falling) * 1_000_000, 0, 0))
    assert timing.warmed_up(steady, IMAGES, 5) == 10, "a tenth slower over five frames is steady"
    doubling = (2**number for number in itertools.count())
    rising = Counting("openvino", lambda _: Times(0, next(doubling), 0, 0))
    assert timing.warmed_up(rising, IMAGES, 5) == timing.MOST_WARMUP


@pytest.mark.parametrize(("frame_ms", "missed"), [(10, 0), (150, 8), (250, 9)])
def test_paced_run_counts_frames_that_were_not_done_in_time(monkeypatch, frame_ms, missed):
    """Ten frames of a camera of 10 a second, on a clock of our own."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    options = BenchOptions(camera_fps=10, paced_frames=10)
    engine = Counting("openvino", lambda _: now.__setitem__(0, now[0] + frame_ms / 1000))
    found = timing.paced(engine, IMAGES, options)
    assert found.frames == 10 and found.missed >= missed and (found.missed > 0) == (frame_ms > 100)
    assert timing.paced(engine, [], BenchOptions(camera_fps=0)) is None


@pytest.mark.slow
def test_run_that_was_cut_short_goes_on_from_its_finished_rows(onnx_file, int8_file, streets, tmp_path, monkeypatch):
    both = [Variant(onnx_file, "onnxruntime", "f32"), Variant(int8_file, "onnxruntime", "f32")]
    one_by_one = BenchOptions(1, 1, 1, camera_fps=0, together=1)
    opened = []
    real = measurement.open_engine

    def dying(path, **words):
        opened.append(path)
        if len(opened) == 2:
            raise BadInput("killed")
        return real(path, **words)

    monkeypatch.setattr(measurement, "open_engine", dying)
    with pytest.raises(BadInput, match="killed"):
        bench(both, streets, options=one_by_one, out=tmp_path)
    assert (tmp_path / "unfinished.json").is_file()
    made = bench(both, streets, options=one_by_one, out=tmp_path)
    assert opened == [onnx_file, int8_file, int8_file]
    assert [row.precision for row in made.rows] == ["fp32", "int8"]
    assert not (tmp_path / "unfinished.json").exists()
    assert sorted(path.suffix for path in (tmp_path / "samples").iterdir()) == [".jpg"] * 3


def test_rows_of_another_protocol_are_not_taken_up(onnx_file, streets, tmp_path):
    kept = Partial(tmp_path, streets, SHORTEST)
    finished = FinishedRow(from_mapping(RecordRow, row_table(), "row"), ("a",))
    kept.add([Variant(onnx_file, "onnxruntime", "f32")], [finished])
    again = Partial(tmp_path, streets, SHORTEST)
    assert again.has(Variant(onnx_file, "onnxruntime", "f32"))
    assert again.rows_of([Variant(onnx_file, "onnxruntime", "f32")]) == [finished]
    assert not Partial(tmp_path, streets, QUICK).has(Variant(onnx_file, "onnxruntime", "f32"))
    (tmp_path / "unfinished.json").write_text("half a fi")
    assert not Partial(tmp_path, streets, SHORTEST).has(Variant(onnx_file, "onnxruntime", "f32"))


def test_chosen_targets_only(onnx_file, int8_file):
    variants = variants_from_files([onnx_file, int8_file], ["onnxruntime"])
    assert variants == [Variant(onnx_file, "onnxruntime", "f32"), Variant(int8_file, "onnxruntime", "f32")]


def test_chosen_precisions_only(onnx_file, int8_file, monkeypatch):
    monkeypatch.setattr(variants, "has_bf16", lambda: True)
    found = variants_from_files([onnx_file, int8_file], ["openvino"], ["bf16", "int8"])
    assert found == [Variant(onnx_file, "openvino", "bf16"), Variant(int8_file, "openvino", "f32")]
    with refused(BadInput, "fp16", "calib"):
        variants_from_files([onnx_file], ["openvino"], ["fp16"])


def test_bf16_is_for_fp32_files_whatever_their_name(onnx_file, int8_file, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "has_bf16", lambda: True)
    renamed = tmp_path / "net.onnx"
    renamed.write_bytes(int8_file.read_bytes())
    assert [v.execution for v in variants_from_files([onnx_file], ["openvino"])] == ["f32", "bf16"]
    assert [v.execution for v in variants_from_files([renamed], ["openvino"])] == ["f32"]


@pytest.mark.slow
def test_checkpoint_runs_in_pytorch_and_a_directory_as_it_was_built(checkpoint_file, onnx_file, tmp_path, streets):
    built = build_engine(onnx_file, tmp_path / "engine", target="onnxruntime", precision="fp32")
    variants = variants_from_files([checkpoint_file, built.path])
    assert [(v.target, v.execution) for v in variants] == [("pytorch", "f32"), ("onnxruntime", "f32")]
    made = bench([checkpoint_file, built.path], streets, options=SHORTEST)
    sizes = [row.size_mb for row in made.rows]
    assert sizes == [round(path.stat().st_size / 1e6, 2) for path in (checkpoint_file, built.path / "model.onnx")]


@pytest.mark.slow
def test_directory_built_for_bf16_is_measured_in_bf16(onnx_file, tmp_path):
    if not HAS_BF16 or find_spec("openvino") is None:
        pytest.skip("no bf16 on this CPU, or no openvino: nothing was compiled")
    built = build_engine(onnx_file, tmp_path / "engine", target="openvino", precision="bf16")
    assert variants_from_files([built.path]) == [Variant(built.path, "openvino", "bf16")]


def test_no_engine_at_all_is_told(onnx_file, monkeypatch):
    monkeypatch.setattr(variants, "available_targets", lambda: ("pytorch",))
    with refused(BackendMissing, "fcn-edge[cpu]"):
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

    broken = replace(streets, items=Broken(range(3)))
    made = bench(onnx_file, broken, target="onnxruntime", options=BenchOptions(1, 2, 1, camera_fps=0))
    assert (made.images, made.skipped) == (2, ("broken.jpg: not an image that decodes",))


def test_front_holds_what_nothing_else_beats_and_the_rest_name_what_does():
    figures = ((10, 0.5), (20, 0.6), (30, 0.6), (9, 0.4), (11, 0.45), (10, 0.5), (40, None))
    rows = [row_of(f"n{n}", p50, miou) for n, (p50, miou) in enumerate(figures)]
    rows.append(row_of("reference", 1, 0.9, target="reference"))
    marked = measurement.with_front(rows)
    assert [each.pareto for each in marked] == [True, True, False, True, False, True, False, False]
    beaten_by = [each.dominated_by and each.dominated_by[:2] for each in marked]
    assert beaten_by == [None, None, "n1", None, "n0", None, "n3", None]


def row_of(model, p50, miou, target="openvino"):
    """A row of that latency and mIoU."""
    latency = row_table()["latency_ms"] | {"p50": p50}
    return from_mapping(RecordRow, row_table(model=model, target=target, latency_ms=latency, miou=miou), "row")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_memory_and_starts_are_those_of_a_process_of_its_own(onnx_file, target):
    pytest.importorskip(target, reason=f"{target} is not installed: no memory was measured")
    ballast = bytearray(512 * 2**20)  # what this process holds must not count
    found = cold_start.fresh_process(Variant(onnx_file, target, "f32"))
    assert 30 < found["peak_rss_mb"] < len(ballast) / 2**20
    assert found["cold_start_ms"] > found["warm_start_ms"] > 0


@pytest.mark.slow
def test_memory_of_what_does_not_open_is_unknown(tmp_path):
    assert cold_start.fresh_process(Variant(tmp_path / "none.onnx", "onnxruntime", "f32")) == cold_start.NOTHING


@pytest.mark.parametrize("threads", [1, 3])
def test_reference_workload_runs_on_as_many_threads_as_asked(threads):
    with ReferenceWorkload(threads) as workload:
        assert min(workload.measured_ms()) > 0
        assert [set(product.ravel().tolist()) for _, _, product in workload._parts] == [{64 * 1.5**2}] * threads
