"""INT8 by every method, with NNCF beside it on the same images: what each keeps, how long it takes, how big it is.

    python benchmarks/int8.py make net.onnx --calib camvid:camvid#train --data camvid:camvid#val --work out/net
    python benchmarks/int8.py time --work out/net
    python benchmarks/int8.py table out/*/record.json

`make` writes a file for each variant and a record of what it keeps on OpenVINO: mIoU with the interval of
what it loses to fp32, in points, where --data has labels of the network's classes, and for every network the
SQNR of the scores and the share of equal pixels. `time` runs all variants in turn on this CPU and
adds their medians to the record. NNCF, if installed (pip install nncf), is run by default settings on its
OpenVINO and its ONNX backend.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from fcn_edge.calib import METHODS, CalibrationTable, images_from_source, quantized_file, table_from_images
from fcn_edge.calib.images import CalibrationImages, spread_indices
from fcn_edge.calib.refine import table_with_roundings
from fcn_edge.data import Dataset, dataset_from_name
from fcn_edge.device import this_device
from fcn_edge.engines import Engine, EngineOptions, engine_on_target
from fcn_edge.engines.base import Execution
from fcn_edge.evaluate import Evaluation, evaluate_engine
from fcn_edge.fidelity import fidelity
from fcn_edge.files import read_json, write_json
from fcn_edge.intervals import difference_from_images
from fcn_edge.onnxfile import contract_from_onnx, onnx_from_file
from fcn_edge.spec import ModelSpec
from fcn_edge.transforms import input_from_frame

ROUNDS, EACH = 30, 3  # turns, and runs of each variant in a turn
FP32, BF16 = "fp32", "fp32, bf16 execution"
NNCF_SUBSET = 300  # its own default: all images of a smaller set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make")
    make.add_argument("model", type=Path, help="fp32 ONNX file with its contract")
    make.add_argument("--calib", required=True)
    make.add_argument("--images", type=int, default=100, help="of --calib")
    make.add_argument("--data", required=True, help="a labelled set, none of whose images is in --calib")
    make.add_argument("--compared", type=int, default=16, help="images of --data for SQNR and agreement")
    make.add_argument("--work", type=Path, required=True)
    timed = verbs.add_parser("time")
    timed.add_argument("--work", type=Path, required=True)
    timed.add_argument("--threads", type=int, default=2)
    table = verbs.add_parser("table")
    table.add_argument("records", type=Path, nargs="+")
    given = parser.parse_args()
    if given.verb == "make":
        images = images_from_source(given.calib, given.images)
        make_variants(given.model, images, dataset_from_name(given.data), given.compared, given.work)
    elif given.verb == "time":
        time_variants(given.work, given.threads)
    else:
        print("\n\n".join(markdown(read_json(path)) for path in given.records))


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

    def _run(self, x: np.ndarray) -> np.ndarray:
        self._request.infer([x], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data)

    def _release(self) -> None:
        del self._request


def make_variants(model: Path, images: CalibrationImages, data: Dataset, compared: int, work: Path) -> None:
    """Write every variant into `work`, measure what it keeps, and record it."""
    work.mkdir(parents=True, exist_ok=True)
    spec = contract_from_onnx(model).spec
    (work / "fp32.onnx").write_bytes(model.read_bytes())
    table = table_with_roundings(model, table_from_images(model, images), images)
    files = {FP32: work / "fp32.onnx", BF16: work / "fp32.onnx"}
    files |= our_files(model, table, work) | nncf_files(model, images, spec, work)
    is_labelled = data.classes == spec.classes
    shown = [data.items[index].image() for index in spread_indices(len(data.items), compared)]
    rows: list[dict[str, Any]] = []
    exact: Evaluation | None = None
    reference = engine_on_target(files[FP32], "reference", EngineOptions())
    for name, file in files.items():
        execution: Execution = "bf16" if name == BF16 else "f32"
        with OpenVinoFile(file, spec, execution) as engine:
            near = fidelity(engine, reference, shown)
            found = evaluate_engine(engine, data) if is_labelled else None
        exact = exact or found
        row = {"variant": name, "file": file.name, "size_mb": size_mb(file), "execution": execution,
               "sqnr_db": near.sqnr_db, "agreement": near.agreement, "miou": found and found.scores.miou}  # fmt: skip
        if found and exact:
            difference = difference_from_images(exact.images, found.images, spec.num_classes).intervals.miou
            row["lost"] = difference and [100 * side for side in difference]
        rows.append(row)
        print(name, {key: value for key, value in row.items() if key not in ("variant", "file")}, flush=True)
    record = {"schema": 1, "model": spec.name, "calibration": images.source, "calibration_images": len(images.images),
              "data": data.name, "compared_images": compared, "rows": rows}  # fmt: skip
    write_json(work / "record.json", record)


def our_files(model: Path, table: CalibrationTable, work: Path) -> dict[str, Path]:
    """Variant -> file: every method, and the default method without and with each refinement and placement."""
    from dataclasses import replace

    def made(name: str, **options: Any) -> Path:
        method = options.pop("method", table.method)
        file = work / f"{name}.onnx"
        options = {"placement": "x86", "refine": ("bias",), **options}
        return quantized_file(model, file, precision="int8", table=replace(table, method=method), **options).path

    files = {f"{method}": made(method, method=method) for method in METHODS}
    files[f"{table.method}, not refined"] = made("plain", refine=())
    files[f"{table.method}, rounding"] = made("rounding", refine=("rounding",))
    files[f"{table.method}, bias and rounding"] = made("both", refine=("bias", "rounding"))
    files[f"{table.method}, placement any"] = made("any", placement="any")
    return files


def nncf_files(model: Path, images: CalibrationImages, spec: ModelSpec, work: Path) -> dict[str, Path]:
    """NNCF's default quantization of the same network by the same images; nothing where it is not installed."""
    if find_spec("nncf") is None:
        return {}
    import nncf
    import onnx

    def ready(image: Any) -> np.ndarray:
        return input_from_frame(image.read(), spec.preprocess)

    graph = openvino.Core().read_model(str(model))
    quantized = nncf.quantize(graph, nncf.Dataset(images.images, ready), subset_size=NNCF_SUBSET)
    openvino.save_model(quantized, work / "nncf.xml", compress_to_fp16=False)
    held = onnx_from_file(model)
    by_name = nncf.Dataset(images.images, lambda image: {held.graph.input[0].name: ready(image)})
    onnx.save(nncf.quantize(held, by_name, subset_size=NNCF_SUBSET), str(work / "nncf.onnx"))
    return {
        f"NNCF {nncf.__version__}, OpenVINO": work / "nncf.xml",
        f"NNCF {nncf.__version__}, ONNX": work / "nncf.onnx",
    }


