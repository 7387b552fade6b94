"""Check whether a video file is complete, by the lengths of the parts of its container.

The frame count of a header is not reliable: edit lists, sound that is longer than the video and variable frame rate
change it. MP4 and MOV, Matroska and WebM, AVI, FLV and WMV have a length for each part. MPEG streams, Ogg, GIF and
raw streams do not, so they are not checked, except for lost packet boundaries in MPEG transport streams.

Sources: ISO/IEC 14496-12 (boxes), RFC 8794 and 9559 (EBML, Matroska), Microsoft's RIFF and ASF specifications,
Adobe's FLV specification, ISO/IEC 13818-1 (transport packets).
"""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

EBML_HEADER, SEGMENT, CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
# Cluster, seek head, information, tracks, chapters, attachments, cues, tags, padding, checksum.
IN_SEGMENT = (
    CLUSTER,
    b"\x11\x4d\x9b\x74",
    b"\x15\x49\xa9\x66",
    b"\x16\x54\xae\x6b",
    b"\x10\x43\xa7\x70",
    b"\x19\x41\xa4\x69",
    b"\x1c\x53\xbb\x6b",
    b"\x12\x54\xc3\x67",
    b"\xec",
    b"\xbf",
)
# Time, blocks, silent tracks, position, size before; the others follow a cluster of unknown size.
IN_CLUSTER = (b"\xe7", b"\xa3", b"\xa0", b"\x58\x54", b"\xa7", b"\xab", *IN_SEGMENT)
IN_MOVIE = re.compile(rb"\d\d(dc|db|wb|pc|tx|sb)|ix\d\d|LIST|JUNK|idx1")
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
FLV_KINDS = (b"\x08", b"\x09", b"\x12")  # sound, video, script
TS_STRIDES = ((188, 0), (192, 4))  # .ts, and .m2ts with a time stamp before each packet
TS_PACKETS = 4096  # read at once
FILE_BLOCK = 4096
MIB = 2**20
FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip")


class Content:
    """The bytes of a file, read in slices; empty if the file cannot be read. block: bytes per read."""

    def __init__(self, size: int, block: int) -> None:
        self.size, self._block_size = size, block
        self._at, self._block = 0, b""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: slice) -> bytes:
        start, end = index.start or 0, index.stop
        if not self._at <= start <= end <= self._at + len(self._block):
            self._at, self._block = start, self._read(start, max(end, start + self._block_size))
        return self._block[start - self._at : end - self._at]

    def _read(self, start: int, end: int) -> bytes:
        raise NotImplementedError


