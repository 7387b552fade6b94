"""Run as a process of its own: opens one engine, runs five frames, prints its peak memory as JSON."""

from __future__ import annotations

import json
import sys

import numpy as np

from fcn_edge.engines import EngineOptions, open_engine
from fcn_edge.stream.summary import peak_rss_mb


def main(arguments: list[str]) -> None:
    """arguments: model, target, execution."""
    model, target, execution = arguments
    with open_engine(model, target=target, options=EngineOptions(execution)) as engine:  # type: ignore[arg-type]
        frame = np.full((*engine.spec.preprocess.size, 3), 127, np.uint8)
        for _ in range(5):
            engine.segment(frame)
    print(json.dumps({"peak_rss_mb": round(peak_rss_mb(), 1)}))


if __name__ == "__main__":
    main(sys.argv[1:])