def size_mb(file: Path) -> float:
    weights = file.with_suffix(".bin")
    return (file.stat().st_size + (weights.stat().st_size if file.suffix == ".xml" else 0)) / 1e6


def time_variants(work: Path, threads: int) -> None:
    """Add each variant's median latency to the record: all open at once, in turns."""
    record, spec = read_json(work / "record.json"), contract_from_onnx(work / "fp32.onnx").spec
    rows = [*record["rows"], *around_bf16(record["rows"])]
    engines = [OpenVinoFile(work / row["file"], spec, row["execution"], threads) for row in rows]
    frame = np.random.default_rng(0).integers(0, 256, (1, *spec.preprocess.size, 3), np.uint8)
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for engine, taken in zip(engines, times):
            engine.infer(frame)  # the first of each turn finds cold caches
            taken += [seconds(lambda: engine.infer(frame)) for _ in range(EACH)]  # noqa: B023 - called at once
    for row, taken in zip(rows, times):
        row["latency_ms"], row["fastest_ms"] = 1000 * float(np.median(taken)), 1000 * min(taken)
    device = this_device()
    record |= {"rows": rows, "threads": threads, "runtime": engines[0].runtime, "device": device.name}
    record["instruction_sets"] = list(device.instruction_sets)
    write_json(work / "record.json", record)
    print(markdown(record))


def around_bf16(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The default INT8 file once more, what is float in it executed in bf16; its accuracy is not measured."""
    default = next(row for row in rows if row["variant"] == "percentile")
    kept = {"variant": "percentile, bf16 execution", "file": default["file"], "size_mb": default["size_mb"]}
    return [] if any(row["variant"] == kept["variant"] for row in rows) else [{**kept, "execution": "bf16"}]


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def markdown(record: dict[str, Any]) -> str:
    """The record as a table; times as ratios to fp32's."""
    base = record["rows"][0].get("latency_ms")
    lines = [f"| {record['model']} | mIoU | points lost, 95 % | SQNR dB | equal pixels | MB | time, fp32 = 1 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in record["rows"]:
        lost = row.get("lost")
        cells = [
            row["variant"],
            "" if row.get("miou") is None else f"{100 * row['miou']:.2f}",
            "" if not lost or row["variant"] == FP32 else f"{lost[0]:+.2f} to {lost[1]:+.2f}",
            "" if row.get("sqnr_db") is None else f"{row['sqnr_db']:.1f}",
            "" if row.get("agreement") is None else f"{100 * row['agreement']:.2f} %",
            f"{row['size_mb']:.1f}",
            f"{row['latency_ms'] / base:.2f}" if base and "latency_ms" in row else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
