"""What viewers of the live page cost the network: runs with none, one and ten of them take turns.

python benchmarks/viewers.py VIDEO [TURNS]; prints the median of the turns as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from fcn_edge.engines import EngineOptions, model_path, open_engine
from fcn_edge.engines.base import Engine
from fcn_edge.frame import Style
from fcn_edge.streaming.pipeline import Feed, run_feeds
from fcn_edge.streaming.sinks import sink_from_uri
from fcn_edge.streaming.sources import source_from_uri

COUNTS = (0, 1, 10)
LOOK = """
import socket, sys, threading
def look():
    viewer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    viewer.sendall(b"GET /live HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    while viewer.recv(1 << 20):
        pass
for _ in range(int(sys.argv[2])):
    threading.Thread(target=look).start()
"""


def figures_of(engine: Engine, video: str, viewers: int) -> tuple[float, float, float]:
    """p50 of the network and of frame ages in ms, and frames a second, of one run that plays the video."""
    with source_from_uri(video) as source:
        sink = sink_from_uri("http://127.0.0.1:0", engine, source=source)
        port = sink.uri.rpartition(":")[2]
        process = subprocess.Popen([sys.executable, "-c", LOOK, port, str(viewers)])
        summary = run_feeds([Feed(source, [sink], "newest")], engine, style=Style(overlay=False))
        process.wait(10)
    return summary.stages_ms["infer"].p50 or 0.0, summary.frame_age_ms.p50 or 0.0, summary.fps


def main() -> None:
    video, turns = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    found: dict[int, list[tuple[float, float, float]]] = {count: [] for count in COUNTS}
    with open_engine(model_path(None), options=EngineOptions(threads=1)) as engine:
        for _ in range(turns):
            for count in COUNTS:
                found[count].append(figures_of(engine, video, count))
    for count, rows in found.items():
        infer_ms, age_ms, fps = (statistics.median(column) for column in zip(*rows))
        told = {"viewers": count, "infer_p50_ms": infer_ms, "age_p50_ms": age_ms, "fps": fps}
        print(json.dumps({name: round(value, 2) for name, value in told.items()}))


if __name__ == "__main__":
    main()
