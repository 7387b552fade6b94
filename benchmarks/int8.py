"""INT8 by every method, with NNCF beside it on the same images: what each keeps, how long it takes, how big it is.

    python benchmarks/int8.py make net.onnx --calib camvid:camvid#train --data camvid:camvid#val --work out/net
    python benchmarks/int8.py time --work out/net
    cp out/net/record.json benchmarks/int8.net.json && python benchmarks/tables.py

`make` writes a file for each variant and a record of what it keeps: mIoU with the interval of what it loses
to fp32, in points, where --data has labels of the network's classes, and for every network the SQNR of the
scores and the share of equal pixels. `time` runs all variants in turn on this CPU and adds their medians to the
record. NNCF (pip install nncf) is run by default settings on its OpenVINO and its ONNX backend; --methods
compares our four methods and nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from fcn_edge.atomic_io import read_json, sha256_of_file, write_json
from fcn_edge.calibration import METHODS, CalibrationTable, images_from_source, quantized_file, table_from_images
from fcn_edge.calibration.images import CalibrationImages, spread_indices
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.device import this_device
from fcn_edge.engines import Engine, EngineOptions, engine_on_target
from fcn_edge.engines.base import Execution, Place
from fcn_edge.engines.reference_check import agreement_of
from fcn_edge.evaluation import Evaluation, evaluate
from fcn_edge.intervals import difference_from_images
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import input_from_frame

ROUNDS, EACH = 30, 3  # turns, and runs of each variant in a turn
NNCF_SUBSET = 300  # its own default: all images of a smaller set


@dataclass(frozen=True)
class Variant:
    """A file, and what runs it how. target: openvino, onnxruntime, or the reference run."""

    name: str
    file: Path
    execution: Execution = "f32"
    target: str = "openvino"

    def opened(self, spec: ModelSpec, threads: int | None = None) -> Engine:
        if self.target == "openvino":
            return OpenVinoFile(self.file, spec, self.execution, threads)
        return engine_on_target(self.file, self.target, EngineOptions(threads=threads))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make")
    make.add_argument("model", type=Path, help="fp32 ONNX file with its contract")
    make.add_argument("--calib", required=True)
    make.add_argument("--images", type=int, default=100, help="of --calib")
    make.add_argument("--data", required=True, help="a labelled set, none of whose images is in --calib")
    make.add_argument("--compared", type=int, default=16, help="images of --data for SQNR and agreement")
    make.add_argument("--methods", action="store_true", help="our four methods only")
    make.add_argument("--work", type=Path, required=True)
    timed = verbs.add_parser("time")
    timed.add_argument("--work", type=Path, required=True)
    timed.add_argument("--threads", type=int, default=2)
    timed.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    if given.verb == "time":
        time_variants(given.work, given.threads, given.rounds)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    images = images_from_source(given.calib, given.images)
    table = table_from_images(given.model, images)
    if given.methods:
        variants = made_by_methods(given.model, table, given.work)
    else:
        variants = made_by_all(given.model, images, table, given.work)
    record = {
        "schema": 2,
        "calibration": images.source,
        "calibration_images": len(images.images),
        **measured(list(variants), dataset_from_name(given.data), given.compared),
    }
    write_json(given.work / "record.json", record)


class OpenVinoFile(Engine):
    """Any file that OpenVINO reads, NNCF's too, with the contract of the network that it was made from."""

    target = "openvino"

    def __init__(self, path: Path, spec: ModelSpec, execution: Execution, threads: int | None = None) -> None:
        super().__init__(spec, precision="int8", execution=execution, path=path)
        self.runtime = f"openvino {openvino.__version__.partition('-')[0]}"
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": execution, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        self._request = core.compile_model(core.read_model(str(path)), "CPU", settings).create_infer_request()

    def _run(self, x: np.ndarray, place: Place) -> np.ndarray:
        self._request.infer([x], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)

    def _release(self) -> None:
        del self._request


def made_by_methods(model: Path, table: CalibrationTable, work: Path) -> Iterator[Variant]:
    """fp32, and INT8 by each method, placed for CPUs with VNNI."""
    yield Variant("fp32", model)
    for method in METHODS:
        yield Variant(method, quantized(model, work / f"{method}.onnx", replace(table, method=method)))


def made_by_all(model: Path, images: CalibrationImages, table: CalibrationTable, work: Path) -> Iterator[Variant]:
    """Every method, and the default one in bf16, with another placement and on other engines; NNCF's two files."""
    fp32, *by_method = made_by_methods(model, table, work)
    default = next(made for made in by_method if made.name == table.method)
    yield from (fp32, Variant("fp32, bf16 execution", model, "bf16"), *by_method)
    yield Variant(f"{default.name}, bf16 execution", default.file, "bf16")
    yield Variant(f"{default.name}, placement any", quantized(model, work / "any.onnx", table, placement="any"))
    yield Variant(f"{default.name}, ONNX Runtime", default.file, target="onnxruntime")
    yield Variant(f"{default.name}, reference run", default.file, target="reference")
    yield from made_by_nncf(model, images, work)


