"""Pictures to compare two graphs on where the user gave none."""

from __future__ import annotations

import functools

import numpy as np

BLOCK = 16  # pixels: a block of one colour is wider than most receptive fields' centre


def probe_pictures(height: int, width: int) -> list[np.ndarray]:
    """A drawn street, noise, and blocks of one colour each: (H, W, 3) uint8 BGR, read-only, the same ones each time."""
    return list(_drawn(height, width))


# ImageShapes takes longer than running a small network, and one network's size is asked for at each check.
@functools.lru_cache(maxsize=2)
def _drawn(height: int, width: int) -> tuple[np.ndarray, ...]:
    from fcn_edge.data.street import Street

    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (height, width, 3), np.uint8)
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    blocks = random.integers(0, 256, (rows, columns, 3), np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    pictures = (Street(11, height, width).render(0)[0], noise, np.ascontiguousarray(blocks[:height, :width]))
    for picture in pictures:
        picture.flags.writeable = False
    return pictures
