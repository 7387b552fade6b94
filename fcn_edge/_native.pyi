"""Compiled kernels (fcn_edge/native). Their references are in `fcn_edge.transforms` and `fcn_edge.metrics`."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_U8: TypeAlias = NDArray[np.uint8]
_U16: TypeAlias = NDArray[np.uint16]
_I32: TypeAlias = NDArray[np.int32]
_I64: TypeAlias = NDArray[np.int64]
_F32: TypeAlias = NDArray[np.float32]

class Workspace:
    """Threads and memory that are kept between frames. All arrays are C-contiguous unless said otherwise.

    Methods raise ValueError for shapes or cells that do not fit, TypeError for another type or layout.
    """

    def __init__(self, threads: int) -> None: ...
    @property
    def threads(self) -> int: ...
    def view(
        self,
        scores: _F32,
        y_low: _I32,
        y_weight: _F32,
        x_low: _I32,
        x_weight: _F32,
        class_map: _U8,
        counts: _I64,
        image: _U8 | None = None,
        table: _U16 | None = None,
        overlay: _U8 | None = None,
    ) -> None:
        """Fill class_map (H, W) with the arg-max of scores (C, h, w), sampled bilinearly, then as `draw`.

        y_low (H,), x_low (W,): lower cell of each pixel. y_weight, x_weight: share of the next cell.
        """

    def resize(
        self,
        image: _U8,
        y_low: _I32,
        y_weights: _I32,
        x_low: _I32,
        x_weights: _I32,
        out: _U8,
        top: int,
        left: int,
        border: _U8,
    ) -> None:
        """Fill out (h, w, 3) with image (H, W, 3) resized, its first pixel at (top, left), and border (3,) around it.

        The rows of image may lie apart. y_low, x_low (n,): lower source pixel of each pixel; y_weights, x_weights
        (n, 2): 2048ths of it and of the next one.
        """

    def draw(
        self,
        class_map: _U8,
        counts: _I64,
        image: _U8 | None = None,
        table: _U16 | None = None,
        overlay: _U8 | None = None,
    ) -> None:
        """Count class_map's pixels into counts (256,), and blend image with table into overlay (H, W, 3).

        table (256, 4): for each class the weight of the image, then the bias of B, G and R.
        """

def confusion(labels: _U8, predicted: _U8, out: _I64) -> None:
    """Fill out (256, 256) with how often each label meets each prediction, both (N,)."""
