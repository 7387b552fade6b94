"""A hundred thousand frames through the pipeline that ships, from cameras that die and change: memory must not grow.

    python -m benchmarks.soak --frames 100000 --out benchmarks/records/soak.json
    python -m benchmarks.soak --frames 100000 --server rtsp --out soak.json     # and a real server, killed now and then

Two live sources on one engine (a tiny seeded network on OpenVINO), policy `newest` on one and `every` on the
other. Their connections end after a few hundred frames, in turn by closing, by an error, by refusing to open
and by freezing until the watch leaves them, and come back with another size. Memory, open files and threads
are noted from time to time. Exit code 1 where the memory of the last half grows by 1 kB/s or more, or files
or threads do.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fcn_edge.atomic_io import write_json
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.engines import open_engine
from fcn_edge.errors import SourceLost
from fcn_edge.exporting import onnx_model
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.sinks.base import Null
from fcn_edge.streaming.sources import Patience, source_from_uri
from fcn_edge.streaming.sources.network import Connection, NetworkSource, Unreachable

SIZES = ((64, 64), (96, 80), (48, 128))
ENDINGS = ("close", "error", "freeze", "refuse")
FROZEN_S, SILENT_S = 1.0, 0.4
SLOPE_LIMIT = 1.0  # kB/s
RESTART_S = 20.0
SPEC = """
classes = ["a", "b", "c"]
palette = [[0, 0, 0], [0, 255, 0], [255, 0, 0]]
mean = [127.0, 127.0, 127.0]
std = [128.0, 128.0, 128.0]
"""


class Camera(Connection):
    """Draws `fps` pictures a second, and ends after some in one of four ways."""

    def __init__(self, number: int, fps: float) -> None:
        super().__init__()
        if ENDINGS[number % len(ENDINGS)] == "refuse" and number % 2:
            raise Unreachable("nobody answers")
        self.fps = fps
        self._size, self._ending = SIZES[number % len(SIZES)], ENDINGS[number % len(ENDINGS)]
        self._left = int(np.random.default_rng(number).integers(100, 600))
        self._due = time.monotonic()

    def read(self) -> np.ndarray | None:
        self._left -= 1
        if self._left < 0:
            if self._ending == "error":
                raise SourceLost("the line was cut")
            if self._ending == "freeze":
                time.sleep(FROZEN_S)
            return None
        self._due = max(self._due + 1 / (self.fps or 1), time.monotonic() - 0.1)
        time.sleep(max(0.0, self._due - time.monotonic()))
        return np.full((*self._size, 3), self._left % 251, np.uint8)


@dataclass(frozen=True)
class Sample:
    """What the process holds. threads: those of Python; tasks: of the system, the runtime's too."""

    seconds: float
    frames: int
    resident_kb: int
    files: int
    threads: int
    tasks: int


def sample(started: float, frames: int) -> Sample:
    status = Path("/proc/self/status").read_text()
    words = {
        line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("VmRSS", "Threads"))
    }
    files = len(os.listdir("/proc/self/fd"))
    seconds = time.monotonic() - started
    return Sample(seconds, frames, int(words["VmRSS"]), files, threading.active_count(), int(words["Threads"]))


def tiny_network(folder: Path) -> Path:
    """Two seeded convolutions, 64x64 to 16x16 cells of three classes, with the contract inside."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in (("first", (8, 3, 3, 3)), ("second", (3, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["scores"], pads=[1] * 4, strides=[2, 2]),
    ]
    shapes = {"image": [1, 3, 64, 64], "scores": [1, 3, 16, 16]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "tiny", values[:1], values[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "plain.onnx"
    )
    (folder / "spec.toml").write_text(SPEC)
    return onnx_model(folder / "plain.onnx", spec=folder / "spec.toml").save(folder / "tiny.onnx").path


@contextmanager
def restarting_server(kind: str) -> Iterator[str]:
    """The address of a real server of the tests that is killed every RESTART_S and comes back with another size."""
    from tests.streaming.servers import Server

    server, ended = Server(kind).start(), threading.Event()

    def restart() -> None:
        for size in itertools.cycle(((360, 480), (240, 320))):
            if ended.wait(RESTART_S):
                return
            server.kill()
            server.start(size)

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield server.url()
    finally:
        ended.set()
        thread.join()
        server.kill()


class AfterEach:
    """Progress that calls a function after each frame."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def update(self, task: str, done: int, total: int | None = None) -> None:
        self._function()

    def note(self, text: str) -> None:
        """Drop it."""


