"""The disagreement as a picture: the frame, A's class map, B's, and where they differ."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from fcn_edge.atomic_io import whole_file
from fcn_edge.comparison.outputs import FramePictures
from fcn_edge.outputs import marked_png
from fcn_edge.transforms import colours_from_class_map

DIMMED = 0.35
RED = (0, 0, 255)  # BGR
CAPTION_HEIGHT = 24


def panels(picture: FramePictures, palette: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    """(2 * (H + 24), 2 * W, 3) uint8 BGR: frame and A above, B and the differences (red) below, each captioned."""
    differences = (picture.image * DIMMED).astype(np.uint8)
    differences[picture.map_a != picture.map_b] = RED
    views = [picture.image, *(colours_from_class_map(m, palette) for m in (picture.map_a, picture.map_b)), differences]
    names = [picture.name, "A", "B", f"{1 - picture.agreement:.2%} differ"]
    shown = [_captioned(view, name) for view, name in zip(views, names, strict=True)]
    return np.vstack([np.hstack(shown[:2]), np.hstack(shown[2:])])


def write_picture(picture: FramePictures, palette: tuple[tuple[int, int, int], ...], path: Path) -> None:
    """Write the panels as PNG, whole or not at all. Raises BadInput where the folder cannot be written."""
    data = marked_png(cv2.imencode(".png", panels(picture, palette))[1].tobytes())
    with whole_file(path) as part:
        part.write_bytes(data)


def _captioned(view: np.ndarray, text: str) -> np.ndarray:
    bar = np.zeros((CAPTION_HEIGHT, view.shape[1], 3), np.uint8)
    cv2.putText(bar, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([bar, view])
