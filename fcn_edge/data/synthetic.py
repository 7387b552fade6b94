"""The synthetic street as a data set: `synthetic:street,seed=1,images=64,size=360x480`.

Without `video` every image shows a street of its own; with `video=1` the images are the
frames of one drive. Sets of different seeds share no image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fcn_edge.data.base import Dataset, sha256_of_pixels
from fcn_edge.data.street import CLASSES, PALETTE, Street
from fcn_edge.errors import BadInput
from fcn_edge.schema import from_mapping

IGNORE = 255
STREETS_PER_SEED = 100_000


@dataclass(frozen=True)
class StreetOptions:
    """What may stand behind `synthetic:street,`."""

    seed: int = 1
    images: int = 64
    height: int = 360
    width: int = 480
    video: bool = False


@dataclass(frozen=True)
class StreetItem:
    """Frame `index` of one street."""

    street: Street
    index: int
    name: str

    @property
    def sequence(self) -> str:
        return f"street{self.street.seed}"

    def image(self) -> np.ndarray:
        return _rendered(self.street, self.index)[0]

    def labels(self) -> np.ndarray:
        return _rendered(self.street, self.index)[1]

    def sha256(self) -> str:
        return sha256_of_pixels(self.image())


@lru_cache(maxsize=2)  # an item is asked for its image, its labels and its hash in turn
def _rendered(street: Street, index: int) -> tuple[np.ndarray, np.ndarray]:
    return street.render(index)


def options_from_text(text: str) -> StreetOptions:
    """StreetOptions from "street,seed=1,images=64,size=360x480"; BadInput for anything else."""
    what, *pairs = text.split(",")
    if what != "street":
        raise BadInput(f"synthetic:{what}: only synthetic:street can be drawn")
    values: dict[str, int | bool] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"synthetic:{text}: {pair!r} is not key=value")
        values |= _option(key, value, text)
    options = from_mapping(StreetOptions, values, f"synthetic:{text}")
    most = options.images if options.video else STREETS_PER_SEED
    sized = 32 <= options.height <= 4320 and 32 <= options.width <= 7680
    if not (1 <= options.images <= most and sized and options.seed >= 0):
        raise BadInput(
            f"synthetic:{text}: images from 1 to {STREETS_PER_SEED} (more with video=1),"
            " size from 32x32 to 4320x7680, seed from 0"
        )
    return options


def _option(key: str, value: str, text: str) -> dict[str, int | bool]:
    try:
        if key == "size":
            height, width = (int(part) for part in value.split("x"))
            return {"height": height, "width": width}
        if key == "video" and value in ("0", "1"):
            return {key: value == "1"}
        return {key: int(value)}
    except ValueError as error:
        raise BadInput(f"synthetic:{text}: {key}={value!r} is not a number (size is HxW)") from error


class StreetItems:
    """A sequence of items that draws each picture anew, so that memory stays flat."""

    def __init__(self, options: StreetOptions) -> None:
        self.options = options

    def __len__(self) -> int:
        return self.options.images

    def __getitem__(self, number: int) -> StreetItem:
        o = self.options
        if not 0 <= number < o.images:
            raise IndexError(number)
        world = o.seed * STREETS_PER_SEED + (0 if o.video else number)
        index = number if o.video else 17 * (number % 40)
        return StreetItem(Street(world, o.height, o.width), index, f"street{o.seed}_{number:06d}")


def synthetic_from_options(text: str) -> Dataset:
    """The data set behind `synthetic:TEXT`."""
    return Dataset(f"synthetic:{text}", CLASSES, PALETTE, IGNORE, StreetItems(options_from_text(text)))
