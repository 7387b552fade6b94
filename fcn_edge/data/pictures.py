"""Pictures from files: one way for data sets, calibration, comparison and sources of frames.

A picture is turned upright by its orientation tag (Exif in JPEG, PNG and WebP, tag 274 in TIFF), as viewers show it.
16 bits become 8 by 1/257, grey becomes BGR, and an alpha channel is left out, not composited. Each of these is noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.data.headers import Header, header_from_bytes, is_cut_off, without_orientation
from fcn_edge.errors import BadInput, first_line

MAX_PIXELS = 100_000_000
MAX_SIDE = 16_384
MOST_OF_12_BITS = 4095
MOST_OF_14_BITS = 16_383
TURNED = "turned upright by its orientation tag"


def picture_from_file(path: Path) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 BGR, and what was changed on the way ("" for nothing). Raises BadInput, naming the file."""
    with naming(path):
        return picture_from_bytes(bytes_of_file(path))


def image_from_file(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises BadInput where the file does not decode as a picture."""
    return picture_from_file(path)[0]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside the block an error gets the file's name in front."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def bytes_of_file(path: Path) -> bytes:
    """The content of a file. Raises BadInput with the system's reason, without the name."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(error.strerror or str(error)) from error


def stored_size(data: bytes, header: Header) -> tuple[int, int]:
    """Height and width of an encoded picture as its pixels are stored."""
    if header.size is not None:
        return header.size
    height, width = pixels_from_bytes(data, header).shape[:2]
    return height, width


def picture_from_bytes(data: bytes) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 BGR from an encoded image, and what was changed on the way ("" for nothing).

    Raises:
        BadInput: empty, cut off, larger than 100 megapixels or 16384 a side, 16 bits of which 12 or fewer are used,
            or not an image.
    """
    header = header_from_bytes(data)
    pixels, alpha = _without_alpha(pixels_from_bytes(data, header), header)
    depth = _depth_note(pixels)
    image, converted = bgr_from_pixels(pixels)
    turned = "" if header.orientation in (None, 1) else TURNED
    return upright(image, header.orientation), ", ".join(filter(None, (converted, depth, alpha, turned)))


def pixels_from_bytes(data: bytes, header: Header) -> np.ndarray:
    """The pixels as stored: not turned, with all channels, at the file's depth. Raises BadInput."""
    require_whole(data, header)
    if header.kind == "tiff":
        data = without_orientation(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # which turns nothing either
    except cv2.error as error:
        raise BadInput(f"not an image that decodes ({first_line(error)})") from error
    if image is None:
        raise BadInput("not an image that decodes")
    _check_size(*image.shape[:2])
    return image


def require_whole(data: bytes, header: Header) -> None:
    """Raises BadInput for what need not be decoded to be refused, or would be decoded wrongly."""
    if not data:
        raise BadInput("the file is empty")
    if header.size is not None:  # a small file can announce gigabytes
        _check_size(*header.size)
    if is_cut_off(data):  # OpenCV 4 fills the missing part with grey and says nothing
        raise BadInput("the image is cut off")
    if header.kind == "netpbm" and header.maxval not in (255, 65535):
        raise BadInput(f"its values end at {header.maxval}; 255 and 65535 are read: scale it and write it again")


def bgr_from_pixels(image: np.ndarray) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 BGR from (H, W) or (H, W, 3) of 8 or 16 bits, and what was changed."""
    changes = []
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
        changes.append("16 bits reduced to 8")
    if image.dtype != np.uint8:
        raise BadInput(f"{image.dtype} pixels; 8 or 16 bits are read")
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        changes.append("grey made BGR")
    if image.shape[2] != 3:
        raise BadInput(f"{image.shape[2]} channels; 1 or 3 are read")
    return np.ascontiguousarray(image), ", ".join(changes)


def upright(pixels: np.ndarray, orientation: int | None) -> np.ndarray:
    """(H, W, ...) as it is to be seen, from pixels as stored and Exif's orientation (1 to 8; None for 1)."""
    if swaps_sides(orientation):
        pixels = pixels.swapaxes(0, 1)
    rows, columns = ((1, 1), (1, -1), (-1, -1), (-1, 1))[((orientation or 1) - 1) % 4]
    return np.ascontiguousarray(pixels[::rows, ::columns])


def swaps_sides(orientation: int | None) -> bool:
    """Whether the upright picture is as wide as the stored one is high."""
    return (orientation or 1) >= 5


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        limits = f"up to {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE} a side are read"
        raise BadInput(f"{width}x{height} pixels; {limits}")


def _without_alpha(pixels: np.ndarray, header: Header) -> tuple[np.ndarray, str]:
    """(H, W) or (H, W, 3), and a note where what was left out is not opaque throughout."""
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype not in (np.uint8, np.uint16):
        return pixels, ""
    is_opaque = bool((pixels[:, :, 3] == np.iinfo(pixels.dtype).max).all())
    if header.kind == "tiff" and not is_opaque:  # libtiff has multiplied the colours by it
        raise BadInput("a TIFF with an alpha channel; save it without")
    return np.ascontiguousarray(pixels[:, :, :3]), "" if is_opaque else "alpha left out"


def _depth_note(pixels: np.ndarray) -> str:
    """What there is to say of 16 bits that do not use their range.

    Raises BadInput where they hold 12 bits or fewer: as 8 bits the picture would be nearly black.
    """
    largest = int(pixels.max()) if pixels.dtype == np.uint16 else 0
    if 0 < largest <= MOST_OF_12_BITS:
        raise BadInput(
            f"16 bits a sample, and the largest value is {largest}: 12 bits or fewer, which would be nearly black;"
            " scale the values to 0..65535, or write 8 bits"
        )
    return "no value above a quarter of white" if 0 < largest <= MOST_OF_14_BITS else ""
