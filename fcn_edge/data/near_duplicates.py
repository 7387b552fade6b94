"""Images that look the same: the same photo stored again at another size, quality or brightness.

An image is described by where its grey levels rise to the right, in 16 x 16 places (a difference hash of 256 signs),
and by a grey thumbnail. Two images are near-duplicates if at most 28 signs differ and the thumbnails correlate by 0.9
or more. Measured on the training images of IDD-Lite (1,403), CamVid (367) and the portraits (1,155): copies of 130x97
pixels, brighter, through JPEG of quality 60 differ from their originals in up to 27 signs; the closest portraits that
are different photos in 39. Pairs within 28 are photos stored twice, and neighbouring frames of a car that stands.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

SIDE = 16  # of the difference hash
THUMBNAIL = 32
MOST_SIGNS = 28
STEP = 2  # grey levels: a smaller rise is noise
LEAST_CORRELATION = 0.9
FLAT = 2.0  # grey levels: thumbnails that vary less are compared by their level
ROWS = 512  # compared at once
MOST_CANDIDATES = 64  # looked at for one image, nearest first


class ImageHash(NamedTuple):
    """signs: (256,) bool. thumbnail: (32, 32) uint8 grey."""

    signs: np.ndarray
    thumbnail: np.ndarray


def hash_of_image(image: np.ndarray) -> ImageHash:
    """What an image (H, W, 3) uint8 BGR is compared by."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    thumbnail = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return ImageHash((small[:, 1:] - small[:, :-1] > STEP).ravel(), np.asarray(thumbnail))


class ImageHashes:
    """The hashes of a set of images, in their order; 1.1 kB each."""

    def __init__(self) -> None:
        self._signs: list[np.ndarray] = []
        self._thumbnails: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._signs)

    def add(self, image_hash: ImageHash) -> None:
        self._signs.append(np.packbits(image_hash.signs))
        self._thumbnails.append(image_hash.thumbnail)

    def nearest_in(self, other: ImageHashes) -> dict[int, int]:
        """Of each image that has a near-duplicate in `other`: its number, and the number of the nearest there.

        Within one set (`other` is this one) an image is compared with those before it.
        """
        found = {}
        theirs = other._vectors(0, len(other))
        for start in range(0, len(self), ROWS):
            mine = self._vectors(start, min(start + ROWS, len(self)))
            differing = (SIDE * SIDE - mine @ theirs.T) / 2
            if other is self:
                differing[np.arange(len(theirs)) >= start + np.arange(len(mine))[:, None]] = np.inf
            for row in np.flatnonzero((differing <= MOST_SIGNS).any(axis=1)):
                match = self._match(start + int(row), differing[row], other)
                if match is not None:
                    found[start + int(row)] = match
        return found

    def _match(self, number: int, differing: np.ndarray, other: ImageHashes) -> int | None:
        candidates = np.flatnonzero(differing <= MOST_SIGNS)
        nearest_first = candidates[np.argsort(differing[candidates], kind="stable")][:MOST_CANDIDATES]
        for candidate in map(int, nearest_first):
            if _is_alike(self._thumbnails[number], other._thumbnails[candidate]):
                return candidate
        return None

    def _vectors(self, start: int, stop: int) -> np.ndarray:
        """(N, 256) float32 of -1 and 1: the product of two counts their equal signs less the others."""
        packed = np.array(self._signs[start:stop], np.uint8).reshape(stop - start, SIDE * SIDE // 8)
        return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def _is_alike(one: np.ndarray, other: np.ndarray) -> bool:
    first, second = one.astype(np.float32), other.astype(np.float32)
    if first.std() < FLAT or second.std() < FLAT:
        return bool(np.abs(first - second).mean() < FLAT)
    return bool(np.corrcoef(first.ravel(), second.ravel())[0, 1] >= LEAST_CORRELATION)
