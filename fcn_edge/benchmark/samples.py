"""Sample pictures of each row: the class map over its image, and where it differs from the first row's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fcn_edge.atomic_io import whole_file
from fcn_edge.data import Dataset
from fcn_edge.engines import Engine
from fcn_edge.errors import BadInput
from fcn_edge.frame import Style
from fcn_edge.outputs import marked_jpeg

FOLDER = "samples"
WIDEST = 480  # pixels; a picture is for looking at, not for measuring
DIFFERS = (255, 0, 255)  # BGR; no palette here has magenta
LABELS = "labels"


class SampleWriter:
    """Writes SAMPLES/NAME.jpg for a row, from the middle image of the set. Without a folder it writes nothing."""

    def __init__(self, folder: Path | None, data: Dataset) -> None:
        self._folder = None if folder is None else folder / FOLDER
        self._data = data
        self._palette = np.zeros((256, 3), np.uint8)
        self._palette[: len(data.palette)] = np.array(data.palette)[:, ::-1]

    def write(self, engines: Sequence[Engine], names: Sequence[str]) -> None:
        """One picture an engine; they share one size group, and the first of a size is what others differ from."""
        if self._folder is None:
            return
        image, labels = _middle_of(self._data)
        _write(self._folder, LABELS, self._painted(image, labels))
        firsts: dict[tuple[str, int, int], np.ndarray] = {}
        for engine, name in zip(engines, names, strict=True):
            class_map = engine.segment(image, Style(overlay=False)).class_map
            first = firsts.setdefault((engine.spec.name, *engine.spec.preprocess.size), class_map)
            painted = self._painted(image, class_map)
            painted[class_map != first] = DIFFERS
            _write(self._folder, name, painted)

    def _painted(self, image: np.ndarray, class_map: np.ndarray) -> np.ndarray:
        return cv2.addWeighted(image, 0.4, self._palette[class_map], 0.6, 0)


def _middle_of(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(image, labels) of the middle item, or of the first behind it that decodes."""
    for index in range(len(data.items) // 2, len(data.items)):
        try:
            return data.items[index].image(), data.items[index].labels()
        except BadInput:  # named by the evaluation already
            continue
    return data.items[0].image(), data.items[0].labels()


def sample_file(folder: Path, name: str) -> Path:
    """The picture of a row."""
    return folder / FOLDER / f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', name)}.jpg"


def _write(folder: Path, name: str, picture: np.ndarray) -> None:
    height, width = picture.shape[:2]
    if width > WIDEST:
        picture = cv2.resize(picture, (WIDEST, round(height * WIDEST / width)), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
    with whole_file(sample_file(folder.parent, name)) as part:
        part.write_bytes(marked_jpeg(data))
