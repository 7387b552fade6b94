"""What goes through an engine: a frame and a style go in, a result comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    image: (H, W, 3) uint8 BGR, contiguous; owned by the frame and not written to. Leave it unchanged until the
    frame's result is there: the overlay is drawn from it.
    index: position in the source, from 0; gaps are frames that the source lost or dropped.
    captured_ns: `time.monotonic_ns()` when it was received.
    source: where it comes from, such as a file name or an address without credentials.
    labels: (H, W) uint8 where the source is a labelled data set, else None.
    stream: number of the source among those of a run, from 0.
    sequence: frames of a stream follow each other while it stays the same.
    presented_s: of a video, seconds from its first picture to this one by its own clock; None elsewhere.
    capture_ns: how long the source took to give it, in nanoseconds; 0 where nobody measured it.
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

    input_ns: resizing the frame to the network's input. infer_ns: the network, with its wait for frames before it.
    view_ns: class map, counts and overlay from the network's output. Together they are the time from `Engine.start`
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
        """How old the frame was when its result was there, in milliseconds."""
        return self.age_ns / 1e6


@dataclass(frozen=True)
class Style:
    """How a view is drawn. opacity: share of the class colour, 0..1; 0 draws nothing.

    overlay: False where nobody looks at the picture, which saves drawing it. hidden_classes: indices of classes
    that are left undrawn.
    """

    opacity: float = 0.5
    overlay: bool = True
    hidden_classes: tuple[int, ...] = field(default=())


@dataclass(frozen=True)
class Result:
    """What an engine gives for one frame. Its arrays belong to the caller, and no later frame writes to them.

    frame: the frame that was segmented.
    class_map: (H, W) uint8 class index of each pixel, at the frame's size.
    overlay: (H, W, 3) uint8 BGR, the frame with the colours of its classes; None where the style has none.
    pixels_per_class: (C,) int64 counts of class_map.
    is_finite: False where scores held NaN or infinity, so that the class map means nothing.
    times: of its stages.
    """

    frame: Frame
    class_map: np.ndarray
    overlay: np.ndarray | None
    pixels_per_class: np.ndarray
    is_finite: bool
    times: Times
