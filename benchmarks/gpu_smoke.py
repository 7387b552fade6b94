"""All that needs an NVIDIA GPU, in one command and under ten minutes.

    python benchmarks/gpu_smoke.py --out gpu_smoke.json

Holds the CUDA interface against itself and the CUDA kernels against numpy and OpenCV; builds the packaged network for
the TensorRT that is here in fp32, fp16 and int8, and holds class maps against the reference run of the same files;
times network, kernels and whole frames, with and without a CUDA graph. Where no engine can be built, PyTorch takes its
place between the kernels. Writes one record with device, versions and every check.

Exit codes: 0 everything agrees, 1 something does not (the record and the last line say what), 3 no GPU that can be
used. It knows no figure beforehand: what it prints was measured by the run that prints it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.data import dataset_from_name
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.diagnosis.machine import Machine
from fcn_edge.diagnosis.nvidia import nvidia_findings
from fcn_edge.engines import EngineOptions, Target, open_engine
from fcn_edge.engines.trt import require_target
from fcn_edge.engines.trt.cuda import Cuda, Memory, Stream, open_cuda
from fcn_edge.engines.trt.kernels import COUNTS, FrameLayout, InputKernel, Kernels, ViewKernel
from fcn_edge.engines.trt.vendor import missing_gpu
from fcn_edge.errors import BackendMissing, FcnEdgeError
from fcn_edge.frame import Style
from fcn_edge.geometry import Sampling, frame_sampling, pad100, stretch, stride
from fcn_edge.percentiles import nearest_rank
from fcn_edge.registry import packaged_file
from fcn_edge.schema import to_mapping
from fcn_edge.spec import ModelSpec, Preprocess
from fcn_edge.transforms import (
    class_map_from_output,
    ink_table,
    input_from_frame,
    output_sampling,
    reference_class_map,
    reference_overlay,
    taps,
)

FRAME = (720, 1280)
STREETS = "synthetic:street,seed=5,images=4,size=720x1280"
CALIBRATION = "synthetic:street,seed=6,images=8"
VERSIONS = (
    "fcn-edge",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx-cu12",
    "cuda-bindings",
    "pycuda",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "numpy",
    "opencv-python",
)
WARM_UP = 20
AGREEMENT = 0.98  # of pixels, of an engine with the reference run of its own file
SHAPES: dict[str, tuple[tuple[int, int, int], Sampling]] = {
    "odd sizes": ((11, 7, 9), Sampling(stretch(137, 7), stretch(253, 9))),
    "one class": ((1, 4, 5), Sampling(stretch(133, 4), stretch(121, 5))),
    "150 classes": ((150, 24, 32), Sampling(stretch(480, 24), stretch(640, 32))),
    "pad-100": ((21, 34, 38), Sampling(pad100(165, 8), pad100(197, 8))),
    "letterbox": (
        (11, 45, 60),
        frame_sampling(FRAME, (360, 480), "letterbox").then(Sampling(stride(360, 8), stride(480, 8))),
    ),
}


class Report:
    """Checks and times as they come; one that fails does not stop the others."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.checks: list[dict[str, Any]] = []
        self.times: dict[str, dict[str, float]] = {}
        self._say = say

    @contextmanager
    def checked(self, name: str) -> Iterator[list[str]]:
        """A check: what is wrong is put into the list, or raised."""
        wrong: list[str] = []
        started = time.monotonic()
        try:
            yield wrong
        except FcnEdgeError as error:
            wrong.append(str(error))
        except Exception:  # a defect of ours or of a vendor: it belongs into the record of a machine we cannot see
            wrong.append(traceback.format_exc())
        seconds = round(time.monotonic() - started, 2)
        self.checks.append({"name": name, "ok": not wrong, "wrong": wrong, "seconds": seconds})
        self._say(f"{'FAIL' if wrong else 'ok':4} {name}, {seconds} s{': ' if wrong else ''}{'; '.join(wrong)}")

    def timed(self, name: str, samples_ms: list[float]) -> None:
        wanted = (50, 95, 99)
        self.times[name] = {f"p{q}": round(ms, 4) for q, ms in zip(wanted, nearest_rank(samples_ms, wanted))}
        self.times[name]["samples"] = len(samples_ms)
        self._say(f"     {name}, ms: " + ", ".join(f"{key} {value}" for key, value in self.times[name].items()))

    @property
    def failed(self) -> list[str]:
        return [check["name"] for check in self.checks if not check["ok"]]


