"""A contact sheet: images of a data set under their labels, and a legend, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fcn_edge.atomic_io import whole_file
from fcn_edge.data.base import Dataset
from fcn_edge.errors import BadInput
from fcn_edge.outputs import marked_png, require_outputs
from fcn_edge.progress import SILENT, Progress

FONT, SCALE, LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 20  # pixels a line of text
MARGIN = 8
INK, PAPER, PALE, ALARM = (32, 32, 32), (255, 255, 255), (96, 96, 96), (0, 0, 192)
OPACITY = 0.5
STRIPE = 4  # pixels: how wide the stripes of ignored regions are, measured along a row
MOST_IMAGES = 400
MOST_COLUMNS = 20


class Sheet(NamedTuple):
    """The picture (H, W, 3) uint8 BGR, the names on it, and a sentence for each image that cannot be read."""

    picture: np.ndarray
    names: list[str]
    unreadable: list[str]


def contact_sheet(
    dataset: Dataset, *, images: int = 24, columns: int = 4, width: int = 320, progress: Progress = SILENT
) -> Sheet:
    """Images of a set, evenly spread over it, each with its labels in colour; ignored pixels are striped.

    Args:
        dataset: the set.
        images: how many, at most 400.
        columns: images side by side.
        width: of each image, in pixels.
        progress: receives how many images are drawn.

    Raises:
        BadInput: numbers that give no picture. Images that cannot be read are named on the sheet.

    Example:
        >>> from fcn_edge.data import open_dataset
        >>> streets = open_dataset("synthetic:street,images=4,size=64x96")
        >>> contact_sheet(streets, images=4, columns=2, width=96).names
        ['street1_000000', 'street1_000001', 'street1_000002', 'street1_000003']
    """
    if not (1 <= images <= MOST_IMAGES and 1 <= columns <= MOST_COLUMNS and 32 <= width <= 2048):
        limits = f"`images` from 1 to {MOST_IMAGES}, `columns` from 1 to {MOST_COLUMNS}, `width` from 32 to 2048"
        raise BadInput(f"{images} images in {columns} columns of {width} pixels; expected {limits}")
    total = len(dataset.items)
    chosen = sorted({round(n * (total - 1) / max(1, min(images, total) - 1)) for n in range(min(images, total))})
    tiles, names, unreadable = [], [], []
    for done, number in enumerate(chosen, 1):
        item = dataset.items[number]
        names.append(item.name)
        try:
            tile = _overlay(item.image(), item.labels(), dataset, width)
        except BadInput as error:
            unreadable.append(str(error))
            tile = np.full((width * 3 // 4, width, 3), PALE, np.uint8)
            _write(tile, "cannot be read", width // 4, PAPER)
        tiles.append(_with_caption(tile, item.name))
        progress.update("drawing the contact sheet", done, len(chosen))
    body = _grid(tiles, columns, width)
    title = f"{dataset.name}: {len(chosen)} of {total} images"
    return Sheet(np.vstack([_heading(title, dataset, body.shape[1]), body]), names, unreadable)


def write_contact_sheet(out: Path, sheet: Sheet) -> None:
    """Write the sheet as a PNG. Raises BadInput where a file stands there that fcn-edge did not write."""
    require_outputs([out])
    with whole_file(out) as part:
        part.write_bytes(marked_png(cv2.imencode(".png", sheet.picture)[1].tobytes()))


def _overlay(image: np.ndarray, labels: np.ndarray, dataset: Dataset, width: int) -> np.ndarray:
    """The image at the sheet's width under the colours of its classes; ignored pixels are striped."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(dataset.palette)] = np.array(dataset.palette, np.float32)[:, ::-1]
    mixed = image * (1 - OPACITY) + colours[labels] * OPACITY
    is_ignored = labels >= len(dataset.classes)
    mixed[is_ignored] = image[is_ignored]
    size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
    tile = cv2.resize(mixed.round().astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    is_striped = cv2.resize(is_ignored.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    tile[is_striped & _stripes(*tile.shape[:2])] = PAPER
    return np.asarray(tile)


def _stripes(height: int, width: int) -> np.ndarray:
    rows, columns = np.indices((height, width), np.int32)
    return np.asarray((rows + columns) // STRIPE % 2 == 0)


def _with_caption(tile: np.ndarray, name: str) -> np.ndarray:
    """The tile with its name below it."""
    caption = np.full((LINE, tile.shape[1], 3), PAPER, np.uint8)
    _write(caption, _cut(name, tile.shape[1]), 14, INK)
    return np.vstack([tile, caption])


def _cut(text: str, width: int) -> str:
    """The end of a name that is too long: where names differ."""
    while len(text) > 4 and _width_of(text) > width:
        text = f"...{text.removeprefix('...')[1:]}"
    return text


def _grid(tiles: Sequence[np.ndarray], columns: int, width: int) -> np.ndarray:
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    across = min(columns, len(tiles))
    strips = []
    for row in rows:
        strip = np.full((max(len(tile) for tile in row), across * (width + MARGIN) - MARGIN, 3), PAPER, np.uint8)
        for column, tile in enumerate(row):
            strip[: len(tile), column * (width + MARGIN) :][:, :width] = tile
        strips.append(strip)
    return np.vstack(strips)


def _heading(title: str, dataset: Dataset, width: int) -> np.ndarray:
    """Title and legend: a line of colour patches and names, as many lines as it takes."""
    entries = [*zip(dataset.classes, dataset.palette), ("ignored", None)]
    lines, x = [[]], 0  # type: list[list[tuple[int, str, tuple[int, int, int] | None]]], int
    for name, colour in entries:
        text = _cut(name, max(60, width - LINE))
        needed = LINE + _width_of(text) + MARGIN
        if x and x + needed > width:
            lines.append([])
            x = 0
        lines[-1].append((x, text, colour))
        x += needed
    picture = np.full(((len(lines) + 1) * LINE + MARGIN, width, 3), PAPER, np.uint8)
    _write(picture, _cut(title, width), 14, INK)
    for number, line in enumerate(lines, 1):
        for start, text, colour in line:
            patch = picture[number * LINE + 3 : number * LINE + LINE - 3, start : start + LINE - 6]
            _fill(patch, colour)
            _write(picture[number * LINE :, start + LINE - 2 :], text, 14, INK)
    return picture


def _fill(patch: np.ndarray, colour: tuple[int, int, int] | None) -> None:
    if colour is None:
        patch[~_stripes(*patch.shape[:2])] = PALE
    else:
        patch[:] = colour[::-1]
    cv2.rectangle(patch, (0, 0), (patch.shape[1] - 1, patch.shape[0] - 1), PALE)


def _write(picture: np.ndarray, text: str, baseline: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, _printable(text), (2, baseline), FONT, SCALE, colour, 1, cv2.LINE_AA)


def _width_of(text: str) -> int:
    return int(cv2.getTextSize(_printable(text), FONT, SCALE, 1)[0][0]) + 4


def _printable(text: str) -> str:
    """OpenCV's own font has letters of ASCII alone."""
    return text.encode("ascii", "replace").decode("ascii")
