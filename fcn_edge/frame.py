"""What travels through the pipeline: a frame going in, a view coming out, and the times of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    image: (H, W, 3) uint8 BGR, contiguous; owned by the frame, never written to.
    index: position in the source, from 0; gaps are frames that the source lost or dropped.
    captured_ns: `time.monotonic_ns()` when it was received.
    labels: (H, W) uint8 where the source is a labelled data set, else None.
    stream: number of the source among those of a run, from 0.
    sequence: frames of a stream follow each other while it stays the same.
    presented_s: of a video, seconds from its first picture to this one by its own clock; None elsewhere.
    """

    image: np.ndarray
    index: int
    captured_ns: int
    source: str
    labels: np.ndarray | None = None
    stream: int = 0
    sequence: str = ""
    presented_s: float | None = None


@dataclass(frozen=True)
class View:
    """What one pass from scores to display yields.

    class_map: (H, W) uint8 at the frame's size. overlay: (H, W, 3) uint8 BGR or None.
    pixels_per_class: (C,) int64 counts of class_map. is_finite: False where scores held NaN or infinity, so that
    the class map means nothing; the CUDA path does not look.
    """

    class_map: np.ndarray
    overlay: np.ndarray | None
    pixels_per_class: np.ndarray
    is_finite: bool = True


@dataclass(frozen=True)
class Times:
    """Duration of each stage of one frame in nanoseconds; `age_ns` is capture to view ready."""

    input_ns: int
    infer_ns: int
    view_ns: int
    age_ns: int
    capture_ns: int = 0


@dataclass(frozen=True)
class Style:
    """How a view is drawn. opacity: share of the class colour, 0..1; 0 draws nothing."""

    opacity: float = 0.5
    overlay: bool = True
    hidden_classes: tuple[int, ...] = field(default=())
