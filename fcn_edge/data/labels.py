"""Label files: PNGs whose samples, or palette indices, are classes.

Samples are taken as they are stored, at 1, 2, 4, 8 or 16 bits: a decoder for pictures makes 0 and 255 of one bit.
Source: PNG specification, third edition, section 11.2.1 (colour types), 13.12 (sample depth rescaling).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcn_edge.data.headers import GREY, PALETTE, PNG_SIGNATURE, header_from_bytes
from fcn_edge.data.pictures import (
    bytes_of_file,
    naming,
    pixels_from_bytes,
    require_whole,
    stored_size,
    swaps_sides,
    upright,
)
from fcn_edge.errors import BadInput

UNLABELLED = 255
LARGEST = 65_535  # of 16 bits
COLOURS = {2: "colours", 4: "grey with alpha", 6: "colours with alpha"}
TURNED = "labels turned upright by their own orientation tag"
TURNED_WITH_PICTURE = "labels turned upright with their picture, on whose stored pixels they were drawn"


class Samples(NamedTuple):
    """values: (H, W) uint8 or uint16 as stored. orientation: of the file's own tag, None without one."""

    values: np.ndarray
    orientation: int | None


def samples_from_file(path: Path) -> Samples:
    """The samples of a label file, not turned. Raises BadInput for anything but a grey or palette PNG."""
    with naming(path):
        return samples_from_png(bytes_of_file(path))


def samples_from_png(data: bytes) -> Samples:
    """The samples of a grey or palette PNG of any depth. Raises BadInput."""
    header = header_from_bytes(data)
    if header.kind != "png":
        is_begun = PNG_SIGNATURE.startswith(data[: len(PNG_SIGNATURE)])  # empty, or cut off within the header
        what = "not an image that decodes" if is_begun or not header.kind else f"a {header.kind.upper()} file"
        raise BadInput(f"{what}; labels are PNG files of one grey or palette channel")
    if header.colour_type not in (GREY, PALETTE):
        kind = COLOURS.get(header.colour_type, f"colour type {header.colour_type}")
        raise BadInput(f"a PNG of {kind}; labels are one channel, grey or palette, whose values are classes")
    if header.colour_type == PALETTE:
        require_whole(data, header)
        return Samples(_palette_indices(data), header.orientation)
    values = pixels_from_bytes(data, header)
    if values.shape != header.size:
        raise BadInput("not an image that decodes")
    if header.bits < 8:  # decoded as grey levels from black to white
        values = values // (255 // (2**header.bits - 1))
    return Samples(values, header.orientation)


def _palette_indices(data: bytes) -> np.ndarray:
    """OpenCV turns palettes into colours; labels need the indices, which Pillow keeps."""
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image, np.uint8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise BadInput(f"not an image that decodes ({error})") from error


def labels_from_file(path: Path) -> np.ndarray:
    """(H, W) uint8, the values of a label file, turned upright by its own tag. Raises BadInput for values above 255."""
    samples = samples_from_file(path)
    if samples.values.max(initial=0) > UNLABELLED:
        raise BadInput(f"{path}: label value {int(samples.values.max())}; values are 0 to 255 here")
    return upright(samples.values.astype(np.uint8), samples.orientation)


def turned_labels(samples: Samples, label_path: Path, image_path: Path) -> tuple[np.ndarray, str]:
    """The labels as they lie on the upright picture, and what was done to them ("" for nothing).

    Labels with an orientation tag are turned by it. Labels without one, of a picture that has one, are turned with
    the picture where they have the size of its stored pixels, and stay where they have that of the upright picture.

    Raises:
        BadInput: another size, or labels without a tag that have both sizes, so that either could be meant.
    """
    with naming(image_path):
        layout = layout_from_bytes(bytes_of_file(image_path))
    return placed_labels(samples, label_path, layout, image_path.name)


class Layout(NamedTuple):
    """Where labels lie: a picture's size (height, width) as stored, and its orientation, None without a tag."""

    stored: tuple[int, int]
    orientation: int | None

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the upright picture."""
        return self.stored[::-1] if swaps_sides(self.orientation) else self.stored


def layout_from_bytes(data: bytes) -> Layout:
    """Of an encoded picture; decoded only where its header does not tell the size. Raises BadInput."""
    header = header_from_bytes(data)
    return Layout(stored_size(data, header), header.orientation)


def placed_labels(samples: Samples, label_path: Path, layout: Layout, image_name: str) -> tuple[np.ndarray, str]:
    """See `turned_labels`."""
    stored, seen = layout.stored, layout.upright
    values, orientation, what = samples.values, samples.orientation, TURNED
    is_turned = layout.orientation not in (None, 1)
    if orientation is None and is_turned and values.shape == stored:
        if stored == seen:
            raise BadInput(
                f"{label_path}: whether these labels lie on the stored or on the upright pixels cannot be told:"
                f" {image_name} has orientation {layout.orientation}, the labels have none, and both sizes are"
                f" {stored[1]}x{stored[0]}; turn the picture's pixels and remove its tag, or give the labels a tag"
            )
        orientation, what = layout.orientation, TURNED_WITH_PICTURE
    labels = upright(values, orientation)
    if labels.shape != seen:
        height, width = labels.shape
        raise BadInput(f"{label_path}: {other_size((height, width), seen)}; a label image has its image's size")
    return labels, "" if orientation in (None, 1) else what


def other_size(labels: tuple[int, int], image: tuple[int, int]) -> str:
    """Such as "640x480 labels for a 320x240 image", from heights and widths."""
    return f"{labels[1]}x{labels[0]} labels for a {image[1]}x{image[0]} image"


@lru_cache(maxsize=8)
def _table(classes: tuple[int, ...], ignore: int, written: int) -> np.ndarray:
    """(65536,) int16 of every value: its class, `written` for the ignored one, -1 for none."""
    table = np.full(LARGEST + 1, -1, np.int16)
    if 0 <= ignore <= LARGEST:
        table[ignore] = written
    table[list(classes)] = np.arange(len(classes))
    return table


def unknown_value(values: np.ndarray, classes: Sequence[int], ignore: int) -> int | None:
    """The first value that is neither one of `classes` nor `ignore`; None where there is none."""
    unknown = values[_table(tuple(classes), ignore, UNLABELLED)[values] < 0]
    return int(unknown[0]) if unknown.size else None


def indices_from_values(values: np.ndarray, classes: Sequence[int], ignore: int, written: int) -> np.ndarray:
    """(H, W) uint8: the place of each value in `classes`, `written` for `ignore`; both must be all there are."""
    return _table(tuple(classes), ignore, written)[values].astype(np.uint8)