class FileContent(Content):
    """A local file. Not memory-mapped: if another program truncated it, this process would be killed."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = path.open("rb", buffering=0)
        super().__init__(os.fstat(self._file.fileno()).st_size, FILE_BLOCK)

    def _read(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start)

    def __enter__(self) -> FileContent:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class ContainerPart(NamedTuple):
    """A part of a container. start: of its content; end: by its length, which may be after the end of the file."""

    kind: bytes
    start: int
    end: int


Parts = Callable[[Content, int, int], Iterator[ContainerPart]]


def lacks_index(data: Content) -> bool:
    """Whether it is an MP4 without a frame index, which recorders write last."""
    return is_mp4(data) and all(part.kind != b"moov" for part in _boxes(data, 0, len(data)))


def is_fragmented(data: Content) -> bool:
    """Whether it is a fragmented MP4, whose header counts only the existing fragments."""
    return is_mp4(data) and any(part.kind == b"moof" for part in _boxes(data, 0, len(data)))


def is_cut_short(data: Content) -> bool:
    """Whether the file ends within a part."""
    if is_mp4(data):
        return _is_mp4_cut(data)
    if data[:4] == EBML_HEADER:
        segments = [part for part in _elements(data, 0, len(data)) if part.kind == SEGMENT]
        return any(_is_beyond(data, _elements, part, lambda kind: kind in IN_SEGMENT) for part in segments)
    whole = ContainerPart(b"", 0, len(data))
    if data[:4] == b"RIFF":
        return _is_beyond(data, _chunks, whole, lambda kind: kind == b"RIFF")
    if data[:3] == b"FLV":
        return _is_beyond(data, _tags, whole._replace(start=13))
    return data[:16] == ASF_HEADER and _is_beyond(data, _objects, whole)


def is_damaged(data: Content) -> bool:
    """Whether there are gaps between the parts with video data."""
    size = len(data)
    if data[:4] == EBML_HEADER:
        segments = [part for part in _elements(data, 0, size) if part.kind == SEGMENT]
        clusters = [p for s in segments for p in _elements(data, s.start, min(s.end, size)) if p.kind == CLUSTER]
        is_broken = any(_is_broken(data, _elements, one, lambda kind: kind in IN_CLUSTER) for one in clusters)
        return is_broken or any(_is_broken(data, _elements, s, lambda kind: kind in IN_SEGMENT) for s in segments)
    if data[:4] == b"RIFF":
        lists = [p for riff in _chunks(data, 0, size) for p in _chunks(data, riff.start + 4, min(riff.end, size))]
        movies = [ContainerPart(p.kind, p.start + 4, p.end) for p in lists if data[p.start : p.start + 4] == b"movi"]
        return any(_is_broken(data, _chunks, one, lambda kind: bool(IN_MOVIE.fullmatch(kind))) for one in movies)
    if data[:3] == b"FLV":
        return _is_broken(data, _tags, ContainerPart(b"FLV", 13, size))
    for stride, offset in TS_STRIDES:
        if [data[at : at + 1] for at in (offset, offset + stride)] == [b"G", b"G"]:
            step = stride * TS_PACKETS
            return any(set(data[at : at + step][::stride]) - {ord("G")} for at in range(offset, size, step))
    return False


def is_mp4(data: Content) -> bool:
    return data[4:8] in FIRST_BOXES


def _is_mp4_cut(data: Content) -> bool:
    """Whether a box of samples is truncated, fragments are unreachable, or segments of the index are missing."""
    size = len(data)
    boxes = list(itertools.takewhile(lambda box: box.kind.isalnum(), _boxes(data, 0, size)))
    if not boxes:
        return False
    last = boxes[-1]
    is_open = last.end > size - (last.kind == b"moof") and last.kind in (b"mdat", b"moof")  # no moof is the last box
    listed = max((_listed_end(data, box) for box in boxes if box.kind == b"sidx"), default=0)
    return is_open or listed > size or (is_fragmented(data) and _has_fragment(data, last.end))


def _has_fragment(data: Content, start: int) -> bool:
    """Whether another fragment, or a part of its header, follows the last readable box."""
    blocks = (data[at : min(at + MIB + 3, len(data))] for at in range(start, len(data), MIB))
    return 0 < len(data) - start < 8 or any(b"moof" in block for block in blocks)


def _listed_end(data: Content, sidx: ContainerPart) -> int:
    """End of the last segment in this index."""
    if sidx.end > len(data):
        return sidx.end
    body = data[sidx.start : sidx.end]
    offset, _, count = struct.unpack_from(">QHH" if body[0] else ">IHH", body, 20 if body[0] else 16)
    sizes = struct.iter_unpack(">I8x", body[-12 * count :]) if count else ()
    return int(sidx.end + offset + sum(size & 0x7FFFFFFF for (size,) in sizes))


def _any_kind(kind: bytes) -> bool:
    return True


def _is_beyond(
    data: Content, parts: Parts, whole: ContainerPart, is_known: Callable[[bytes], bool] = _any_kind
) -> bool:
    """Whether `whole`, or a part of it before the first unknown one, ends after the end of the file."""
    inside = itertools.takewhile(lambda part: is_known(part.kind), parts(data, whole.start, whole.end))
    return whole.end > len(data) or any(part.end > len(data) for part in inside)


def _is_broken(
    data: Content, parts: Parts, whole: ContainerPart, is_known: Callable[[bytes], bool] = _any_kind
) -> bool:
    """Whether the parts of `whole`, up to the file's end, are unknown or do not fill it."""
    end, at = min(whole.end, len(data)), whole.start
    for part in parts(data, whole.start, end):
        if not is_known(part.kind):
            return True
        at = part.end
    return at < end - 1  # a chunk's padding


def _boxes(data: Content, at: int, end: int) -> Iterator[ContainerPart]:
    while at + 8 <= end:
        size, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        after = at + size if size else len(data)
        if after < start:
            return
        yield ContainerPart(kind, start, after)
        at = after


def _chunks(data: Content, at: int, end: int) -> Iterator[ContainerPart]:
    while at + 8 <= end:
        after = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        yield ContainerPart(data[at : at + 4], at + 8, after)
        at = after + after % 2


def _tags(data: Content, at: int, end: int) -> Iterator[ContainerPart]:
    while at + 11 <= end and data[at : at + 1] in FLV_KINDS:
        after = at + 15 + int.from_bytes(data[at + 1 : at + 4], "big")  # the last four bytes repeat its size
        yield ContainerPart(data[at : at + 1], at + 11, after)
        at = after


def _objects(data: Content, at: int, end: int) -> Iterator[ContainerPart]:
    while at + 24 <= end:
        after = at + int.from_bytes(data[at + 16 : at + 24], "little")
        if after < at + 24:
            return
        yield ContainerPart(data[at : at + 16], at + 24, after)
        at = after


def _elements(data: Content, at: int, end: int) -> Iterator[ContainerPart]:
    """An element of unknown size ends with its parent: finding its end would need its content."""
    while at < end:
        head = data[at : at + 12]
        id_length = 9 - head[0].bit_length() if head else 9
        if id_length > 4 or len(head) <= id_length:
            return
        size_length = 9 - head[id_length].bit_length()
        field = head[id_length : id_length + size_length]
        if size_length > 8 or len(field) < size_length:
            return
        start, mask = at + id_length + size_length, (1 << 7 * size_length) - 1
        size = int.from_bytes(field, "big") & mask
        at = end if size == mask else start + size
        yield ContainerPart(head[:id_length], start, at)
