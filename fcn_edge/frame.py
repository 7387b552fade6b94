"""Input and output of an engine: frame, style, result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    image: (H, W, 3) uint8 BGR, contiguous; owned by the frame and not written to. Do not change it until the
    frame's result is ready: the overlay is drawn from it.
    index: position in the source, from 0; frames that the source lost or dropped leave gaps.
    captured_ns: `time.monotonic_ns()` when it was received.
    source: origin, such as a file name or an address without credentials.
    labels: (H, W) uint8 if the source is a labelled data set, otherwise None.
    stream: number of the source in the run, from 0.
    sequence: name of a series of consecutive frames of a stream; changes where the series ends.
    presented_s: for videos, presentation time in seconds from the first frame; otherwise None.
    capture_ns: time that the source took to deliver it, in nanoseconds; 0 if not measured.
    """

    image: np.ndarray
    index: int
    captured_ns: int
    source: str
    labels: np.ndarray | None = None
    stream: int = 0
    sequence: str = ""
    presented_s: float | None = None
    capture_ns: int = 0


@dataclass(frozen=True)
class Times:
    """Duration of each stage of one frame in nanoseconds.

    input_ns: resizing the frame to the network's input. infer_ns: the network, including the wait for earlier frames.
    view_ns: class map, counts and overlay from the network's output. Their sum is the time from `Engine.start`
    to the result. age_ns: from `Frame.captured_ns` to the result. capture_ns: that of the frame.
    """

    input_ns: int
    infer_ns: int
    view_ns: int
    age_ns: int
    capture_ns: int = 0

    @property
    def total_ms(self) -> float:
        """From `Engine.start` to the result, in milliseconds."""
        return (self.input_ns + self.infer_ns + self.view_ns) / 1e6

    @property
    def age_ms(self) -> float:
        """Age of the frame when its result was ready, in milliseconds."""
        return self.age_ns / 1e6


@dataclass(frozen=True)
class Style:
    """How a view is drawn. opacity: share of the class colour, 0..1; 0 draws nothing.

    overlay: False skips drawing the overlay. hidden_classes: indices of classes
    that are not drawn.
    """

    opacity: float = 0.5
    overlay: bool = True
    hidden_classes: tuple[int, ...] = field(default=())


@dataclass(frozen=True)
class Result:
    """Result of an engine for one frame. The caller owns its arrays; later frames do not overwrite them.

    frame: the frame that was segmented.
    class_map: (H, W) uint8 class index of each pixel, at the frame's size.
    overlay: (H, W, 3) uint8 BGR, the frame with the colours of its classes; None if the style has no overlay.
    pixels_per_class: (C,) int64 counts of class_map.
    is_finite: False if scores contain NaN or infinity; the class map is then invalid.
    times: duration of each stage.
    """

    frame: Frame
    class_map: np.ndarray
    overlay: np.ndarray | None
    pixels_per_class: np.ndarray
    is_finite: bool
    times: Times
