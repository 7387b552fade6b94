"""Run as a process of its own: opens one engine, runs five frames, prints its peak memory as JSON."""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

from fcn_edge.engines import EngineOptions, open_engine


def main(arguments: list[str]) -> None:
    """arguments: model, target, execution."""
    model, target, execution = arguments
    with open_engine(model, target=target, options=EngineOptions(execution)) as engine:  # type: ignore[arg-type]
        frame = np.full((*engine.spec.preprocess.size, 3), 127, np.uint8)
        for _ in range(5):
            engine.segment(frame)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
    print(json.dumps({"peak_rss_mb": round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
