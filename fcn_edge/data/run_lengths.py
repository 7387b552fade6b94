"""COCO's run lengths as masks: lists of counts, and their compressed text.

Source: COCO API, maskApi.c (rleDecode, rleFrString). Its own decoder writes past its memory where the counts exceed the
picture; here they must add up to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcn_edge.data.pictures import MAX_PIXELS
from fcn_edge.errors import BadInput

MAX_LETTERS = 7  # of one count: 35 bits
MAX_TEXT = 10_000_000


def mask_from_runs(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool from COCO's {"size": [H, W], "counts": […] or "…"}.

    Raises:
        BadInput: another size than `size`, or counts that do not add up to it.
    """
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stated, list) or [*size] != stated:
        raise BadInput(f"run lengths of size {stated}; the image is [{size[0]}, {size[1]}] (height, width)")
    runs = _counts_from_text(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= MAX_PIXELS for run in runs):
        raise BadInput("run lengths whose counts are no list of whole numbers from 0, and no compressed text")
    if sum(runs) != size[0] * size[1]:
        raise BadInput(f"run lengths that add up to {sum(runs)} pixels; the image has {size[0] * size[1]}")
    is_inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_inside, runs).reshape(size[1], size[0]).T


def _counts_from_text(text: str) -> list[int]:
    """Counts of 5 bits a letter, from the lowest; from the fourth on each is the difference to the last but one."""
    if len(text) > MAX_TEXT:
        raise BadInput(f"compressed run lengths of {len(text)} letters; up to {MAX_TEXT} are read")
    counts: list[int] = []
    value, letters = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or letters == MAX_LETTERS:
            raise BadInput("compressed run lengths that do not decode")
        value |= (bits & 31) << 5 * letters
        letters += 1
        if not bits & 32:
            value -= (bits >> 4 & 1) << 5 * letters  # the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, letters = 0, 0
    if letters:
        raise BadInput("compressed run lengths that are cut off")
    return counts
