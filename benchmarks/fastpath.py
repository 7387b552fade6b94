"""What a frame costs beside its network, each figure against what it is judged by, in one alternating run.

    python benchmarks/fastpath.py --source drive.mp4 --data camvid:camvid#val --out benchmarks/fastpath.json

input: a frame to the network's input, the native kernel against OpenCV (and numpy for the border of a letterbox).
view: scores to class map, overlay and counts at the frame's size, against OpenCV and numpy doing the same.
outside: input and view against the network, the same threads. heads: the folded head against full-size logits,
network alone, of the packaged network and of those given by --also. run: the pipeline on a file against
`benchmark_app`, OpenVINO's own tool, on the network alone. identical: class maps of the compiled kernel that differ
from the numpy reference, of random cases and of a data set.
"""

from __future__ import annotations

import argparse
import functools
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.buffers import Buffers
from fcn_edge.calibration import calibrate
from fcn_edge.data import dataset_from_name
from fcn_edge.device import git_commit, package_versions, this_device, usable_cpus
from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.engines.base import Engine
from fcn_edge.errors import FcnEdgeError
from fcn_edge.exporting import export
from fcn_edge.frame import Style
from fcn_edge.geometry import Sampling, align_corners, frame_sampling, letterbox_content, stretch, stride
from fcn_edge.onnxfile import contract_from_onnx
from fcn_edge.registry import PACKAGED_NETWORK, packaged_file
from fcn_edge.schema import to_mapping
from fcn_edge.spec import Preprocess
from fcn_edge.streaming import stream
from fcn_edge.streaming.sources import source_from_uri
from fcn_edge.transforms import (
    class_map_from_scores,
    input_from_frame,
    output_sampling,
    reference_class_map,
    taps,
    use_threads,
    view_from_scores,
)

