"""Label files of every kind that data sets come with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def write_pair() -> Callable[..., tuple[Path, Path]]:
    """Writes FOLDER/images/NAME.png and FOLDER/labels/NAME.png (height 4, width 6 unless told)."""

    def write(
        folder: Path, name: str, labels: np.ndarray | None = None, size: tuple[int, int] = (4, 6), suffix: str = ".png"
    ) -> tuple[Path, Path]:
        image, label = folder / "images" / f"{name}{suffix}", folder / "labels" / f"{name}.png"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.full((*size, 3), (10, 20, 30), np.uint8))
        cv2.imwrite(str(label), np.zeros(size, np.uint8) if labels is None else labels)
        return image, label

    return write
