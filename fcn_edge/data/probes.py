"""Pictures to compare two graphs on where the user gave none."""

from __future__ import annotations

import numpy as np

BLOCK = 16  # pixels: a block of one colour is wider than most receptive fields' centre


def probe_pictures(height: int, width: int) -> list[np.ndarray]:
    """A drawn street, noise, and blocks of one colour each: (H, W, 3) uint8 BGR, the same ones each time."""
    from fcn_edge.data.street import Street

    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    blocks = random.integers(0, 256, (rows, columns, 3), np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return [Street(11, height, width).render(0)[0], noise, np.ascontiguousarray(blocks[:height, :width])]