def soak(frames: int, fps: float, period: int, kind: str | None) -> dict[str, Any]:
    """Run, and judge."""
    samples: list[Sample] = []
    patience = Patience(silent_s=SILENT_S)
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        engine = ends.enter_context(open_engine(tiny_network(folder), target="openvino"))
        sources = []
        for offset in (0, 1):
            numbers = itertools.count(offset * 2)
            sources.append(
                ends.enter_context(NetworkSource(lambda n=numbers: Camera(next(n), fps), f"camera{offset}", patience))
            )
        if kind is not None:
            address = ends.enter_context(restarting_server(kind))
            sources.append(ends.enter_context(source_from_uri(address, Patience(silent_s=2.0))))
        sink, done, started = Null("null:"), itertools.count(1), time.monotonic()

        def watch() -> None:
            number = next(done)
            if number % period == 0 and not any(source.is_retrying for source in sources):
                samples.append(sample(started, number))
            sink.is_done = number >= frames

        policies = ("newest", "every", "newest")
        feeds = [Feed(source, [sink], policy) for source, policy in zip(sources, policies)]
        summary = run_feeds(feeds, engine, progress=AfterEach(watch))
    return {
        **verdict(samples),
        "summary": figures_of(summary),
        "samples": [asdict(one) for one in samples[:: max(1, len(samples) // 100)]],
    }


def verdict(samples: list[Sample]) -> dict[str, Any]:
    """Slope of memory over the last half by least squares, and files and threads of each half.

    Of these the least count, since a connection that hangs holds some until its driver returns; one
    that is never let go raises the least.
    """
    first, last = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    slope = float(np.polyfit([one.seconds for one in last], [one.resident_kb for one in last], 1)[0])
    found: dict[str, Any] = {"resident_kb_per_s": slope, "limit_kb_per_s": SLOPE_LIMIT}
    is_flat = True
    for what in ("files", "threads", "tasks"):
        found[f"least_{what}"] = [min(getattr(one, what) for one in half) for half in (first, last)]
        found[f"most_{what}"] = [max(getattr(one, what) for one in half) for half in (first, last)]
        is_flat = is_flat and found[f"least_{what}"][1] <= found[f"least_{what}"][0]
    return {"ok": is_flat and slope < SLOPE_LIMIT, **found}


def figures_of(summary: Any) -> dict[str, Any]:
    names = ("source", "policy", "frames_in", "frames_out", "dropped", "gaps", "reconnects", "duplicated")
    streams = [{name: getattr(stream, name) for name in names} for stream in summary.streams]
    return {
        "seconds": summary.seconds,
        "frames_out": summary.frames_out,
        "fps": summary.fps,
        "streams": streams,
        "peak_rss_mb": summary.peak_rss_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--fps", type=float, default=60.0, help="of each of the two cameras")
    parser.add_argument("--period", type=int, default=250, help="frames from one sample to the next")
    parser.add_argument("--server", choices=("rtsp", "mjpeg"), help="a third source: a real server")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    record = soak(given.frames, given.fps, given.period, given.server)
    server = f" --server {given.server}" if given.server else ""
    about = {
        "command": f"python -m benchmarks.soak --frames {given.frames} --fps {given.fps:g}{server}",
        "device": asdict(this_device()),
        "versions": package_versions(["fcn-edge", "numpy", "opencv-python", "openvino"]),
        "git": git_commit(),
    }
    write_json(given.out, {"schema": 1, **about, **record})
    print({key: value for key, value in record.items() if key != "samples"})
    sys.exit(0 if record["ok"] else 1)


if __name__ == "__main__":
    main()
