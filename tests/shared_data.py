"""Data sets, networks, videos and broken files that tests read and that are no part of the repository.

The environment variable FCN_EDGE_DATA names their folder; without it they lie in `shared` beside the checkout. Tests
skip where they are missing.
"""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("FCN_EDGE_DATA") or Path(__file__).resolve().parents[2] / "shared").absolute()
