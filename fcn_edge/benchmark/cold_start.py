"""A variant in a process of its own: its peak memory, and how long until its first class map.

Run as a program it opens one engine and prints what it found as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn_edge.benchmark.variants import Variant

FRAMES = 5
LIMIT_S = 300
NOTHING = {"peak_rss_mb": None, "cold_start_ms": None, "warm_start_ms": None}


def fresh_process(variant: Variant) -> dict[str, float | None]:
    """Its figures from a new process; all None if it fails there.

    cold_start_ms: importing the runtime, opening the engine and its first frame. warm_start_ms: opening it once
    more in the same process, and that frame. The interpreter's own start is in neither.
    """
    words = [str(variant.path), variant.target, variant.execution, variant.schedule]
    command = [sys.executable, "-m", "fcn_edge.benchmark.cold_start", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
        told = json.loads(done.stdout)
        return {name: float(told[name]) for name in NOTHING}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return dict(NOTHING)


def _measured(model: str, target: Any, execution: Any, schedule: str) -> dict[str, float]:
    started = time.monotonic()
    import numpy as np

    from fcn_edge.engines import EngineOptions, open_engine
    from fcn_edge.streaming.summary import peak_rss_mb

    def opened_ms(since: float, frames: int) -> float:
        """Until the first frame is done; `frames` more follow."""
        with open_engine(model, target=target, options=EngineOptions(execution, schedule=schedule)) as engine:
            frame = np.full((*engine.spec.preprocess.size, 3), 127, np.uint8)
            engine.segment(frame)
            took = 1000 * (time.monotonic() - since)
            for _ in range(frames):
                engine.segment(frame)
        return took

    cold = opened_ms(started, FRAMES - 1)
    peak = peak_rss_mb()
    warm = opened_ms(time.monotonic(), 0)
    return {"peak_rss_mb": round(peak, 1), "cold_start_ms": round(cold, 1), "warm_start_ms": round(warm, 1)}


if __name__ == "__main__":
    print(json.dumps(_measured(*sys.argv[1:])))
