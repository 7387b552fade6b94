"""PNG files written sample by sample, of every depth and colour type, with an orientation tag where asked."""

from __future__ import annotations

import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def png_from_samples(samples, bits, colour_type=GREY, orientation=None, *, order="<", tag_last=False):
    """A PNG of (H, W) or (H, W, channels) samples as they are to be stored. order: of the tag's bytes."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + _packed(row, bits) for row in samples.reshape(height, -1))
    tag = b"" if orientation is None else _chunk(b"eXIf", exif_from_orientation(orientation, order))
    colours = np.random.default_rng(bits).integers(0, 256, (2 ** min(bits, 8), 3), np.uint8)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)),
            b"" if tag_last else tag,
            _chunk(b"PLTE", colours.tobytes()) if colour_type == PALETTE else b"",
            _chunk(b"IDAT", zlib.compress(rows)),
            tag if tag_last else b"",
            _chunk(b"IEND", b""),
        ]
    )


def exif_from_orientation(orientation, order="<"):
    """Exif data with one entry, tag 274."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def _packed(row, bits):
    if bits == 16:
        return row.astype(">u2").tobytes()
    each = (row[:, None].astype(int) >> np.arange(bits)[::-1]) & 1
    return np.packbits(each.astype(np.uint8).ravel()).tobytes()


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
