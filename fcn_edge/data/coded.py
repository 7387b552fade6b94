"""Label files whose colours are classes: RGB and palette PNGs, BMPs, and with a tolerance JPEGs."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from fcn_edge.data.base import FilePair, Notes
from fcn_edge.data.colour_maps import Colour, ColourMap
from fcn_edge.data.headers import PALETTE, Header, header_from_bytes
from fcn_edge.data.labels import UNLABELLED, Samples, turned_labels
from fcn_edge.data.pictures import bytes_of_file, naming, picture_from_bytes, pixels_from_bytes, require_whole
from fcn_edge.errors import BadInput

LOSSY = ("jpeg", "webp")
LARGEST_TOLERANCE = 127
NOWHERE = 255  # a place beyond those of the most classes that there can be


@dataclass(frozen=True)
class CodedPair(FilePair):
    """An image file and a label file whose colours are classes.

    tolerance: how far each channel of a pixel may be from its class's colour; pixels farther from all of them are
    ignored. 0: each pixel has a colour of the map.
    """

    colours: ColourMap
    tolerance: int = 0
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)

    def image(self) -> np.ndarray:
        with naming(self.image_path):
            image, what = picture_from_bytes(bytes_of_file(self.image_path))
        self.notes.add(what, self.image_path.name)
        return image

    def labels(self) -> np.ndarray:
        samples = codes_from_file(self.label_path, is_lossy_read=self.tolerance > 0)
        codes, what = turned_labels(samples, self.label_path, self.image_path)
        self.notes.add(what, self.label_path.name)
        places = _places(self.colours.colours, self.tolerance)[codes]
        is_unknown = places == NOWHERE
        if is_unknown.any():
            if not self.tolerance:
                raise BadInput(f"{self.label_path}: {self._what_is_unknown(codes[is_unknown])}")
            note = f"colours farther than {self.tolerance} from that of each class, ignored"
            self.notes.add(note, self.label_path.name)
        table = np.full(NOWHERE + 1, UNLABELLED, np.uint8)
        table[: len(self.colours.names)] = self.colours.values
        return table[places]

    def _what_is_unknown(self, codes: np.ndarray) -> str:
        """The most frequent of these colours, and the class whose colour is nearest."""
        found, counts = np.unique(codes, return_counts=True)
        colour = colour_from_code(int(found[counts.argmax()]))
        distance = np.abs(np.array(self.colours.colours) - colour).max(axis=1)
        nearest = f"{self.colours.names[distance.argmin()]} is nearest, {distance.min()} away"
        return f"{counts.max()} pixels of the colour {colour}, which no class has; {nearest}"


def code_from_colour(colour: Colour) -> int:
    """A colour as one number, 0xrrggbb."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def colour_from_code(code: int) -> Colour:
    """RGB from 0xrrggbb."""
    return code >> 16, code >> 8 & 255, code & 255


@lru_cache(maxsize=2)
def _places(colours: tuple[Colour, ...], tolerance: int) -> np.ndarray:
    """(2**24,) uint8: the place in `colours` of each code's colour, NOWHERE where none is as near as `tolerance`."""
    table = np.full((256, 256, 256), NOWHERE, np.uint8)
    for place, colour in enumerate(colours):
        table[tuple(slice(max(0, part - tolerance), part + tolerance + 1) for part in colour)] = place
    return table.reshape(-1)


def require_apart(colours: ColourMap, tolerance: int, where: str) -> None:
    """Raises BadInput where a pixel could be as near as `tolerance` to two colours."""
    table = np.array(colours.colours)
    distances = np.abs(table[:, None] - table[None]).max(axis=2) + 1000 * np.eye(len(table), dtype=np.int64)
    one, other = np.unravel_index(distances.argmin(), distances.shape)
    if distances[one, other] <= 2 * tolerance:
        names = f"{colours.names[one]} and {colours.names[other]} are {distances[one, other]} apart"
        raise BadInput(f"{where}: tolerance={tolerance}, and {names}; take less than half of that")


def codes_from_file(path: Path, *, is_lossy_read: bool = False) -> Samples:
    """The colours of a label file as numbers 0xrrggbb (H, W) uint32, not turned.

    Raises:
        BadInput: not an image, transparent pixels, 16 bits, or JPEG or WebP where `is_lossy_read` is False.
    """
    with naming(path):
        data = bytes_of_file(path)
        header = header_from_bytes(data)
        if header.kind in LOSSY and not is_lossy_read:
            raise BadInput(
                f"a {header.kind.upper()} file, which changes colours; convert the masks it was made of to PNG, or"
                " name a tolerance, as in #tolerance=40"
            )
        pixels = _rgb(data, header)
        codes = pixels.astype(np.uint32)
        return Samples(codes[:, :, 0] << 16 | codes[:, :, 1] << 8 | codes[:, :, 2], header.orientation)


def _rgb(data: bytes, header: Header) -> np.ndarray:
    if header.kind == "png" and header.colour_type == PALETTE:
        require_whole(data, header)
        return _palette_colours(data)
    pixels = pixels_from_bytes(data, header)
    if pixels.dtype != np.uint8:
        raise BadInput(f"{pixels.dtype} pixels; colours of 8 bits a channel are read")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None].repeat(3, axis=2)
    if pixels.shape[2] == 4 and not (pixels[:, :, 3] == 255).all():
        raise BadInput("transparent pixels; what colour they mean cannot be told: save it without transparency")
    if pixels.shape[2] not in (3, 4):
        raise BadInput(f"{pixels.shape[2]} channels; 1, 3 or 4 are read")
    return pixels[:, :, 2::-1]


def _palette_colours(data: bytes) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if "transparency" in image.info:
                raise BadInput("a palette with transparent colours; save it without transparency")
            return np.array(image.convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise BadInput(f"not an image that decodes ({error})") from error
