"""What an image file says of itself before it is decoded: its size, its orientation, and how a PNG stores samples.

Sources: PNG specification, third edition (IHDR, eXIf); Exif 2.32, tag 274 (Orientation), in JPEG's APP1 segment;
TIFF revision 6.0, section 2; WebP container specification (EXIF chunk); netpbm's ppm(5) (maxval).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

Order = Literal["little", "big"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3  # colour types of a PNG
WIDTH, HEIGHT, ORIENTATION = 256, 257, 274  # tags of TIFF and Exif
NETPBM = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)\s")


@dataclass(frozen=True)
class Header:
    """kind: "" for a format that is not looked into. size: (height, width) as stored, None where it is not known here.

    orientation: 1 to 8 as Exif counts, None where the file says nothing. bits, colour_type: of a PNG.
    maxval: of a PPM, the value that means white.
    """

    kind: Literal["png", "jpeg", "tiff", "webp", "netpbm", ""] = ""
    size: tuple[int, int] | None = None
    orientation: int | None = None
    bits: int = 0
    colour_type: int = -1
    maxval: int = 0


class _Field(NamedTuple):
    """A whole number of a TIFF directory, and where its bytes begin."""

    value: int
    at: int


def header_from_bytes(data: bytes) -> Header:
    """The header of an encoded image; fields that are cut off or damaged are left at their defaults."""
    if data.startswith(PNG_SIGNATURE) and len(data) >= 26:
        return _png_header(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_header(data)
    if data[:4] in (b"II*\0", b"MM\0*"):
        fields = _tiff_fields(data)
        height, width = fields.get(HEIGHT), fields.get(WIDTH)
        size = (height.value, width.value) if height and width else None
        return Header("tiff", size, _orientation(fields))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Header("webp", orientation=_exif_orientation(_riff_chunk(data, b"EXIF")))
    if netpbm := NETPBM.match(data[:1000]):
        return Header("netpbm", (int(netpbm[2]), int(netpbm[1])), maxval=int(netpbm[3]))
    return Header()


def without_orientation(data: bytes) -> bytes:
    """The same TIFF file with orientation 1, since OpenCV turns a TIFF by its tag whatever it is asked for."""
    field = _tiff_fields(data).get(ORIENTATION)
    if field is None:
        return data
    return data[: field.at] + (1).to_bytes(2, _order(data)) + data[field.at + 2 :]


def is_cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG lacks its end marker behind the picture's own data."""
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    scans = [at for marker, at in _jpeg_segments(data) if marker == 0xDA]
    return data.startswith(b"\xff\xd8") and (not scans or data.find(b"\xff\xd9", scans[0]) < 0)


def _png_header(data: bytes) -> Header:
    size = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    header = Header("png", size, bits=data[24], colour_type=data[25])
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"eXIf":
            return replace(header, orientation=_exif_orientation(data[at + 8 : at + 8 + length]))
        at += 12 + length
    return header


def _jpeg_header(data: bytes) -> Header:
    header = Header("jpeg")
    for marker, at in _jpeg_segments(data):
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0" and header.orientation is None:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            header = replace(header, orientation=_exif_orientation(data[at + 10 : end]))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            size = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            header = replace(header, size=size)
    return header


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and offset of each segment up to the first scan; none for other formats."""
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        yield marker, at
        if marker == 0xDA:
            return
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _riff_chunk(data: bytes, wanted: bytes) -> bytes:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b""


def _exif_orientation(exif: bytes) -> int | None:
    return _orientation(_tiff_fields(exif.removeprefix(b"Exif\0\0")))


def _orientation(fields: dict[int, _Field]) -> int | None:
    value = fields[ORIENTATION].value if ORIENTATION in fields else 0
    return value if 1 <= value <= 8 else None


def _order(tiff: bytes) -> Order:
    return "little" if tiff.startswith(b"II") else "big"


def _tiff_fields(tiff: bytes) -> dict[int, _Field]:
    """Tag -> single whole number (SHORT or LONG) of the first directory of a TIFF, or of Exif, which is one."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return {}
    order = _order(tiff)

    def number(at: int, length: int) -> int:
        return int.from_bytes(tiff[at : at + length], order)

    start = number(4, 4)
    fields = {}
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        tag, kind, count = number(entry, 2), number(entry + 2, 2), number(entry + 4, 4)
        if kind in (3, 4) and count == 1 and entry + 12 <= len(tiff):
            fields[tag] = _Field(number(entry + 8, 2 if kind == 3 else 4), entry + 8)
    return fields
