"""Pictures that say which they are: 8x8 grey cells hold the time they were made and their number, with a check.

Standard library only, because the RTSP server runs in the system's Python. A picture that a decoder
invented, mended or mixed does not pass the check.
"""

from __future__ import annotations

import time

CELLS = 8  # a side; 32 bits of milliseconds, 16 of the number, 16 of a check
DARK, BRIGHT = 40, 215


def word(milliseconds: int, number: int) -> int:
    payload = (milliseconds & 0xFFFFFFFF) << 16 | (number & 0xFFFF)
    return payload << 16 | check(payload)


def check(payload: int) -> int:
    return (payload * 40503 ^ payload >> 16 ^ payload >> 32 ^ 0xA5A5) & 0xFFFF


def grey_picture(number: int, width: int, height: int) -> bytes:
    """Height rows of width bytes, made now."""
    bits, row_height = word(time.monotonic_ns() // 1_000_000, number), height // CELLS
    rows = []
    for row in range(CELLS):
        cells = [bits >> (row * CELLS + column) & 1 for column in range(CELLS)]
        line = b"".join(bytes([BRIGHT if cell else DARK]) * (width // CELLS) for cell in cells)
        rows.append(line.ljust(width, b"\x80") * row_height)
    return b"".join(rows).ljust(width * height, b"\x80")


def read_mark(image) -> tuple[int, int] | None:
    """(milliseconds, number) of a picture (H, W, 3), or None where it is none of ours."""
    height, width = image.shape[0] // CELLS, image.shape[1] // CELLS
    bits = 0
    for row in range(CELLS):
        for column in range(CELLS):
            value = int(image[row * height + height // 2, column * width + width // 2, 1])
            bits |= int(value > (DARK + BRIGHT) // 2) << (row * CELLS + column)
    payload = bits >> 16
    return (payload >> 16, payload & 0xFFFF) if check(payload) == bits & 0xFFFF else None
