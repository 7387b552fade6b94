"""What `run` does with streams of real servers on loopback: ages, losses and recoveries, beside a plain reader.

    python -m benchmarks.streams rtsp mjpeg hls --out streams.json

Every picture holds the time it was made (tests/stream/servers/marks.py), so that age is from the making of
a picture, encoding and transport included, to its view being ready; `received_age_ms` is what `run` itself
tells, from receiving a frame. The network is one that takes --infer milliseconds, longer than a frame
period: a reader that takes one frame after the other, as most scripts do, falls behind. Needs ffmpeg and
GStreamer's RTSP server (Debian: see .ci/run).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcn_edge.atomic_io import write_json
from fcn_edge.device import git_commit, package_versions, this_device
from fcn_edge.percentiles import nearest_rank
from fcn_edge.streaming.sources import Patience, source_from_uri
from tests.streaming.conftest import ColourEngine
from tests.streaming.servers import Server, missing, wait_until
from tests.streaming.servers.marks import read_mark
from tests.streaming.servers.watching import Shown, Watching

FPS = 25
SIZES = ((360, 480), (240, 320))
RESTARTS = 5
AWAY_S = 1.5
SILENT_S = 2.0


class SlowEngine(ColourEngine):
    """Takes `infer_ms` a frame, and no processor."""

    def __init__(self, infer_ms: float) -> None:
        super().__init__()
        self._infer_s = infer_ms / 1000

    def _run(self, x: np.ndarray, place: object) -> np.ndarray:
        time.sleep(self._infer_s)
        return super()._run(x, place)


def measured(kind: str, infer_ms: float, seconds: float) -> dict[str, Any]:
    """All figures of one kind of server."""
    server = Server(kind).start(SIZES[1], FPS)
    try:
        return {
            "infer_ms": infer_ms,
            "steady": steady(server, infer_ms, seconds),
            "plain_reader": plain_reader(server, infer_ms, seconds),
            "restarts": restarts(server),
            "frozen": frozen(server),
            **({"throttled": throttled(server, seconds)} if kind == "mjpeg" else {}),
        }
    finally:
        server.kill()


def opened(server: Server, path: str = "") -> Any:
    return source_from_uri(server.url(path), Patience(silent_s=SILENT_S))


def steady(server: Server, infer_ms: float, seconds: float) -> dict[str, Any]:
    """Policy `newest` with a network slower than the stream."""
    begun = time.monotonic_ns()
    with Watching(opened(server), SlowEngine(infer_ms)) as watching:
        wait_until(lambda: bool(watching.shown))
        time.sleep(seconds)
        figures = watching.figures
    first = (watching.shown[0].shown_ns - begun) / 1e6
    infer = figures.stages_ms["infer"]
    limit = 2 * infer_ms + 1000 / FPS
    received = [(one.shown_ns - one.captured_ns) / 1e6 for one in watching.shown]
    return {
        "first_frame_ms": first,
        **truth(watching),
        "dropped": figures.dropped,
        "infer_p50_ms": infer.p50,
        "received_age_ms": spread(received),
        "age_limit_ms": limit,
        "frames_over_the_limit": sum(age > limit for age in received),
        "age_ms": spread([one.true_age_ms for one in watching.shown]),
    }


def plain_reader(server: Server, infer_ms: float, seconds: float) -> dict[str, Any]:
    """What scripts do: read, compute, read. OpenCV hands out every frame that waits, the oldest first."""
    capture, engine = cv2.VideoCapture(server.url(), cv2.CAP_FFMPEG), SlowEngine(infer_ms)
    ages, ended = [], time.monotonic() + seconds
    while time.monotonic() < ended:
        is_read, image = capture.read()
        if not is_read:
            break
        engine.infer(np.zeros((1, 48, 64, 3), np.uint8))
        mark = read_mark(image)
        if mark is not None:
            ages.append(Shown(mark, (0, 0), 0, time.monotonic_ns()).true_age_ms)
    capture.release()
    return {"frames": len(ages), "first_age_ms": ages[0], "last_age_ms": ages[-1], "age_ms": spread(ages)}


def restarts(server: Server) -> dict[str, Any]:
    """Killed and started again with another size: from the server's being ready to the first new picture received."""
    recovered = []
    with Watching(opened(server), ColourEngine()) as watching:
        assert watching.saw(5)
        for number in range(RESTARTS):
            server.kill()
            time.sleep(AWAY_S)
            server.start(SIZES[number % 2], FPS)
            assert wait_until(lambda number=number: watching.source.reconnects > number) and watching.saw(1)
            first = next(one for one in watching.shown if one.captured_ns > server.ready_ns)
            recovered.append((first.captured_ns - server.ready_ns) / 1e6)
        assert watching.saw(5)
        figures = watching.figures
    sizes = sorted({one.size for one in watching.shown})
    return {
        **truth(watching),
        "reconnects": figures.reconnects,
        "gaps": figures.gaps,
        "recovered_ms": recovered,
        "sizes": [list(size) for size in sizes],
    }


def frozen(server: Server) -> dict[str, Any]:
    """The server stops and keeps its connections: how soon it is marked stale and left, and how soon it is back."""
    with Watching(opened(server), ColourEngine()) as watching:
        assert watching.saw(FPS)
        server.freeze()
        at = time.monotonic()
        wait_until(lambda: watching.figures.state != "open")
        stale_s = time.monotonic() - at
        wait_until(lambda: watching.figures.state == "retrying")
        left_s, trouble = time.monotonic() - at, watching.figures.trouble
        time.sleep(AWAY_S)
        seen = len(watching.shown)
        server.thaw()
        at_ns = time.monotonic_ns()
        wait_until(lambda: len(watching.shown) > seen)
        back_ms = (watching.shown[seen].captured_ns - at_ns) / 1e6
        assert watching.saw(5)
    return {
        "silence_s": SILENT_S,
        "stale_after_s": stale_s,
        "left_after_s": left_s,
        "trouble": trouble,
        "recovered_ms": back_ms,
        **truth(watching),
    }


def throttled(server: Server, seconds: float) -> dict[str, Any]:
    """A line that carries each picture in twice its period."""
    with Watching(opened(server, "throttled"), ColourEngine()) as watching:
        time.sleep(seconds)
    return {**truth(watching), "age_ms": spread([one.true_age_ms for one in watching.shown])}


def truth(watching: Watching) -> dict[str, Any]:
    return {"frames": len(watching.shown), "invented": watching.invented(), "repeated": watching.repeated()}


def spread(values: list[float]) -> dict[str, float]:
    p50, p99 = nearest_rank(values, (50, 99))
    return {"p50": p50, "p99": p99, "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=("rtsp", "mjpeg", "hls"))
    parser.add_argument("--infer", type=float, default=100.0, help="milliseconds that the network takes")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each steady run")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for kind in given.kinds:
        if missing(kind):
            parser.error(missing(kind))
    servers = {kind: measured(kind, given.infer, given.seconds) for kind in given.kinds}
    write_json(
        given.out,
        {
            "schema": 1,
            "command": f"python -m benchmarks.streams {' '.join(given.kinds)}",
            "fps": FPS,
            "device": asdict(this_device()),
            "versions": package_versions(["fcn-edge", "opencv-python"]),
            "git": git_commit(),
            "servers": servers,
        },
    )
    for kind, found in servers.items():
        print(kind, found)


if __name__ == "__main__":
    main()
