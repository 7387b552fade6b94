"""Time of a stream: that of the recording, or wall-clock time for live sources."""

from __future__ import annotations

from fcn_edge.frame import Frame
from fcn_edge.streaming.sources.base import Source

FPS_OF_IMAGES = 10.0  # assumed for a folder of images


class StreamClock:
    """Time of a source's frames in seconds. For recordings it does not depend on the reading speed."""

    def __init__(self, source: Source) -> None:
        self.fps = source.fps or FPS_OF_IMAGES
        self._has_speed, self._is_live = source.fps is not None, source.is_live

    def seconds(self, frame: Frame) -> float:
        """Presentation time of a video; for other recordings from the frame's index."""
        if self._is_live:
            return frame.captured_ns / 1e9
        return frame.index / self.fps if frame.presented_s is None else frame.presented_s

    def has_time(self, frame: Frame) -> bool:
        """Whether the source has frame times; a folder of images does not."""
        return self._is_live or self._has_speed or frame.presented_s is not None