def uploaded(cuda: Cuda, stream: Stream, array: np.ndarray) -> Memory:
    pinned, memory = cuda.pinned(array.shape, array.dtype), cuda.alloc(array.nbytes)
    pinned.array[...] = array
    stream.copy_in(memory, pinned.array)
    stream.synchronize()
    pinned.close()
    return memory


def downloaded(cuda: Cuda, stream: Stream, memory: Memory, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    pinned = cuda.pinned(shape, dtype)
    stream.copy_out(pinned.array, memory)
    stream.synchronize()
    result = pinned.array.copy()
    pinned.close()
    return result


def check_interface(cuda: Cuda, report: Report) -> None:
    """Copies there and back, marks, two streams, and a graph that does again what was recorded."""
    data = np.random.default_rng(1).integers(0, 256, 1 << 22, np.uint8)
    with report.checked("CUDA interface: copies, events, streams") as wrong:
        stream, other, start, end = cuda.stream(), cuda.stream(), cuda.event(), cuda.event()
        memory, pinned = cuda.alloc(data.nbytes), cuda.pinned(data.shape, np.uint8)
        pinned.array[...] = data
        stream.record(start)
        stream.copy_in(memory, pinned.array)
        stream.record(end)
        other.hold(end)
        if not np.array_equal(downloaded(cuda, other, memory, data.shape, np.uint8), data):
            wrong.append("what came back is not what went in")
        if not end.ms_since(start) > 0:
            wrong.append("a copy took no time")
    if not cuda.driver.can_capture:
        return
    with report.checked("CUDA interface: a graph") as wrong:
        stream, source, target = cuda.stream(), cuda.pinned(data.shape, np.uint8), cuda.pinned(data.shape, np.uint8)
        memory = cuda.alloc(data.nbytes)
        with stream.captured() as made:
            stream.copy_in(memory, source.array)
            stream.copy_out(target.array, memory)
        for round_ in range(2):
            source.array[...] = data + round_
            stream.run(made[0])
            stream.synchronize()
            if not np.array_equal(target.array, data + round_):
                wrong.append(f"run {round_} of the graph gave something else")


def check_kernels(cuda: Cuda, report: Report, image: bytes | None = None) -> None:
    """Class maps and overlays bit for bit as numpy has them, inputs within one level of OpenCV."""
    with report.checked("CUDA kernels: load") as wrong:
        kernels = Kernels(cuda, image)
    if wrong:
        return
    for name, (shape, sampling) in SHAPES.items():
        for dtype in (np.float32, np.float16):
            check_view(cuda, kernels, report, f"{name}, {np.dtype(dtype).name}", shape, sampling, dtype)
    for layout in (FrameLayout(*FRAME), FrameLayout(*FRAME, "nv12")):
        check_input(cuda, kernels, report, layout)


def random_frame(layout: FrameLayout) -> tuple[np.ndarray, np.ndarray]:
    """A frame as it lies in memory, and as BGR."""
    random = np.random.default_rng(layout.height)
    if layout.format == "bgr":
        frame = random.integers(0, 256, (layout.height, layout.width, 3), np.uint8)
        return frame, frame
    frame = random.integers(0, 256, (layout.height * 3 // 2, layout.width), np.uint8)
    return frame, cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_NV12)


def check_view(
    cuda: Cuda, kernels: Kernels, report: Report, name: str, shape: tuple[int, int, int], sampling: Sampling, dtype: Any
) -> None:
    scores = np.random.default_rng(2).standard_normal(shape, np.float32).astype(dtype)
    layout, stream = FrameLayout(*sampling.size), cuda.stream()
    size, frame = layout.height * layout.width, random_frame(layout)[0]
    palette = tuple((index, 255 - index, index * 7 % 256) for index in range(255))
    ink = ink_table(palette, Style(0.4))
    with report.checked(f"CUDA kernels: class map and overlay, {name}") as wrong:
        view = ViewKernel(kernels, stream, sampling, layout, shape=shape, dtype=dtype, ink=ink)
        classes, overlay, counts = cuda.alloc(size), cuda.alloc(3 * size), cuda.alloc(4 * COUNTS)
        view.launch(stream, uploaded(cuda, stream, scores), uploaded(cuda, stream, frame), classes, overlay, counts)
        y, x = taps(sampling.y, shape[1]), taps(sampling.x, shape[2])
        wanted = reference_class_map(scores.astype(np.float32), y, x, np.empty(sampling.size, np.uint8))
        drawn = reference_overlay(wanted, frame, ink, np.empty_like(frame))
        expected = {
            "class map": (classes, wanted),
            "overlay": (overlay, drawn),
            "counts": (counts, np.bincount(wanted.ravel(), minlength=COUNTS).astype(np.uint32)),
        }
        for what, (memory, right) in expected.items():
            found = downloaded(cuda, stream, memory, right.shape, right.dtype)
            if differing := int((found != right).sum()):
                wrong.append(f"{what}: {differing} of {right.size} values differ from numpy's")


def check_input(cuda: Cuda, kernels: Kernels, report: Report, layout: FrameLayout) -> None:
    preprocess = Preprocess(360, 480, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4), resize="letterbox")
    frame, bgr = random_frame(layout)
    stream = cuda.stream()
    with report.checked(f"CUDA kernels: network input from {layout.format}") as wrong:
        memory, shape = uploaded(cuda, stream, frame), (1, *preprocess.size, 3)
        out = cuda.alloc(int(np.prod(shape)))
        InputKernel(kernels, stream, preprocess, layout).launch(stream, memory, out)
        levels = downloaded(cuda, stream, out, shape, np.uint8)
        if (apart := int(np.abs(levels.astype(int) - input_from_frame(bgr, preprocess)).max())) > 1:
            wrong.append(f"uint8: {apart} levels from OpenCV's")


def time_kernels(cuda: Cuda, report: Report, spec: ModelSpec, rounds: int, image: bytes | None = None) -> None:
    """Input and view of a 720p frame of the packaged network, alone on the device."""
    with report.checked("CUDA kernels: timed at 1280x720"):
        stream, kernels, layout = cuda.stream(), Kernels(cuda, image), FrameLayout(*FRAME)
        sampling = output_sampling(spec, FRAME)
        cells = tuple(
            int(np.ceil(axis.scale * size))
            for axis, size in zip((spec.head.sampling.y, spec.head.sampling.x), spec.preprocess.size)
        )
        shape = (spec.num_classes, *cells)
        scores = uploaded(cuda, stream, np.random.default_rng(3).standard_normal(shape, np.float32))
        frame = uploaded(cuda, stream, random_frame(layout)[0])
        view = ViewKernel(
            kernels, stream, sampling, layout, shape=shape, dtype=np.float32, ink=ink_table(spec.palette, Style())
        )
        ready = InputKernel(kernels, stream, spec.preprocess, layout)
        pixels = FRAME[0] * FRAME[1]
        out = cuda.alloc(int(np.prod(spec.preprocess.size)) * 3)
        buffers = cuda.alloc(pixels), cuda.alloc(3 * pixels), cuda.alloc(4 * COUNTS)
        work = {
            "input kernel": lambda: ready.launch(stream, frame, out),
            "view kernel": lambda: view.launch(stream, scores, frame, *buffers),
        }
        for name, launch in work.items():
            report.timed(name, device_ms(cuda, stream, launch, rounds))


def device_ms(cuda: Cuda, stream: Stream, launch: Callable[[], None], rounds: int) -> list[float]:
    """Milliseconds between marks before and behind `launch`, warmed up."""
    start, end, samples = cuda.event(), cuda.event(), []
    for index in range(WARM_UP + rounds):
        stream.record(start)
        launch()
        stream.record(end)
        end.wait()
        if index >= WARM_UP:
            samples.append(end.ms_since(start))
    return samples


def check_engine(target: Target, precision: str, folder: Path, report: Report, rounds: int) -> None:
    """Build, hold against the reference run of the same file, time."""
    from fcn_edge.build import build_engine

    name = f"{target} {precision}"
    out = folder / name.replace(" ", "-")
    with report.checked(f"{name}: builds and agrees with the reference run of its file") as wrong:
        calib = None if precision == "fp32" else CALIBRATION
        build_engine(None, out, target=target, precision=precision, calib=calib)  # type: ignore[arg-type]
        frames = [item.image() for item in dataset_from_name(STREETS).items]
        with open_engine(out) as engine, open_engine(out / "model.onnx", target="reference") as reference:
            for image in frames:
                x = input_from_frame(image, engine.spec.preprocess)
                found, wanted = (
                    class_map_from_output(each.infer(x)[0], each.spec, FRAME) for each in (engine, reference)
                )
                if (equal := float((found == wanted).mean())) < AGREEMENT:
                    wrong.append(f"{equal:.4f} of pixels equal, at least {AGREEMENT} expected")
            steps = engine.segment(frames[0], Style()).class_map
            if (equal := float((steps == class_map_of(engine, frames[0])).mean())) < AGREEMENT:
                wrong.append(f"segment() and the three steps agree in {equal:.4f} of pixels only")
    if not wrong:
        for use_graph in (True, False):
            time_engine(out, name, frames[0], report, use_graph=use_graph, rounds=rounds)


def class_map_of(engine: Any, image: np.ndarray) -> np.ndarray:
    scores = engine.infer(input_from_frame(image, engine.spec.preprocess))
    return class_map_from_output(scores[0], engine.spec, (image.shape[0], image.shape[1]))


def time_engine(path: Path, name: str, image: np.ndarray, report: Report, *, use_graph: bool, rounds: int) -> None:
    """The network from and to host memory, and a whole frame, as the host's clock has them."""
    words = "with a CUDA graph" if use_graph else "without a CUDA graph"
    with (
        report.checked(f"{name}: timed {words}"),
        open_engine(path, options=EngineOptions(cuda_graph=use_graph)) as engine,
    ):
        x = input_from_frame(image, engine.spec.preprocess)
        report.timed(f"{name}, network {words}", host_ms(lambda: engine.infer(x), rounds))
        report.timed(f"{name}, whole frame {words}", host_ms(lambda: engine.segment(image, Style()), rounds))


def host_ms(call: Callable[[], Any], rounds: int) -> list[float]:
    samples = []
    for index in range(WARM_UP + rounds):
        started = time.perf_counter_ns()
        call()
        if index >= WARM_UP:
            samples.append((time.perf_counter_ns() - started) / 1e6)
    return samples


def check_torch(cuda: Cuda, report: Report, rounds: int) -> None:
    """The kernels around a network of PyTorch: they share one GPU context, so buffers pass without a copy."""
    import torch

    from fcn_edge.models.checkpoint import checkpoint_from_file
    from fcn_edge.models.fcn import padded

    with report.checked("PyTorch between the kernels agrees with the reference run") as wrong:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        network = checkpoint_from_file(packaged_file(".safetensors")).network.cuda().eval()
        image = dataset_from_name(STREETS).items[0].image()
        layout, stream, kernels = FrameLayout(*FRAME), cuda.stream(), Kernels(cuda)
        with open_engine(None, target="reference") as reference:
            spec, wanted = reference.spec, class_map_of(reference, image)
        levels = torch.empty((1, *spec.preprocess.size, 3), dtype=torch.uint8, device="cuda")
        mean, std = (torch.tensor(values, device="cuda") for values in (spec.preprocess.mean, spec.preprocess.std))
        frame, classes, counts = uploaded(cuda, stream, image), cuda.alloc(image.size // 3), cuda.alloc(4 * COUNTS)
        ready = InputKernel(kernels, stream, spec.preprocess, layout)

        def scores() -> Any:
            ready.launch(stream, frame, np.uint64(levels.data_ptr()))
            stream.synchronize()
            with torch.inference_mode():
                colours = levels.flip(3) if spec.preprocess.channels == "rgb" else levels
                planar = ((colours - mean) / std).permute(0, 3, 1, 2).contiguous()
                made = network.scores(padded(planar, network.geometry)).contiguous()
            torch.cuda.synchronize()
            return made

        made = scores()
        view = ViewKernel(
            kernels,
            stream,
            output_sampling(spec, FRAME),
            layout,
            shape=tuple(made.shape[1:]),
            dtype=np.float32,
            ink=ink_table(spec.palette, Style()),
        )

        def whole() -> None:
            view.launch(stream, np.uint64(scores().data_ptr()), frame, classes, None, counts)
            stream.synchronize()

        whole()
        found = downloaded(cuda, stream, classes, FRAME, np.uint8)
        if (equal := float((found == wanted).mean())) < AGREEMENT:
            wrong.append(f"{equal:.4f} of pixels equal, at least {AGREEMENT} expected")
        report.timed("PyTorch fp32, frame on the device to class map", host_ms(whole, rounds))


def targets_here() -> list[Target]:
    """The NVIDIA targets that can be built and run here."""
    found: list[Target] = []
    for target in ("tensorrt", "tensorrt-rtx"):
        try:
            require_target(target)
        except BackendMissing as error:
            print(f"     no {target}: {error}", file=sys.stderr)
            continue
        found.append(target)
    return found


def has_torch_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def run(cuda: Cuda, report: Report, rounds: int) -> None:
    """Every check that this machine allows."""
    with cuda.active():
        check_interface(cuda, report)
        check_kernels(cuda, report)
        with open_engine(None, target="reference") as reference:
            spec = reference.spec
        time_kernels(cuda, report, spec, rounds)
    targets = targets_here()
    with tempfile.TemporaryDirectory(prefix="gpu-smoke-") as folder:
        for target in targets:
            for precision in ("fp32", "fp16", "int8"):
                check_engine(target, precision, Path(folder), report, rounds)
    if not targets and has_torch_cuda():
        with cuda.active():
            check_torch(cuda, report, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("gpu_smoke.json"), help="record to write")
    parser.add_argument("--rounds", type=int, default=300, help="timed runs of each thing")
    arguments = parser.parse_args()
    if missing := missing_gpu():
        print(
            f"gpu_smoke: {missing}; nothing was checked. Run it on a machine with an NVIDIA GPU and its driver;"
            " fcn-edge doctor tells what is there",
            file=sys.stderr,
        )
        return BackendMissing.exit_code
    try:
        cuda = open_cuda()
    except FcnEdgeError as error:
        print(f"gpu_smoke: {error}", file=sys.stderr)
        return BackendMissing.exit_code
    report = Report(lambda text: print(text, file=sys.stderr, flush=True))
    started = time.monotonic()
    try:
        run(cuda, report, arguments.rounds)
    finally:
        gpu, driver = cuda.gpu, cuda.driver.name
        cuda.close()
    record = {
        "schema": 1,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git": git_commit(),
        "gpu": to_mapping(gpu),
        "cuda": driver,
        "device": to_mapping(this_device()),
        "findings": [to_mapping(finding) for finding in nvidia_findings(Machine())],
        "versions": package_versions(VERSIONS),
        "seconds": round(time.monotonic() - started, 1),
        "checks": report.checks,
        "times_ms": report.times,
        "failed": report.failed,
    }
    write_json(arguments.out, record)
    failed = report.failed
    print("\n  ".join([f"{arguments.out}: {len(report.checks)} checks, {len(failed)} failed", *failed]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