SIZES = {"960x540": (540, 960), "1280x720": (720, 1280), "1920x1080": (1080, 1920)}
CASES = 500
PACKAGES = ("fcn-edge", "numpy", "opencv-python", "openvino")
DRAWN = "synthetic:street,seed=2,images=8,size=360x480"
INPUT = (360, 480)
IN_FLIGHT = 3  # as `run` has on recordings
STEADY_AFTER = 20  # frames of a file before its speed is taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a video, taken at its own size")
    parser.add_argument("--data", help="data set whose class maps are held against the reference")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="checkpoints whose heads are measured too")
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fcn-edge-") as scratch:
        files = files_in(Path(scratch), packaged_file(".safetensors"), packaged_file(".onnx"), PACKAGED_NETWORK)
        image = first_image(given.source)
        others = {}
        for number, checkpoint in enumerate(given.also):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            folded = export(checkpoint, folder / "fp32.onnx").path
            others[contract_from_onnx(folded).spec.name] = heads(
                files_in(folder, checkpoint, folded, DRAWN), given.threads, given.turns
            )
        record = {
            "schema": 1,
            "network": PACKAGED_NETWORK,
            "source": given.source.name,
            "protocol": {"turns": given.turns, "threads": given.threads},
            "input": inputs(image, given.threads, given.turns),
            "view": views(files, image, given.threads, given.turns),
            "outside": outside(files, image, given.threads, given.turns),
            "heads": {PACKAGED_NETWORK: heads(files, given.threads, given.turns), **others},
            "run": steady_run(files["int8"], given.source, given.threads, given.turns),
            "identical": identical(given.data),
            "device": {**to_mapping(this_device()), "name": this_device().name},
            "versions": {"python": sys.version.split()[0], **package_versions(PACKAGES)},
            "commit": git_commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
    for key in ("input", "view", "outside", "heads", "run", "identical"):
        print(f"{key}:")
        for name, value in record[key].items():
            print(f"  {name}: {value}")
    if given.out:
        write_json(given.out, record)


def files_in(folder: Path, checkpoint: Path, folded: Path, calib: str) -> dict[str, Path]:
    """Folded and full-size heads of a network, in fp32 and INT8. Scales from drawn streets say nothing of speed."""
    files = {"fp32": folded, **{name: folder / f"{name}.onnx" for name in ("fp32_full", "int8", "int8_full")}}
    export(checkpoint, files["fp32_full"], head="logits")
    calibrate(files["fp32"], calib, files["int8"], placement="x86")
    calibrate(files["fp32_full"], DRAWN, files["int8_full"], placement="x86")
    return files


def first_image(video: Path) -> np.ndarray:
    with source_from_uri(str(video)) as source:
        return next(iter(source.frames())).image


def medians(work: dict[str, Callable[[], Any]], turns: int, count: int = 25) -> dict[str, float]:
    """Milliseconds each: the median of the p50 of each turn; the first call of a turn does not count."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(turns):
        for name, call in work.items():
            spent = []
            for _ in range(count + 1):
                started = time.perf_counter()
                call()
                spent.append(1000 * (time.perf_counter() - started))
            times[name].append(statistics.median(spent[1:]))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def opened(path: Path, execution: str, threads: int, stack: ExitStack) -> Engine | None:
    try:
        options = EngineOptions(execution, threads)  # type: ignore[arg-type]
        return stack.enter_context(open_engine(path, target="openvino", options=options))
    except FcnEdgeError:  # a CPU without bf16
        return None


def inputs(image: np.ndarray, threads: int, turns: int) -> dict[str, Any]:
    found = {}
    use_threads(threads)
    workspace, out = Buffers(threads), np.empty((1, *INPUT, 3), np.uint8)
    for name, size in {**SIZES, "960x720": (720, 960)}.items():
        frame = cv2.resize(image, size[::-1])
        for resize in ("stretch", "letterbox"):
            preprocess = Preprocess(*INPUT, (124.0, 116.0, 104.0), (1.0, 1.0, 1.0), resize=resize)
            height, width, top, left = letterbox_content(size, INPUT) if resize == "letterbox" else (*INPUT, 0, 0)
            inside = out[0, top : top + height, left : left + width]

            def ours(frame: np.ndarray = frame, preprocess: Preprocess = preprocess) -> Any:
                return input_from_frame(frame, preprocess, out, workspace)

            def theirs(frame: np.ndarray = frame, inside: np.ndarray = inside) -> None:
                if inside.shape != out.shape[1:]:
                    out[...] = 116
                inside[...] = cv2.resize(frame, inside.shape[1::-1])

            times = medians({"kernel": ours, "opencv": theirs}, turns, 40)
            found[f"{name} {resize}"] = {**times, "ratio": round(times["opencv"] / times["kernel"], 2)}
    return found


def views(files: dict[str, Path], image: np.ndarray, threads: int, turns: int) -> dict[str, Any]:
    found = {}
    with open_engine(files["fp32"], options=EngineOptions("f32", threads)) as engine:
        scores = engine.infer(input_from_frame(image, engine.spec.preprocess))[0].copy()
        palette = np.array(engine.spec.palette, np.uint8)[:, ::-1]
        for name, size in SIZES.items():
            frame = cv2.resize(image, size[::-1])

            def ours(frame: np.ndarray = frame) -> Any:
                return view_from_scores(scores, frame, engine.spec, Style(), engine.workspace)

            def theirs(frame: np.ndarray = frame) -> np.ndarray:
                return opencv_view(scores[:, :90], frame, palette)

            times = medians({"kernel": ours, "opencv_numpy": theirs}, turns, 6)
            found[name] = {**times, "ratio": round(times["opencv_numpy"] / times["kernel"], 1)}
    return found


def opencv_view(scores: np.ndarray, frame: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The same picture in whole passes: every class enlarged, arg-max, look-up, blend."""
    size = frame.shape[1::-1]
    classes = np.stack([cv2.resize(one, size) for one in scores]).argmax(0)
    return cv2.addWeighted(frame, 0.5, palette[classes], 0.5, 0)


def outside(files: dict[str, Path], image: np.ndarray, threads: int, turns: int) -> dict[str, Any]:
    """p50 of input, network and view of a 1280x720 frame, and what input and view are of the network."""
    frame = cv2.resize(image, SIZES["1280x720"][::-1])
    found = {}
    with ExitStack() as stack:
        kinds = {"int8": (files["int8"], "f32"), "bf16": (files["fp32"], "bf16"), "fp32": (files["fp32"], "f32")}
        engines = {name: opened(*kind, threads, stack) for name, kind in kinds.items()}
        times: dict[str, list[Any]] = {name: [] for name in engines}
        for _ in range(turns):
            for name, engine in engines.items():
                if engine is not None:
                    spent = [engine.segment(frame).times for _ in range(16)]
                    times[name] += spent[1:]
    for name, spent in times.items():
        if spent:
            stages = {
                stage: statistics.median(getattr(t, f"{stage}_ns") for t in spent) / 1e6
                for stage in ("input", "infer", "view")
            }
            share = (stages["input"] + stages["view"]) / stages["infer"]
            found[name] = {**{stage: round(value, 3) for stage, value in stages.items()}, "share": round(share, 3)}
    return found


def heads(files: dict[str, Path], threads: int, turns: int) -> dict[str, Any]:
    found = {}
    for name, kind, execution in (("fp32", "fp32", "f32"), ("bf16", "fp32", "bf16"), ("int8", "int8", "f32")):
        with ExitStack() as stack:
            folded = opened(files[kind], execution, threads, stack)
            full = opened(files[f"{kind}_full"], execution, threads, stack)
            if folded is None or full is None:
                continue
            x = np.random.default_rng(0).integers(0, 256, (1, *folded.spec.preprocess.size, 3), np.uint8)
            work = {"folded": functools.partial(folded.infer, x), "full_size": functools.partial(full.infer, x)}
            times = medians(work, turns)
            found[name] = {**times, "ratio": round(times["full_size"] / times["folded"], 3)}
    return found


def steady_run(path: Path, video: Path, threads: int, turns: int) -> dict[str, Any]:
    """Frames a second of the pipeline on the file, decoding and overlay included, and of benchmark_app."""
    tool = shutil.which("benchmark_app", path=str(Path(sys.executable).parent)) or shutil.which("benchmark_app")
    ours, theirs = [], []
    for _ in range(turns):
        with open_engine(path, target="openvino", options=EngineOptions("f32", threads, IN_FLIGHT)) as engine:
            ours.append(pipeline_fps(engine, video))
        if tool:
            command = [
                tool,
                "-m",
                str(path),
                "-d",
                "CPU",
                "-hint",
                "none",
                "-nstreams",
                str(threads),
                "-nthreads",
                str(threads),
                "-infer_precision",
                "f32",
                "-t",
                "3",
            ]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            theirs.append(float(re.findall(r"Throughput:\s+([\d.]+)", printed)[-1]))
    fps, alone = round(statistics.median(ours), 1), round(statistics.median(theirs), 1) if theirs else None
    return {"pipeline_fps": fps, "benchmark_app_fps": alone, "ratio": round(fps / alone, 3) if alone else None}


def pipeline_fps(engine: Engine, video: Path) -> float:
    with source_from_uri(str(video)) as source:
        for count, _ in enumerate(stream(engine, source=source)):
            if count == STEADY_AFTER:
                started = time.perf_counter()
    return (count - STEADY_AFTER) / (time.perf_counter() - started)


def identical(data: str | None) -> dict[str, Any]:
    differing = sum(not is_exact(*random_case(seed)) for seed in range(CASES))
    found: dict[str, Any] = {"random_cases": CASES, "differing_cases": differing}
    if data is None:
        return found
    pixels = 0
    items = dataset_from_name(data).items
    with open_engine(PACKAGED_NETWORK) as engine:
        for item in items:
            image = item.image()
            scores = engine.infer(input_from_frame(image, engine.spec.preprocess))[0]
            pixels += differing_pixels(scores, output_sampling(engine.spec, (image.shape[0], image.shape[1])))
    return {**found, "data": data, "images": len(items), "differing_pixels": pixels}


def random_case(seed: int) -> tuple[np.ndarray, Sampling]:
    """Scores of 1 to 255 classes in areas, with ties, and any of the geometries, odd sizes, letterbox."""
    random = np.random.default_rng(seed)
    network = tuple(int(n) * 32 for n in random.integers(2, 8, 2))
    frame = tuple(int(n) for n in random.integers(33, 400, 2))
    step = int(random.choice([4, 8, 16, 32]))
    cells = [max(2, side // step) for side in network]
    axis = random.choice(3)
    head = Sampling(
        *(
            (stride(side, step), stretch(side, count), align_corners(side, count))[axis]
            for side, count in zip(network, cells)
        )
    )
    classes = int(random.choice([2, 11, 19, 21, 150, 255]))
    scores = random.standard_normal((classes, *cells), np.float32).cumsum(1).cumsum(2)
    if random.random() < 0.3:
        scores = scores.round()
    resize = str(random.choice(["stretch", "letterbox"]))
    return scores, frame_sampling((frame[0], frame[1]), (network[0], network[1]), resize).then(head)


def is_exact(scores: np.ndarray, sampling: Sampling) -> bool:
    return differing_pixels(scores, sampling) == 0


def differing_pixels(scores: np.ndarray, sampling: Sampling) -> int:
    y, x = taps(sampling.y, scores.shape[1]), taps(sampling.x, scores.shape[2])
    wanted = reference_class_map(scores, y, x, np.empty(sampling.size, np.uint8))
    return int((class_map_from_scores(scores, sampling) != wanted).sum())


if __name__ == "__main__":
    main()