def quantized(model: Path, file: Path, table: CalibrationTable, **options: Any) -> Path:
    return quantized_file(model, file, precision="int8", table=table, **{"placement": "x86", **options}).path


def made_by_nncf(model: Path, images: CalibrationImages, work: Path) -> Iterator[Variant]:
    """NNCF's default quantization of the same network by the same images."""
    import nncf
    import onnx

    spec, held = contract_from_onnx(model).spec, onnx_from_file(model)

    def ready(image: Any) -> np.ndarray:
        return input_from_frame(image.read(), spec.preprocess)

    graph = openvino.Core().read_model(str(model))
    by_openvino = nncf.quantize(graph, nncf.Dataset(images.images, ready), subset_size=NNCF_SUBSET)
    openvino.save_model(by_openvino, work / "nncf.xml", compress_to_fp16=False)
    by_name = nncf.Dataset(images.images, lambda image: {held.graph.input[0].name: ready(image)})
    onnx.save(nncf.quantize(held, by_name, subset_size=NNCF_SUBSET), str(work / "nncf.onnx"))
    for backend, file in ("OpenVINO", work / "nncf.xml"), ("ONNX", work / "nncf.onnx"):
        yield Variant(f"NNCF {nncf.__version__}, {backend}", file)
        yield Variant(f"NNCF {nncf.__version__}, {backend}, bf16 execution", file, "bf16")


def measured(variants: list[Variant], data: Dataset, compared: int) -> dict[str, Any]:
    """What each variant keeps of the first, which is fp32."""
    fp32 = variants[0].file
    spec = contract_from_onnx(fp32).spec
    shown = [data.items[index].image() for index in spread_indices(len(data.items), compared)]
    is_labelled = data.classes == spec.classes
    reference = engine_on_target(fp32, "reference", EngineOptions())
    exact: Evaluation | None = None
    rows = []
    for made in variants:
        with made.opened(spec) as engine:
            near = agreement_of(engine, reference, shown)
            found = evaluate(engine, data) if is_labelled else None
        exact = exact or found
        row: dict[str, Any] = {
            "variant": made.name,
            "file": str(made.file),
            "target": made.target,
            "execution": made.execution,
            "size_mb": size_mb(made.file),
            "sqnr_db": near.sqnr_db,
            "agreement": near.agreement,
        }
        if found and exact:
            lost = difference_from_images(exact.images, found.images, spec.num_classes).intervals.miou
            row |= {"miou": found.scores.miou, "lost": lost and [100 * side for side in lost]}
        rows.append(row)
        print(row, flush=True)
    return {
        "model": spec.name,
        "size": list(spec.preprocess.size),
        "fp32_sha256": sha256_of_file(fp32),
        "data": data.name,
        "compared_images": compared,
        "rows": rows,
    }


def size_mb(file: Path) -> float:
    weights = file.with_suffix(".bin")
    return (file.stat().st_size + (weights.stat().st_size if file.suffix == ".xml" else 0)) / 1e6


def time_variants(work: Path, threads: int, rounds: int) -> None:
    """Add each variant's median latency to the record: all open at once, in turns; the reference run is not timed."""
    record = read_json(work / "record.json")
    rows = [row for row in record["rows"] if row["target"] != "reference"]
    spec = contract_from_onnx(Path(rows[0]["file"])).spec
    engines = [
        Variant(row["variant"], Path(row["file"]), row["execution"], row["target"]).opened(spec, threads)
        for row in rows
    ]
    frame = np.random.default_rng(0).integers(0, 256, (1, *spec.preprocess.size, 3), np.uint8)
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(rounds):
        for engine, taken in zip(engines, times):
            engine.infer(frame)  # the first of each turn finds cold caches
            taken += [seconds(lambda: engine.infer(frame)) for _ in range(EACH)]  # noqa: B023 - called at once
    for row, taken in zip(rows, times):
        row["latency_ms"], row["fastest_ms"] = 1000 * float(np.median(taken)), 1000 * min(taken)
        print(f"{row['variant']}: {row['latency_ms']:.1f} ms")
    device = this_device()
    record |= {"threads": threads, "rounds": rounds, "runtime": engines[0].runtime, "device": device.name}
    record["instruction_sets"] = list(device.instruction_sets)
    write_json(work / "record.json", record)


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
